"""A wrapped secret id: opened once, whatever processes there are, and told when somebody else has opened it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.errors import ConfigurationError, ServiceError
from hpcwaas.vault import login
from hpcwaas.vault.secret_id import SecretId
from hpcwaas.vault.settings import HashiCorpSettings
from tests.simulators.vault import Vault, vault_server
from tests.simulators.vault_state import Role


@pytest.fixture
def server() -> Iterator[Vault]:
    with vault_server() as server:
        yield server


def configured(server: Vault, role: Role, **members: Any) -> HashiCorpSettings:
    return HashiCorpSettings.model_validate({"address": server.url, "role_id": role.role_id, **members})


def test_it_is_opened_once_for_all_processes(server: Vault, tmp_path: Path) -> None:
    role = server.role()
    settings = configured(server, role, secret_id=server.wrap(server.secret_id(role)), is_secret_wrapped=True)
    secret_id = login.prepare(settings, tmp_path / "lock")
    assert secret_id is not None
    assert server.count("POST", "sys/wrapping/unwrap") == 1
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_log_in, args=(settings, secret_id, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=20) for _ in processes] == ["in"] * 3
    for process in processes:
        process.join(10)
    assert server.count("POST", "sys/wrapping/unwrap") == 1


def test_while_the_vault_is_away_the_first_process_opens_it_later(server: Vault, tmp_path: Path) -> None:
    role = server.role()
    server.state.sealed = True
    settings = configured(server, role, secret_id=server.wrap(server.secret_id(role)), is_secret_wrapped=True)
    secret_id = login.prepare(settings, tmp_path / "lock")
    assert secret_id is not None
    server.state.sealed = False
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_log_in, args=(settings, secret_id, results)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [results.get(timeout=20) for _ in processes] == ["in"] * 4
    for process in processes:
        process.join(10)


def test_used_by_somebody_else_it_stops_the_start(server: Vault, tmp_path: Path) -> None:
    role = server.role()
    wrapping = server.wrap(server.secret_id(role))
    server.answer("POST", "sys/wrapping/unwrap", {"X-Vault-Token": wrapping}, None)
    settings = configured(server, role, secret_id=wrapping, is_secret_wrapped=True)
    with pytest.raises(ConfigurationError, match=r"vault_config\.secret_id: .*somebody else") as caught:
        login.prepare(settings, tmp_path / "lock")
    assert wrapping not in str(caught.value)


def _log_in(settings: HashiCorpSettings, secret_id: SecretId, results: multiprocessing.Queue[str]) -> None:
    clients = login.Clients(settings)
    try:
        login.make_login(settings, secret_id)(clients)
        results.put("in")
    except ServiceError as error:
        results.put(repr(error))
    clients.close()
