"""What opens accounts on sites: keys of the embedded vault, keys that an identity reads, certificates."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from hpcwaas.core.key_types import generate
from hpcwaas.core.ports.sites import Credential
from hpcwaas.core.ports.vault import Vault as VaultPort
from hpcwaas.core.site_models import Placement
from hpcwaas.errors import NotFound, ServiceError, Unavailable, UpstreamFailed
from hpcwaas.store.database import Database
from hpcwaas.store.secrets import SecretStore
from hpcwaas.vault import accounts, login
from hpcwaas.vault.accounts import AccountKeys
from hpcwaas.vault.embedded import EmbeddedVault
from hpcwaas.vault.keyring import KeySource
from hpcwaas.vault.settings import VaultSettings
from tests.simulators.vault import Fault, Vault
from tests.unit.vaults import Made, eventually, key

pytest_plugins = "tests.unit.vault_fixtures"

PAIR = generate("ed25519", None, "")
STORED = Placement("mare", "u1234", "key-1")
SIGNED = Placement("mare", "u1234")


@pytest.fixture
def opened(made: Made, server: Vault) -> Iterator[Any]:
    """Makes what opens accounts, with the settings that are given."""
    found: list[AccountKeys] = []

    def make(
        *, reader: dict[str, Any] | None = None, signs: dict[str, Any] | None = None, **members: Any
    ) -> AccountKeys:
        service = server.role()
        if signs is not None:
            server.authority(service, **signs)
            members["ssh_ca"] = {"role": "hpcwaas"}
        vault = made(service, key_reader=reader, **members)
        vault.write(key("key-1", PAIR.public_key), PAIR.private_key)
        settings = made.settings(service, key_reader=reader, **members)
        secret_id = login.prepare(settings, made.lock, settings.key_reader, accounts.READER) if reader else None
        opens = accounts.make(settings, vault, secret_id)
        assert opens is not None
        opens.start()
        found.append(opens)
        return opens

    yield make
    for each in found:
        each.close()


def reading(server: Vault, **members: Any) -> dict[str, Any]:
    """Settings of an identity that reads keys."""
    server.role()
    role = server.reader(**members)
    return {"role_id": role.role_id, "secret_id": server.secret_id(role)}


def certificate(credential: Credential) -> SSHCertificate:
    found = load_ssh_public_identity((credential.certificate or "").encode())
    assert isinstance(found, SSHCertificate)
    return found


# ---- the embedded vault


@pytest.fixture
def embedded(database: Database, tmp_path: Path) -> EmbeddedVault:
    vault = EmbeddedVault(SecretStore(database), KeySource(VaultSettings(), tmp_path / "vault.key"))
    vault.write(key("key-1", PAIR.public_key), PAIR.private_key)
    return vault


def test_the_embedded_vault_opens_accounts(embedded: EmbeddedVault) -> None:
    opens = accounts.make(None, embedded, None)
    assert opens is not None
    assert opens.credential(STORED, "execution 1") == Credential(PAIR.private_key)
    embedded.delete("key-1")
    with pytest.raises(NotFound):
        opens.credential(STORED, "execution 1")
    with pytest.raises(NotFound):
        opens.credential(Placement("mare", "u1234", "*probe*"), "execution 1")
    with pytest.raises(Unavailable, match="ssh_ca is missing"):
        opens.credential(SIGNED, "execution 1")


def test_a_record_that_the_key_does_not_open_is_told_without_its_content(
    embedded: EmbeddedVault, database: Database, tmp_path: Path
) -> None:
    SecretStore(database).replace("key-1", b"nonsense")
    with pytest.raises(Unavailable, match="can't open the SSH key"):
        embedded.private_key("key-1")


def test_the_api_has_no_way_to_a_private_key() -> None:
    assert not hasattr(VaultPort, "private_key")


def test_a_credential_shows_nothing() -> None:
    assert repr(Credential("PRIVATE", "CERTIFICATE")) == "Credential()"


# ---- an identity that reads keys


def test_an_identity_of_its_own_reads_keys_and_that_of_the_service_can_t(
    opened: Any, server: Vault, made: Made
) -> None:
    opens = opened(reader=reading(server))
    assert opens.credential(STORED, "execution 1") == Credential(PAIR.private_key)
    assert [check.status for check in opens.checks()] == ["ok"]
    with pytest.raises(ServiceError):
        made.vaults[0].token.call(lambda client: client.secrets.kv.v2.read_secret_version("ssh-credentials/key-1"))


def test_the_identity_that_reads_can_t_write_or_list(opened: Any, server: Vault) -> None:
    opens = opened(reader=reading(server))
    opens.credential(STORED, "execution 1")
    token = opens._reader._token
    for task in (
        lambda client: client.secrets.kv.v2.create_or_update_secret("ssh-credentials/key-1", {}),
        lambda client: client.secrets.kv.v2.list_secrets("ssh-credentials"),
        lambda client: client.secrets.kv.v2.delete_metadata_and_all_versions("ssh-credentials/key-1"),
    ):
        with pytest.raises(ServiceError):
            token.call(task)


def test_keys_of_version_1_are_read_too(opened: Any, server: Vault) -> None:
    server.state.mount("old", "kv", "1")
    reader = reading(server)
    path = 'path "old/ssh-credentials/*" { capabilities = '
    server.state.policies["reader"] = f'{path} ["read"] }}'
    service = server.role()
    server.state.policies["service"] = f'{path} ["create", "update", "delete"] }}'
    assert service.policies == ("service",)
    server.role = lambda: service  # type: ignore[assignment,method-assign,misc] # with that policy
    opens = opened(reader=reader, mount="old")
    assert opens.credential(STORED, "execution 1") == Credential(PAIR.private_key)
    with pytest.raises(NotFound):
        opens.credential(Placement("mare", "u1234", "another"), "execution 1")


def test_a_key_that_was_deleted_is_told(opened: Any, server: Vault, made: Made) -> None:
    opens = opened(reader=reading(server))
    made.vaults[0].delete("key-1")
    with pytest.raises(NotFound, match="no such key any more"):
        opens.credential(STORED, "execution 1")


def test_a_vault_that_is_sealed_while_an_execution_runs_is_told_and_works_again(opened: Any, server: Vault) -> None:
    opens = opened(reader=reading(server))
    opens.credential(STORED, "execution 1")
    server.state.sealed = True
    with pytest.raises(Unavailable, match="sealed"):
        opens.credential(STORED, "execution 1")
    server.state.sealed = False
    assert opens.credential(STORED, "execution 1") == Credential(PAIR.private_key)


def test_a_policy_that_forbids_to_read_is_told(opened: Any, server: Vault) -> None:
    reader = reading(server)
    server.state.policies["reader"] = 'path "secret/data/other/*" { capabilities = ["read"] }'
    with pytest.raises(UpstreamFailed):
        opened(reader=reader).credential(STORED, "execution 1")


def test_a_wrapped_secret_id_is_opened_once(opened: Any, server: Vault) -> None:
    reader = reading(server)
    reader |= {"secret_id": server.wrap(reader["secret_id"]), "is_secret_wrapped": True}
    assert opened(reader=reader).credential(STORED, "execution 1") == Credential(PAIR.private_key)
    assert [path for _, path in server.requests].count("sys/wrapping/unwrap") == 1


def test_a_reader_that_is_not_let_in_is_told_to_operators(opened: Any, server: Vault) -> None:
    opens = opened(reader={"role_id": "nobody's", "secret_id": "s"})
    eventually(lambda: opens.checks()[0].status == "degraded")
    assert "vault_config.key_reader" in opens.checks()[0].problems[0]
    with pytest.raises(Unavailable, match="doesn't let the service in"):
        opens.credential(STORED, "execution 1")


def test_a_token_that_ended_is_replaced(opened: Any, server: Vault) -> None:
    opens = opened(reader=reading(server))
    opens.credential(STORED, "execution 1")
    server.revoke_all()
    assert opens.credential(STORED, "execution 1") == Credential(PAIR.private_key)


@pytest.mark.parametrize("fault", ["500", "nonsense", "drop", "echo"])
def test_answers_that_are_none_are_told_in_words_of_our_own(opened: Any, server: Vault, fault: str) -> None:
    opens = opened(reader=reading(server))
    opens.credential(STORED, "execution 1")
    server.faults.append(Fault("GET", "secret/data/", fault, 9))
    with pytest.raises(ServiceError) as caught:
        opens.credential(STORED, "execution 1")
    assert PAIR.private_key.splitlines()[1] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_opens_accounts_where_nothing_may_read_or_sign(made: Made, server: Vault) -> None:
    service = server.role()
    assert accounts.make(made.settings(service), made(service), None) is None


# ---- certificates


def test_a_key_is_made_and_signed_for_each_connection(opened: Any, server: Vault) -> None:
    opens = opened(signs={})
    one, other = (opens.credential(SIGNED, "execution 0815") for _ in range(2))
    found = certificate(one)
    found.verify_cert_signature()
    assert found.valid_principals == [b"u1234"]
    assert found.key_id == b"hpcwaas execution 0815 as u1234"
    assert found.valid_before - found.valid_after < 600
    assert one.private_key != other.private_key
    assert found.public_key() != certificate(other).public_key()


def test_the_private_half_goes_nowhere(opened: Any, server: Vault, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credential = opened(signs={}).credential(SIGNED, "execution 1")
    assert credential.private_key.splitlines()[1] not in caplog.text
    del credential
    gc.collect()


@pytest.mark.parametrize("user", ["u1234,root", "root", "u 1", "", "u1\n"])
def test_a_login_name_that_would_be_another_s_is_not_signed(opened: Any, server: Vault, user: str) -> None:
    opens = opened(signs={})
    with pytest.raises(Unavailable, match="No certificate is made"):
        opens.credential(Placement("mare", user), "execution 1")
    assert server.count("POST", "ssh/sign/hpcwaas") == 0


@pytest.mark.parametrize("role", [{"allowed_users": "somebody"}, {"allow_user_key_ids": False}])
def test_an_authority_that_refuses_is_told(opened: Any, role: dict[str, Any]) -> None:
    with pytest.raises(UpstreamFailed, match="signs no certificate for the login name u1234: its role hpcwaas"):
        opened(signs=role).credential(SIGNED, "execution 1")


def test_who_may_have_keys_signed_can_t_read_any(opened: Any, server: Vault) -> None:
    with pytest.raises(Unavailable, match="key_reader is missing"):
        opened(signs={}).credential(STORED, "execution 1")


def test_stored_keys_and_certificates_stand_side_by_side(opened: Any, server: Vault) -> None:
    opens = opened(reader=reading(server), signs={})
    assert opens.credential(STORED, "execution 1") == Credential(PAIR.private_key)
    assert opens.credential(SIGNED, "execution 1").certificate


def test_a_vault_that_is_away_is_told_and_back_again(opened: Any, server: Vault) -> None:
    opens = opened(signs={})
    server.state.sealed = True
    with pytest.raises(Unavailable):
        opens.credential(SIGNED, "execution 1")
    server.state.sealed = False
    eventually(lambda: opens.credential(SIGNED, "execution 1"))
