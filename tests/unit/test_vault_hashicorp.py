"""Private keys in HashiCorp Vault: against a look-alike over real HTTP, with exactly the policy that we ship."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import SSHKey
from hpcwaas.core.ports import vault as base
from hpcwaas.errors import Conflict, NotFound, ServiceError, Unavailable, UpstreamFailed
from hpcwaas.store.database import Database
from hpcwaas.store.intents import IntentStore
from hpcwaas.vault import login
from hpcwaas.vault.hashicorp import HashiCorpVault
from hpcwaas.vault.settings import HashiCorpSettings
from hpcwaas.vault.token import VaultToken
from tests.simulators.vault import Fault, Vault, vault_server
from tests.simulators.vault_state import Role, Secret

LATER = datetime.now(UTC) + timedelta(days=1)


def key(key_id: str = "key-1", public: str = "ssh-ed25519 AAAA alice\n") -> SSHKey:
    return SSHKey(key_id, "alice", "mine", "ed25519", None, public, "SHA256:x", {"project": "p"}, datetime.now(UTC))


@pytest.fixture
def intents(database: Database) -> IntentStore:
    return IntentStore(database)


@pytest.fixture
def server() -> Iterator[Vault]:
    with vault_server() as server:
        yield server


class Made:
    """Makes vaults that are closed in the end."""

    def __init__(self, server: Vault, intents: IntentStore, lock: Path) -> None:
        self.server, self.intents, self.lock = server, intents, lock
        self.vaults: list[HashiCorpVault] = []

    def settings(self, approle: Role | None = None, /, **members: Any) -> HashiCorpSettings:
        if approle is not None:
            members = {"role_id": approle.role_id, "secret_id": self.server.secret_id(approle)} | members
        return HashiCorpSettings.model_validate({"address": self.server.url, **members})

    def __call__(self, approle: Role | None = None, /, **members: Any) -> HashiCorpVault:
        settings = self.settings(approle, **members)
        vault = HashiCorpVault(settings, self.intents, login.prepare(settings, self.lock))
        vault.start()
        self.vaults.append(vault)
        return vault


@pytest.fixture
def made(server: Vault, intents: IntentStore, tmp_path: Path) -> Iterator[Made]:
    made = Made(server, intents, tmp_path / "lock")
    yield made
    for vault in made.vaults:
        vault.close()


@pytest.fixture
def vault(made: Made, server: Vault) -> HashiCorpVault:
    return made(server.role())


def eventually(condition: Callable[[], object], seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def writes(vault: HashiCorpVault, key_id: str) -> bool:
    with contextlib.suppress(Unavailable):
        vault.write(key(key_id), "PEM")
        return True
    return False


def test_life_of_a_pair(vault: HashiCorpVault, server: Vault, intents: IntentStore) -> None:
    as_protocol: base.Vault = vault
    as_protocol.write(key(), "PEM")
    stored = server.pairs()["key-1"]
    assert stored.versions[0]["data"] == {"privateKey": "PEM", "publicKey": key().public_key, "project": "p"}
    assert stored.custom == {"owner": "alice", "type": "ed25519", "fingerprint": "SHA256:x", "name": "mine"}
    assert vault.unowned(LATER) == ["key-1"]  # until its record is stored
    vault.replace(key(public="ssh-ed25519 BBBB alice\n"), "PEM 2")
    assert [each["data"]["privateKey"] for each in stored.versions] == ["PEM", "PEM 2"]
    vault.delete("key-1")
    vault.delete("key-1")
    assert server.pairs() == {}
    assert vault.unowned(LATER) == []
    assert intents.before(LATER) == []


def test_an_id_is_used_once_and_only_what_is_there_is_replaced(
    vault: HashiCorpVault, server: Vault, intents: IntentStore
) -> None:
    vault.write(key(), "PEM")
    with pytest.raises(Conflict):
        vault.write(key(), "PEM 2")
    intents.remove("key-1")
    with pytest.raises(Conflict):
        vault.write(key(), "PEM 2")
    with pytest.raises(NotFound):
        vault.replace(key("key-2"), "PEM")
    assert [each["data"]["privateKey"] for each in server.pairs()["key-1"].versions] == ["PEM"]


def test_the_service_cannot_read_a_key_back(vault: HashiCorpVault) -> None:
    vault.write(key(), "PEM")
    with pytest.raises(UpstreamFailed, match="policy"):
        vault._token.call(lambda client: client.secrets.kv.v2.read_secret_version("ssh-credentials/key-1"))


def test_the_reader_can_read_and_nothing_else(server: Vault) -> None:
    policy = Path(__file__).parents[2] / "deploy" / "vault" / "hpcwaas-reader.hcl"
    server.state.policies["reader"] = policy.read_text()
    token, _ = server.state.issue(Role(("reader",)), "reader", "auth/approle/login")
    stored = Secret([{"data": {"privateKey": "PEM"}, "created_time": "2026-11-23T09:33:08Z"}])
    server.state.kv2["secret"]["ssh-credentials/a"] = stored
    header = {"X-Vault-Token": token}
    status, document = server.answer("GET", "secret/data/ssh-credentials/a", header, None)
    assert (status, document["data"]["data"]) == (200, {"privateKey": "PEM"})
    for method, path in (("POST", "data"), ("GET", "metadata"), ("DELETE", "metadata")):
        assert server.answer(method, f"secret/{path}/ssh-credentials/a", header, {"data": {}})[0] == 403
    assert len(stored.versions) == 1


class TestTokens:
    def test_it_is_renewed_in_good_time(self, made: Made, server: Vault) -> None:
        vault = made(server.role(ttl=1.5))
        vault.write(key(), "PEM")
        eventually(lambda: server.count("POST", "auth/token/renew-self") >= 2)
        assert server.count("POST", "auth/approle/login") == 1
        vault.write(key("key-2"), "PEM")
        assert not any(method == "GET" and path.endswith("lookup-self") for method, path in server.requests)

    def test_it_is_replaced_before_its_longest_life_ends(self, made: Made, server: Vault) -> None:
        vault = made(server.role(ttl=2, longest=4))
        ends = time.monotonic() + 7
        number = 0
        while time.monotonic() < ends:
            vault.write(key(f"key-{number}"), "PEM")
            number += 1
            time.sleep(0.05)
        assert server.count("POST", "auth/approle/login") >= 2
        assert len(server.pairs()) == number
        assert server.count("GET", "auth/token/lookup-self") == 0  # no request met a dead one

    def test_one_that_cannot_be_renewed_is_replaced(self, made: Made, server: Vault) -> None:
        vault = made(server.role(ttl=1.5, renewable=False))
        vault.write(key(), "PEM")
        eventually(lambda: server.count("POST", "auth/approle/login") >= 3)
        assert server.count("POST", "auth/token/renew-self") == 0

    def test_revoked_under_load_no_request_fails_and_there_is_one_login(
        self, vault: HashiCorpVault, server: Vault
    ) -> None:
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

    def test_a_policy_that_forbids_is_no_reason_to_log_in_again(self, made: Made, server: Vault) -> None:
        vault = made(server.role())
        server.state.policies["service"] = 'path "secret/metadata/ssh-credentials/*" { capabilities = ["read"] }'
        for number in range(3):
            with pytest.raises(UpstreamFailed, match="policy"):
                vault.write(key(f"key-{number}"), "PEM")
        assert server.count("POST", "auth/approle/login") == 1

    def test_a_secret_id_that_is_used_up(self, made: Made, server: Vault, caplog: pytest.LogCaptureFixture) -> None:
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

    def test_token_from_a_variable_or_file(self, made: Made, server: Vault, tmp_path: Path) -> None:
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
    def test_jwt(self, made: Made, server: Vault, tmp_path: Path, method: str) -> None:
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

    def test_the_thread_outlives_what_nobody_expected(self, server: Vault, made: Made) -> None:
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


class TestTrouble:
    def test_sealed_and_back(self, vault: HashiCorpVault, server: Vault) -> None:
        vault.write(key(), "PEM")
        server.state.sealed = True
        with pytest.raises(base.NotDone) as caught:
            vault.write(key("key-2"), "PEM")
        assert caught.value.retry_after > 0
        assert vault.check().problems == ("SSH keys can't be made or changed: the vault is sealed.",)
        assert vault.unowned(LATER) == ["key-1"]
        server.state.sealed = False
        vault.write(key("key-2"), "PEM")
        assert vault.check().status == "ok"

    def test_away_at_the_start_and_back_within_5_seconds(self, made: Made, server: Vault, intents: IntentStore) -> None:
        state, port = server.state, server.port
        settings = made.settings(server.role())
        server.close()
        vault = HashiCorpVault(settings, intents, login.prepare(settings, made.lock))
        vault.start()
        made.vaults.append(vault)
        with pytest.raises(base.NotDone):
            vault.write(key(), "PEM")
        assert vault.check().status == "degraded"
        again = Vault(port, state)
        try:
            eventually(lambda: writes(vault, "key-2"), 5)
            eventually(lambda: vault.check().status == "ok", 1)
        finally:
            again.close()

    def test_restarted_between_two_requests(self, made: Made, server: Vault, vault: HashiCorpVault) -> None:
        vault.write(key(), "PEM")
        state, port = server.state, server.port
        server.close()
        again = Vault(port, state)
        try:
            vault.write(key("key-2"), "PEM")  # over a connection that is dead by now
        finally:
            again.close()

    @pytest.mark.parametrize("what", ["drop", "lose"])
    def test_one_lost_answer_is_made_good(self, vault: HashiCorpVault, server: Vault, what: str) -> None:
        server.faults = [Fault("POST", "secret/data", what)]
        vault.write(key(), "PEM")
        assert len(server.pairs()["key-1"].versions) == 1

    @pytest.mark.parametrize("what", ["500", "502", "nonsense", "echo", "400", "404"])
    def test_a_vault_that_fails(self, vault: HashiCorpVault, server: Vault, what: str) -> None:
        server.faults = [Fault("POST", "secret/data", what)]
        with pytest.raises(UpstreamFailed) as caught:
            vault.write(key(), "PEM of mine")
        assert "PEM" not in caught.value.detail
        assert caught.value.__cause__ is None
        assert vault.unowned(LATER) == ["key-1"]

    @pytest.mark.parametrize("status", ["429", "501", "503"])
    def test_a_vault_that_is_not_there_for_us(self, vault: HashiCorpVault, server: Vault, status: str) -> None:
        server.faults = [Fault("POST", "secret/data", status)]
        with pytest.raises(base.NotDone):
            vault.write(key(), "PEM")
        assert vault.unowned(LATER) == []

    def test_without_metadata_in_the_policy_keys_are_made(
        self, vault: HashiCorpVault, server: Vault, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.state.policies["service"] = (
            'path "/secret/data/ssh-credentials/*" { capabilities = ["create","update"] }'
        )
        with caplog.at_level(logging.WARNING):
            vault.write(key(), "PEM")
        assert server.pairs()["key-1"].custom is None
        assert "without custom metadata" in caplog.text


OLD_POLICY = 'path "/secret/data/ssh-credentials/*" { capabilities = ["create","update"] }'
METADATA = 'path "secret/metadata/ssh-credentials/*" { capabilities = ["%s"] }'


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (
            OLD_POLICY,
            [("rotated or labelled with their owners or deleted", '["read", "update", "delete"] at `secret/metadata/')],
        ),
        (OLD_POLICY + METADATA % 'read","update', [("deleted", '["delete"] at `secret/metadata/ssh-credentials/*`')]),
        (
            METADATA % 'read","update","delete',
            [("made or rotated", '["create", "update"] at `secret/data/ssh-credentials/*`')],
        ),
        (
            OLD_POLICY.replace(',"update"', "") + METADATA % 'read","update',
            [("rotated", '["update"] at `secret/data/'), ("deleted", '["delete"] at `secret/metadata/')],
        ),
        ('path "secret/*" { capabilities = ["create","update","read","delete"] }', []),
    ],
)
def test_health_says_which_rights_lack(made: Made, server: Vault, policy: str, says: list[tuple[str, str]]) -> None:
    role = server.role()
    server.state.policies["service"] = policy
    check = made(role).check()
    assert check.status == ("degraded" if says else "ok")
    assert len(check.problems) == len(says)
    for problem, (acts, where) in zip(check.problems, says, strict=True):
        assert problem.startswith(f"SSH keys can't be {acts}: the vault's policy doesn't give the service {where}")


def test_the_policy_that_we_ship_lacks_nothing(made: Made, server: Vault) -> None:
    server.state.policies["default"] = 'path "auth/token/lookup-self" { capabilities = ["read"] }'
    assert made(server.role()).check().problems == ()


def test_a_policy_that_forbids_to_ask_for_rights_is_told(made: Made, server: Vault) -> None:
    role = server.role()
    server.state.policies["default"] = ""
    server.state.policies["service"] = OLD_POLICY + 'path "auth/token/lookup-self" { capabilities = ["read"] }'
    check = made(role).check()
    assert check.status == "degraded"
    assert "`sys/capabilities-self`" in check.problems[0]


@pytest.mark.parametrize("status", ["400", "404"])
def test_a_vault_that_knows_no_rights_is_taken_as_it_is(vault: HashiCorpVault, server: Vault, status: str) -> None:
    server.faults = [Fault("POST", "sys/capabilities-self", status)]
    assert vault.check().status == "ok"


def test_version_1(made: Made, server: Vault) -> None:
    server.state.mount("kv1", version=None)
    role = server.role()
    server.state.policies["service"] = 'path "kv1/hpc/keys/*" { capabilities = ["create", "update", "delete"] }'
    vault = made(role, mount="kv1", path="hpc/keys")
    vault.write(key(), "PEM")
    vault.replace(key(), "PEM 2")
    stored = server.state.kv1["kv1"]
    assert stored == {"hpc/keys/key-1": {"privateKey": "PEM 2", "publicKey": key().public_key, "project": "p"}}
    vault.delete("key-1")
    assert server.state.kv1["kv1"] == {}
    assert vault.check().status == "ok"
    server.state.policies["service"] = 'path "kv1/hpc/keys/*" { capabilities = ["create"] }'
    (problem,) = vault.check().problems
    assert problem.startswith("SSH keys can't be rotated or deleted: ")
    assert '["update", "delete"] at `kv1/hpc/keys/*`' in problem


def test_namespace(made: Made, server: Vault) -> None:
    server.state.namespace = "hpc/team"
    role = server.role()
    made(role, namespace="hpc/team").write(key(), "PEM")
    with pytest.raises(base.NotDone):
        made(role).write(key("key-2"), "PEM")


def test_a_mount_that_is_not_there(made: Made, server: Vault) -> None:
    vault = made(server.role(), mount="nowhere")
    with pytest.raises(UpstreamFailed):
        vault.write(key(), "PEM")
    assert "mount `nowhere`" in vault.check().problems[0]


def test_notes_that_the_vault_would_refuse_are_left_out(vault: HashiCorpVault, server: Vault) -> None:
    nameless = SSHKey("a", "x" * 600, None, "rsa", 4096, "ssh-rsa A\n", "SHA256:x", {}, datetime.now(UTC))
    vault.write(nameless, "PEM")
    assert server.pairs()["a"].custom == {"type": "rsa", "fingerprint": "SHA256:x"}
