"""Private keys in HashiCorp Vault: against a look-alike over real HTTP, with exactly the policy that we ship."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hpcwaas.core.models import SSHKey
from hpcwaas.core.ports import vault as base
from hpcwaas.errors import Conflict, NotFound, UpstreamFailed
from hpcwaas.store.intents import IntentStore
from hpcwaas.vault import login
from hpcwaas.vault.hashicorp import HashiCorpVault
from tests.simulators.vault import Fault, Vault
from tests.simulators.vault_state import Role, Secret
from tests.unit.vaults import LATER, Made, eventually, key, writes

pytest_plugins = "tests.unit.vault_fixtures"


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
        vault.token.call(lambda client: client.secrets.kv.v2.read_secret_version("ssh-credentials/key-1"))


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

    def test_away_at_the_start_and_back_soon(self, made: Made, server: Vault, intents: IntentStore) -> None:
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
            eventually(lambda: writes(vault, "key-2"))
            eventually(lambda: vault.check().status == "ok")
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
