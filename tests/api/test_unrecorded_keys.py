"""Keys that the service before this one made: they lie in the vault, and nothing is recorded of them here."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.configuration.settings import Settings
from tests.service import Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Application, Environment, Input, Workflow, World
from tests.simulators.alien4cloud_worlds import ADMIN, WORKFLOWS
from tests.simulators.vault import Vault, vault_server

RUN = "/workflows/App@env@run"
ACCEPT = {"unrecorded_keys": "accept"}
Serve = Callable[..., tuple[str, Settings]]


@pytest.fixture
def alien4cloud() -> Iterator[Simulator]:
    workflow = Workflow(name="run", inputs={"vault_id": Input(required=True)}, duration=0.2)
    application = Application(
        id="App", tags=((WORKFLOWS, "run"),), workflows=(workflow,), environments=[Environment(id="env")]
    )
    with Simulator(World([application], [ADMIN])) as simulator:
        yield simulator


@pytest.fixture
def vault() -> Iterator[Vault]:
    with vault_server() as server:
        yield server


@pytest.fixture
def serve(tmp_path: Path, alien4cloud: Simulator, vault: Vault) -> Iterator[Serve]:
    """Starts a service before both, with the vault's settings changed or, for None, without the vault."""
    role = vault.role()
    with ExitStack() as stack:

        def serve(changes: dict[str, str] | None) -> tuple[str, Settings]:
            config = {"address": vault.url, "role_id": role.role_id, "secret_id": vault.secret_id(role)}
            behind = {} if changes is None else {"vault_config": config | changes}
            settings = make_settings(tmp_path, alien_config={"address": alien4cloud.url}, **behind)
            return stack.enter_context(serving(settings)), settings

        yield serve


def run(user: Client, key_id: str, **query: str) -> int:
    return user("POST", RUN, json={"inputs": {"vault_id": key_id}}, params=query).status_code


def sent(alien4cloud: Simulator) -> list[Any]:
    """The inputs of all starts."""
    return [json.loads(call.body) for call in alien4cloud.calls() if "/workflows/" in call.path]


def test_they_go_on_working(serve: Serve, alien4cloud: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    url, settings = serve(ACCEPT)
    alice, bob, old = as_user(url, "alice"), as_user(url, "bob"), str(uuid.uuid4())
    with caplog.at_level(logging.INFO, "hpcwaas.core.keys"):
        assert [run(alice, old), run(alice, old), run(bob, old)] == [201, 201, 201]
    assert [inputs["inputs"]["vault_id"] for inputs in sent(alien4cloud)] == [old] * 3
    told = [record.getMessage() for record in caplog.records if record.name == "hpcwaas.core.keys"]
    assert [line.split(",")[0] for line in told] == [f"{name} uses the SSH key {old}" for name in ("alice", "bob")]
    acts = [json.loads(line) for line in settings.audit_file.read_text().splitlines()]
    assert [(act["who"], act["unrecorded_keys"]) for act in acts] == [
        (name, [old]) for name in ("alice", "alice", "bob")
    ]


def test_keys_on_record_have_their_owner(serve: Serve, alien4cloud: Simulator) -> None:
    url, settings = serve(ACCEPT)
    alice, bob = as_user(url, "alice"), as_user(url, "bob")
    key = alice("POST", "/ssh_keys").json()["id"]
    assert run(bob, key) == run(bob, key, dry_run="true") == 400
    assert run(alice, key) == 201
    assert alice("GET", f"/ssh_keys/{key}").json()["last_used_at"]
    assert len(sent(alien4cloud)) == 1
    assert "unrecorded_keys" not in settings.audit_file.read_text()


def test_other_names_than_that_service_gave_are_refused(serve: Serve) -> None:
    url, _ = serve(ACCEPT)
    alice, old = as_user(url, "alice"), str(uuid.uuid4())
    for name in ("my-key", "../secret", f"{old}x", f"{old}\n", f"{{{old}}}", f"urn:uuid:{old}", old.upper(), old[1:]):
        assert run(alice, name) == 400


@pytest.mark.parametrize("changes", [None, {}, {"unrecorded_keys": "refuse"}])
def test_they_are_refused_where_none_can_be_left(
    serve: Serve, alien4cloud: Simulator, changes: dict[str, str] | None
) -> None:
    url, _ = serve(changes)
    assert run(as_user(url, "alice"), str(uuid.uuid4())) == 400
    assert sent(alien4cloud) == []
