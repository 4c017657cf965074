"""The token that the service uses HashiCorp Vault with: renewed, replaced, lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from hpcwaas.core.ports import vault as base
from hpcwaas.errors import ServiceError, UpstreamFailed
from hpcwaas.vault import login
from hpcwaas.vault.hashicorp import HashiCorpVault
from hpcwaas.vault.token import VaultToken
from tests.simulators.vault import Vault
from tests.unit.vaults import Made, eventually, key

pytest_plugins = "tests.unit.vault_fixtures"


def test_it_is_renewed_in_good_time(made: Made, server: Vault) -> None:
    vault = made(server.role(ttl=4))
    vault.write(key(), "PEM")
    eventually(lambda: server.count("POST", "auth/token/renew-self") >= 2)
    assert server.count("POST", "auth/approle/login") == 1
    vault.write(key("key-2"), "PEM")
    assert not any(method == "GET" and path.endswith("lookup-self") for method, path in server.requests)


def test_it_is_replaced_before_its_longest_life_ends(made: Made, server: Vault) -> None:
    vault = made(server.role(ttl=4, longest=6))
    number = 0
    while server.count("POST", "auth/approle/login") < 2 or number % 20:
        vault.write(key(f"key-{number}"), "PEM")
        number += 1
        time.sleep(0.05)
    assert len(server.pairs()) == number
    assert server.count("GET", "auth/token/lookup-self") == 0  # no request met a dead one


def test_one_that_cannot_be_renewed_is_replaced(made: Made, server: Vault) -> None:
    vault = made(server.role(ttl=1.5, renewable=False))
    vault.write(key(), "PEM")
    eventually(lambda: server.count("POST", "auth/approle/login") >= 3)
    assert server.count("POST", "auth/token/renew-self") == 0


def test_revoked_under_load_no_request_fails_and_there_is_one_login(vault: HashiCorpVault, server: Vault) -> None:
    failures: list[Exception] = []

    def work(worker: int) -> None:
        for number in range(20):
            try:
                vault.write(key(f"key-{worker}-{number}"), "PEM")
            except ServiceError as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.1)
        server.revoke_all()
    for thread in threads:
        thread.join()
    vault.write(key("last"), "PEM")
    assert failures == []
    assert len(server.pairs()) == 161
    assert server.count("POST", "auth/approle/login") <= 4


def test_a_policy_that_forbids_is_no_reason_to_log_in_again(made: Made, server: Vault) -> None:
    vault = made(server.role())
    server.state.policies["service"] = 'path "secret/metadata/ssh-credentials/*" { capabilities = ["read"] }'
    for number in range(3):
        with pytest.raises(UpstreamFailed, match="policy"):
            vault.write(key(f"key-{number}"), "PEM")
    assert server.count("POST", "auth/approle/login") == 1


def test_a_secret_id_that_is_used_up(made: Made, server: Vault, caplog: pytest.LogCaptureFixture) -> None:
    vault = made(server.role(uses=1))
    vault.write(key(), "PEM")
    server.revoke_all()
    with pytest.raises(base.NotDone):
        vault.write(key("key-2"), "PEM")
    check = vault.check()
    assert check.status == "degraded"
    assert "login by approle" in check.problems[0]
    time.sleep(2.5)
    assert server.count("POST", "auth/approle/login") <= 4  # the vault locks who tries too often
    assert "refused" in caplog.text


def test_token_from_a_variable_or_file(made: Made, server: Vault, tmp_path: Path) -> None:
    role = server.role()
    token, _ = server.state.issue(role, "api", "auth/token/create")
    made(auth_method="token", token=token).write(key(), "PEM")
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    vault = made(auth_method="token", token_file=file)
    vault.write(key("key-2"), "PEM")
    server.revoke_all()
    file.write_text(server.state.issue(role, "api", "auth/token/create")[0])  # as Vault's agent does
    vault.write(key("key-3"), "PEM")


@pytest.mark.parametrize("method", ["jwt", "kubernetes"])
def test_jwt(made: Made, server: Vault, tmp_path: Path, method: str) -> None:
    server.role("k8s", method).jwts.add("a.b.c")
    file = tmp_path / "jwt"
    file.write_text("a.b.c\n")
    arguments = {"auth_method": method, "auth_mount": "k8s", "role": method, "token_file": file}
    made(**arguments).write(key(), "PEM")
    file.write_text("stolen")
    refused = made(**arguments)
    with pytest.raises(base.NotDone):
        refused.write(key("key-2"), "PEM")
    assert "refused" in refused.check().problems[0]


def test_the_thread_outlives_what_nobody_expected(server: Vault, made: Made) -> None:
    settings = made.settings(server.role())
    usual = login.make_login(settings, login.prepare(settings, made.lock))
    troubles = [OSError("disk full"), OSError("disk full")]

    def log_in(clients: login.Clients) -> login.Lease:
        if troubles:
            raise troubles.pop()
        return usual(clients)

    clients = login.Clients(settings)
    token = VaultToken(clients, log_in)
    token.start()
    assert token.call(lambda client: client.auth.token.lookup_self())["data"]["renewable"]
    token.close()
    clients.close()
