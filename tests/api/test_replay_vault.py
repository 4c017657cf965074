"""Replays what was recorded of SSH keys with a vault beside the service that this one takes the place of.

As `test_replay_original.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.replay import ROWS, Answer, Replay, check_document, check_problem
from tests.service import make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import original
from tests.simulators.vault import Vault, vault_server

NAMES = [name for name in ROWS if name.startswith(("wrapped_", "vault_"))]

MENDED: dict[str, tuple[int, str]] = {
    "vault_down": (503, "no failure of this service; try again later"),
    "vault_token_past_max_ttl": (201, "logs in anew"),
    "vault_policy_denied": (502, "no failure of this service; its operator has to look after the vault"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Answer]]:
    """This service's answers to all rows."""
    with vault_server() as vault, Simulator(original()) as engine:
        role = vault.role()
        secret_id = vault.wrap(vault.secret_id(role))
        config = {"address": vault.url, "role_id": role.role_id, "secret_id": secret_id, "is_secret_wrapped": True}
        settings = make_settings(
            tmp_path_factory.mktemp("service"),
            auth={"auth_type": "basic", "basic_auth": {"accounts": [{"username": "alice", "password": "alicepw"}]}},
            alien_config={"address": engine.url, "cache_seconds": 0.01},
            vault_config=config,
        )
        with serving(settings) as url:
            replay, found, port = Replay(url), {}, vault.port
            for name in NAMES:
                if name == "vault_down":
                    vault.close()
                elif name == "vault_token_past_max_ttl":
                    vault = Vault(port, vault.state)
                    vault.revoke_all()
                elif name == "vault_policy_denied":
                    vault.state.policies["service"] = ""
                found[name] = replay.send(ROWS[name])
            vault.close()
            yield found


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_the_recorded_one_or_better(answers: Mapping[str, Answer], name: str) -> None:
    recorded, answer = ROWS[name]["response"], answers[name]
    status, _ = MENDED.get(name, (recorded["status"], ""))
    assert answer.status == status, answer.body
    if status >= 400:
        check_problem(recorded, answer)
    elif name not in MENDED:
        check_document(name, json.loads(recorded["body"]), answer.json())
