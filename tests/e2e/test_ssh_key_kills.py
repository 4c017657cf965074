"""Kills the service while keys are made and rotated: what was acknowledged is there, and nothing is left unowned."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.processes import Service, eventually
from tests.simulators.vault import Fault, Vault, vault_server


@pytest.fixture
def vault() -> Iterator[Vault]:
    with vault_server() as server:
        yield server


@pytest.fixture
def service(tmp_path: Path, vault: Vault) -> Iterator[Service]:
    role = vault.role(ttl=5, longest=10)
    service = Service(
        tmp_path,
        HWA_VAULT_CONFIG_ADDRESS=vault.url,
        HWA_VAULT_CONFIG_ROLE_ID=role.role_id,
        HWA_VAULT_CONFIG_SECRET_ID=vault.wrap(vault.secret_id(role)),
        HWA_VAULT_CONFIG_IS_SECRET_WRAPPED="true",
        HWA_SERVER_WORKERS="2",
    )
    service.start()
    eventually(service.profile.exists)
    yield service
    service.end()


def age(service: Service) -> None:
    """Makes everything that is half-done look old enough for the sweep."""
    with service.database() as database:
        database.execute("UPDATE vault_intents SET created_at = '2026-01-01 00:00:00.000000'")
        database.execute(
            "UPDATE ssh_keys SET changing_since = '2026-01-01 00:00:00.000000' WHERE changing_since IS NOT NULL"
        )


def test_what_was_acknowledged_is_there_and_nothing_else(service: Service, vault: Vault) -> None:
    user, acknowledged, over = service.user, {}, threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                answer = user("POST", "/ssh_keys", headers={"Connection": "close"})
                if answer.status_code == 201:
                    path = f"/ssh_keys/{answer.json()['id']}"
                    acknowledged[answer.json()["id"]] = {answer.json()["public_key"]}
                    answer = user("POST", f"{path}/rotate", headers={"Connection": "close"})
                if answer.status_code == 200:
                    acknowledged[answer.json()["id"]] = {answer.json()["public_key"]}
            except requests.RequestException:  # cut off anywhere
                time.sleep(0.05)

    threads = [threading.Thread(target=work) for _ in range(6)]
    vault.faults = [Fault("POST", "secret/data", "late 0.1", times=10**6)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        time.sleep(1.2)
        before = vault.count("POST", "auth/approle/login")
        service.kill("worker")
        eventually(lambda: vault.count("POST", "auth/approle/login") > before)  # noqa: B023 # called at once
    over.set()
    for thread in threads:
        thread.join()
    assert len(acknowledged) > 10
    vault.faults = []
    # The vault may still get to what a killed worker has sent. The sweep, which waits for minutes, is hurried below.
    time.sleep(3)
    eventually(lambda: user("GET", "/health/live").status_code == 200)

    age(service)
    half_done = "SELECT (SELECT count(*) FROM vault_intents), (SELECT count(changing_since) FROM ssh_keys)"

    def agreed() -> bool:
        """Whether all is done. One of two that were at work on the same when it was made old begins once more."""
        with service.database() as database:
            done = database.execute(half_done).fetchone() == (0, 0)
        listed = user("GET", "/ssh_keys").json()["ssh_keys"]
        stored = {key_id: pair.versions[-1]["data"]["publicKey"] for key_id, pair in vault.pairs().items()}
        return done and {key["id"]: key["public_key"] for key in listed} == stored

    eventually(agreed)
    listed = {key["id"]: key for key in user("GET", "/ssh_keys").json()["ssh_keys"]}
    assert acknowledged.keys() <= listed.keys()
    for key_id, key in listed.items():
        halves = {key["public_key"], *(half["public_key"] for half in key["replaced"])}
        assert acknowledged.get(key_id, halves) <= halves
    # The wrapping was opened once, whoever logged in since.
    assert vault.count("POST", "sys/wrapping/unwrap") == 1
    assert vault.count("POST", "auth/approle/login") >= 7


def test_a_wrapping_that_somebody_else_has_opened_stops_the_start(tmp_path: Path, vault: Vault) -> None:
    role = vault.role()
    service = Service(
        tmp_path,
        HWA_VAULT_CONFIG_ADDRESS=vault.url,
        HWA_VAULT_CONFIG_ROLE_ID=role.role_id,
        HWA_VAULT_CONFIG_SECRET_ID="s.opened-already",
        HWA_VAULT_CONFIG_IS_SECRET_WRAPPED="true",
    )
    done = service.command("-l", "127.0.0.1:0")
    assert done.returncode == 1
    assert "vault_config.secret_id: " in done.stderr
    assert "somebody else" in done.stderr
    assert "s.opened-already" not in done.stderr


def test_a_vault_that_comes_later(tmp_path: Path, vault: Vault) -> None:
    role = vault.role()
    variables = {
        "HWA_VAULT_CONFIG_ADDRESS": vault.url,
        "HWA_VAULT_CONFIG_ROLE_ID": role.role_id,
        "HWA_VAULT_CONFIG_SECRET_ID": vault.secret_id(role),
    }
    state, port = vault.state, vault.port
    vault.close()
    service = Service(tmp_path, **variables).start()
    later = None
    try:
        eventually(service.profile.exists)
        answer = service.user("POST", "/ssh_keys")
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        assert service.user("GET", "/workflows").status_code == 200
        later = Vault(port, state)
        eventually(lambda: service.user("POST", "/ssh_keys").status_code == 201)
    finally:
        service.end()
        if later:
            later.close()
