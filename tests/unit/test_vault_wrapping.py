"""A wrapped secret id: opened once, whatever processes there are, and told when somebody else has opened it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.errors import ConfigurationError
from hpcwaas.vault import login
from hpcwaas.vault.settings import HashiCorpSettings
from tests.simulators.vault import Vault, vault_server
from tests.simulators.vault_state import Role


@pytest.fixture
def server() -> Iterator[Vault]:
    with vault_server() as server:
        yield server


def configured(server: Vault, role: Role, **members: Any) -> dict[str, Any]:
    return {"address": server.url, "role_id": role.role_id, "is_secret_wrapped": True, **members}


@contextlib.contextmanager
def prepared(settings: dict[str, Any], lock: Path, processes: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has looked at the secret id, and forks when it is told to."""
    line = [sys.executable, "-m", "tests.unit.forked_logins", json.dumps(settings), str(lock), str(processes)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "prepared\n"
            yield process
        finally:
            process.kill()


def test_it_is_opened_once_for_all_processes(server: Vault, tmp_path: Path) -> None:
    role = server.role()
    settings = configured(server, role, secret_id=server.wrap(server.secret_id(role)))
    with prepared(settings, tmp_path / "lock", 3) as process:
        assert server.count("POST", "sys/wrapping/unwrap") == 1
        assert process.communicate("go\n", timeout=60)[0] == "[0, 0, 0]\n"
    assert server.count("POST", "sys/wrapping/unwrap") == 1


def test_while_the_vault_is_away_the_first_process_opens_it_later(server: Vault, tmp_path: Path) -> None:
    role = server.role()
    server.state.sealed = True
    settings = configured(server, role, secret_id=server.wrap(server.secret_id(role)))
    with prepared(settings, tmp_path / "lock", 4) as process:
        server.state.sealed = False
        assert process.communicate("go\n", timeout=60)[0] == "[0, 0, 0, 0]\n"


def test_used_by_somebody_else_it_stops_the_start(server: Vault, tmp_path: Path) -> None:
    role = server.role()
    wrapping = server.wrap(server.secret_id(role))
    server.answer("POST", "sys/wrapping/unwrap", {"X-Vault-Token": wrapping}, None)
    settings = HashiCorpSettings.model_validate(configured(server, role, secret_id=wrapping))
    with pytest.raises(ConfigurationError, match=r"vault_config\.secret_id: .*somebody else") as caught:
        login.prepare(settings, tmp_path / "lock")
    assert wrapping not in str(caught.value)
