"""The embedded vault gets another key while the service runs."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.end()


def sealed_by(service: Service) -> set[str]:
    """Ids of the keys that the records name."""
    with service.database() as database:
        return {sealed[4:12].hex() for (sealed,) in database.execute("SELECT ciphertext FROM secrets")}


def vault(service: Service) -> object:
    """What health says of the vault."""
    checks = service.user("GET", "/health/ready").json()["checks"]
    return next((check["status"], check["problems"]) for check in checks if check["name"] == "vault")


def test_from_one_key_to_another(service: Service) -> None:
    service.start()
    path = service.data / "vault.key"
    made = [service.user("POST", "/ssh_keys").json()["id"] for _ in range(3)]
    (old,) = sealed_by(service)

    added = service.command("vault", "new-key")
    assert added.returncode == 0, added.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert service.user("POST", "/ssh_keys").status_code == 201
    both = sealed_by(service)
    (new,) = both - {old}
    assert f"key {new} seals from now on, and 2 keys open" in added.stdout

    done = service.command("vault", "rekey")
    assert (done.returncode, sealed_by(service)) == (0, {new}), done.stderr
    assert done.stdout.startswith(f"key {new}: 3 private keys sealed anew, 1 were sealed with it before\n")
    assert f"remove them from {path}, all lines but the first" in done.stdout
    again = service.command("vault", "rekey")
    assert again.returncode == 0
    assert again.stdout.startswith(f"key {new}: 0 private keys sealed anew, 4 were sealed with it before")
    assert vault(service) == ("ok", [])

    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert service.user("POST", f"/ssh_keys/{made[0]}/rotate").status_code == 200
    assert vault(service) == ("ok", [])
    service.stop()
    service.start()
    assert service.user("DELETE", f"/ssh_keys/{made[1]}").status_code == 204
    acts = [json.loads(line)["operation"] for line in (service.data / "audit.jsonl").read_text().splitlines()]
    assert [act for act in acts if act.startswith("vault")] == ["vault new-key", "vault rekey", "vault rekey"]


def test_what_cannot_be_done_is_one_line(service: Service) -> None:
    for words, variables, says in (
        (("rekey",), {}, "there is no database yet"),
        (("new-key",), {"HWA_VAULT_KEY": "A" * 43 + "="}, "vault.key: is set"),
        (
            ("rekey",),
            {"HWA_VAULT_CONFIG_ROLE_ID": "r", "HWA_VAULT_CONFIG_SECRET_ID": "s"},
            "HashiCorp Vault or OpenBao",
        ),
    ):
        service.variables |= variables
        refused = service.command("vault", *words)
        assert (refused.returncode, says in refused.stderr, len(refused.stderr.splitlines())) == (1, True, 1)
        for name in variables:
            del service.variables[name]


def test_what_no_key_opens_is_named(service: Service) -> None:
    service.start()
    made = service.user("POST", "/ssh_keys").json()["id"]
    service.stop()
    with contextlib.closing(sqlite3.connect(service.data / "hpcwaas.db")) as database, database:
        database.execute("UPDATE secrets SET ciphertext = X'00' WHERE key_id = ?", (made,))
    database.close()
    assert service.command("vault", "new-key").returncode == 0
    refused = service.command("vault", "rekey")
    assert (refused.returncode, f"no key opens {made}" in refused.stderr) == (1, True)
