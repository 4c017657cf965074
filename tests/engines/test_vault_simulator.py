"""The vault look-alike answers as a real OpenBao did: the recordings, played against it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.simulators.vault import Vault

RECORDINGS = sorted((Path(__file__).parents[1] / "simulators" / "recordings" / "openbao").glob("*.json"))
CHANGING = {
    *("request_id", "accessor", "entity_id", "client_token", "id", "role_id", "uuid", "cluster_id", "cluster_name"),
    *("issuer_id", "public_key", "serial_number", "signed_key"),
    *("server_time_utc", "creation_time", "created_time", "updated_time", "expire_time", "issue_time"),
}
"""Members whose values differ from time to time."""
NOT_USED = {"ssh-public-key"}
"""What only whoever sets up a site asks for."""


@pytest.fixture
def vault() -> Iterator[Vault]:
    vault = Vault()
    yield vault
    vault.close()


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: ... if name in CHANGING else shape(member) for name, member in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else value


class Player:
    """Sends what was sent then, with the names of secrets replaced by today's."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.names = {"ROOT-TOKEN": vault.state.root, "UNSEAL-KEY": vault.state.unseal_key}

    def replaced(self, text: str, names: Mapping[str, str]) -> str:
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(name, names[name])
        return text

    def play(self, recorded: Mapping[str, Any]) -> tuple[int, str | None, Any]:
        request = recorded["request"]
        answer = requests.request(
            request["method"],
            self.vault.url + request["path"],
            headers={name: self.replaced(value, self.names) for name, value in request["headers"].items()},
            data=None if request["body"] is None else self.replaced(json.dumps(request["body"]), self.names),
            timeout=60,
        )
        back = {value: name for name, value in self.names.items()}
        body: Any = json.loads(self.replaced(answer.text, back)) if answer.content else ""
        if recorded["note"] == "login":
            self.names["CLIENT-TOKEN"] = body["auth"]["client_token"]
        if recorded["note"] == "role-id":
            self.names[recorded["response"]["body"]["data"]["role_id"]] = body["data"]["role_id"]
        return answer.status_code, answer.headers.get("Content-Type"), body

    def secret_id(self, role: str) -> str:
        return self.vault.secret_id(self.vault.state.roles["approle"][role])

    def meanwhile(self, note: str) -> None:
        """What happened between the recorded requests, before this one."""
        state = self.vault.state
        steps: dict[str, Callable[[], object]] = {
            "health-uninitialised": lambda: setattr(state, "initialised", False),
            "health-sealed": lambda: vars(state).update(initialised=True, sealed=True),
            "login": lambda: self.names.update({"SECRET-ID": self.secret_id("api")}),
            "renew-self-expired": lambda: setattr(state, "shift", state.shift + 60),
            "renew-self-near-max-ttl": self.second_token,
            "login-secret-id-used-up": self.used_up,
        }
        steps.get(note, lambda: None)()

    def second_token(self) -> None:
        state = self.vault.state
        self.names["CLIENT-TOKEN-2"], token = state.issue(state.roles["approle"]["api"], "api", "auth/approle/login")
        token.last = state.now() + 1.5

    def used_up(self) -> None:
        role = self.vault.state.roles["approle"]["once"]
        self.names["b0c85bfa-ba92-8a37-7b1e-687b0a278f83"] = role.role_id
        self.names["SECRET-ID-ONCE"] = self.secret_id("once")
        login = {"role_id": role.role_id, "secret_id": self.names["SECRET-ID-ONCE"]}
        assert requests.post(f"{self.vault.url}/v1/auth/approle/login", json=login, timeout=60).status_code == 200


def test_it_answers_as_the_real_one(vault: Vault) -> None:
    player, played = Player(vault), 0
    for file in RECORDINGS:
        recorded = json.loads(file.read_text(encoding="utf-8"))
        if recorded["note"] in NOT_USED:
            continue
        player.meanwhile(recorded["note"])
        status, media_type, body = player.play(recorded)
        expected = recorded["response"]
        assert (status, media_type) == (expected["status"], expected["headers"]["Content-Type"]), file.name
        assert shape(body) == shape(expected["body"]), file.name
        played += 1
    assert played == 51
