from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import update

from hpcwaas.core.models import SSHKey
from hpcwaas.core.ports.vault import Vault
from hpcwaas.errors import ConfigurationError, Conflict, NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.models import SecretRow
from hpcwaas.store.secrets import SecretStore
from hpcwaas.vault.embedded import EmbeddedVault
from hpcwaas.vault.keyring import Keyring, KeySource, WrongKey, add_key, load_keys
from hpcwaas.vault.settings import VaultSettings
from tests.at_once import at_once

KEY, OTHER_KEY = bytes(range(32)), bytes(32)


def load_key(setting: str | None, path: Path, *previous: str) -> list[str]:
    """Ids of the keys."""
    return list(load_keys(VaultSettings.model_validate({"key": setting, "previous_keys": previous}), path).ids)


def ssh_key(key_id: str, public: str = "b", metadata: Mapping[str, str] = MappingProxyType({})) -> SSHKey:
    return SSHKey(key_id, "alice", None, "ed25519", None, public, "SHA256:x", metadata, datetime.now(UTC))


@pytest.fixture
def secrets(database: Database) -> SecretStore:
    return SecretStore(database)


@pytest.fixture
def vault(secrets: SecretStore) -> EmbeddedVault:
    return EmbeddedVault(secrets, lambda: Keyring([KEY]))


def opened(vault: EmbeddedVault, secrets: SecretStore, key_id: str) -> dict[str, str]:
    sealed = secrets.get(key_id)
    assert sealed is not None
    content: dict[str, str] = json.loads(vault._keys().open(key_id, sealed))
    return content


def test_it_is_a_vault(vault: EmbeddedVault) -> None:
    as_protocol: Vault = vault
    assert as_protocol.name == "embedded"
    as_protocol.close()


def test_a_pair_rests_sealed(vault: EmbeddedVault, secrets: SecretStore, tmp_path: Path) -> None:
    metadata = {"site": "somewhere", "privateKey": "mine", "publicKey": "mine too"}
    vault.write(ssh_key("key-1", "the public half", metadata), "the private half")
    assert opened(vault, secrets, "key-1") == {
        "privateKey": "the private half",
        "publicKey": "the public half",
        "site": "somewhere",
    }
    on_disk = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
    for part in (b"private half", b"public half", b"somewhere"):
        assert part not in on_disk


def test_equal_pairs_are_sealed_differently(vault: EmbeddedVault, secrets: SecretStore) -> None:
    vault.write(ssh_key("key-1"), "a")
    vault.write(ssh_key("key-2"), "a")
    assert secrets.get("key-1") != secrets.get("key-2")


def test_an_id_is_used_once(vault: EmbeddedVault, secrets: SecretStore) -> None:
    vault.write(ssh_key("key-1"), "first")
    with pytest.raises(Conflict):
        vault.write(ssh_key("key-1"), "second")
    assert opened(vault, secrets, "key-1")["privateKey"] == "first"


def test_replace(vault: EmbeddedVault, secrets: SecretStore) -> None:
    with pytest.raises(NotFound):
        vault.replace(ssh_key("key-1"), "new")
    vault.write(ssh_key("key-1"), "first")
    vault.replace(ssh_key("key-1", "c"), "second")
    assert opened(vault, secrets, "key-1") == {"privateKey": "second", "publicKey": "c"}


def test_delete_destroys_and_may_be_repeated(vault: EmbeddedVault, secrets: SecretStore) -> None:
    vault.write(ssh_key("key-1"), "a")
    vault.delete("key-1")
    vault.delete("key-1")
    assert secrets.get("key-1") is None


def test_records_cannot_be_exchanged_or_changed(vault: EmbeddedVault, secrets: SecretStore) -> None:
    vault.write(ssh_key("key-1"), "a")
    sealed = secrets.get("key-1")
    assert sealed is not None
    keys = Keyring([KEY])
    assert keys.open("key-1", sealed)
    for name, damaged in (
        ("key-2", sealed),
        ("key-1", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        ("key-1", sealed[:5] + bytes([sealed[5] ^ 1]) + sealed[6:]),
        ("key-1", sealed[12:]),
        ("key-1", sealed[:20]),
        ("key-1", b""),
    ):
        with pytest.raises(WrongKey):
            keys.open(name, damaged)


def test_the_same_key_opens_it_again(vault: EmbeddedVault, secrets: SecretStore) -> None:
    vault.write(ssh_key("key-1"), "a")
    assert opened(EmbeddedVault(secrets, lambda: Keyring([KEY])), secrets, "key-1")["privateKey"] == "a"


def test_another_key_is_found_out_at_the_start(vault: EmbeddedVault, secrets: SecretStore) -> None:
    with pytest.raises(ConfigurationError, match=r"^vault\.key: "):
        EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY]))


def test_check(vault: EmbeddedVault, database: Database) -> None:
    check = vault.check()
    assert (check.name, check.status, tuple(check.problems)) == ("vault", "ok", ())
    with database.write() as session:
        session.execute(update(SecretRow).values(ciphertext=b"\0"))
    check = vault.check()
    assert check.status == "failed"
    assert "vault.key" in check.problems[0]
    with database.write() as session:
        session.connection().exec_driver_sql("DROP TABLE secrets")
    assert vault.check().status == "failed"


def stored_before(secrets: SecretStore, *names: str, key: bytes = KEY) -> None:
    """Records as versions before this one stored them: without the id of the key."""
    for name in ("*probe*", *names):
        nonce = os.urandom(12)
        secrets.add(name, nonce + AESGCM(key).encrypt(nonce, json.dumps({"privateKey": name}).encode(), name.encode()))


class TestRekey:
    def test_a_record_names_its_key_and_tells_nothing_of_it(self, vault: EmbeddedVault, secrets: SecretStore) -> None:
        vault.write(ssh_key("key-1"), "a")
        sealed = secrets.get("key-1") or b""
        (name,) = Keyring([KEY]).ids
        assert sealed[4:12].hex() == name
        assert name not in KEY.hex()

    def test_older_records_and_older_keys_open(self, secrets: SecretStore) -> None:
        stored_before(secrets, "key-1")
        vault = EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY, KEY]))
        vault.write(ssh_key("key-2"), "new")
        assert opened(vault, secrets, "key-1")["privateKey"] == "key-1"
        # What a process writes that wasn't restarted yet.
        EmbeddedVault(secrets, lambda: Keyring([KEY])).write(ssh_key("key-3"), "late")
        assert opened(vault, secrets, "key-3")["privateKey"] == "late"
        assert vault.check().status == "ok"

    def test_all_is_sealed_by_the_first_key(self, secrets: SecretStore) -> None:
        names = [f"key-{number:03}" for number in range(250)]
        stored_before(secrets, *names)
        both = EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY, KEY]))
        done = both.reseal()
        assert (done.anew, done.already, done.unreadable) == (250, 0, ())
        done = both.reseal()
        assert (done.anew, done.already) == (0, 250)
        alone = EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY]))
        assert [opened(alone, secrets, name)["privateKey"] for name in names] == names
        with pytest.raises(ConfigurationError):
            EmbeddedVault(secrets, lambda: Keyring([KEY]))

    def test_it_goes_on_where_it_was_stopped(self, secrets: SecretStore, monkeypatch: pytest.MonkeyPatch) -> None:
        names = ["a", "b", "c", "d"]
        stored_before(secrets, *names)
        real = secrets.exchange

        def killed(key_id: str, old: bytes, new: bytes) -> bool:
            if key_id == "c":
                raise KeyboardInterrupt
            return real(key_id, old, new)

        with monkeypatch.context() as patch:
            patch.setattr(secrets, "exchange", killed)
            with pytest.raises(KeyboardInterrupt):
                EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY, KEY])).reseal()
        # Half is done: the older key can't be taken away unnoticed.
        with pytest.raises(ConfigurationError):
            EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY]))
        done = EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY, KEY])).reseal()
        assert (done.anew, done.already) == (2, 2)
        EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY]))

    def test_what_changes_meanwhile_stays(self, secrets: SecretStore, monkeypatch: pytest.MonkeyPatch) -> None:
        stored_before(secrets, "deleted", "rotated")
        keys = Keyring([OTHER_KEY, KEY])
        vault, real = EmbeddedVault(secrets, lambda: keys), secrets.exchange

        def late(key_id: str, old: bytes, new: bytes) -> bool:
            monkeypatch.setattr(secrets, "exchange", real)
            vault.delete("deleted")
            EmbeddedVault(secrets, lambda: Keyring([KEY])).replace(ssh_key("rotated"), "newer")
            return real(key_id, old, new)

        monkeypatch.setattr(secrets, "exchange", late)
        done = vault.reseal()
        assert (done.anew, done.already) == (1, 0)
        assert secrets.get("deleted") is None
        assert opened(EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY])), secrets, "rotated")["privateKey"] == "newer"

    def test_what_no_key_opens_is_named_and_stays(self, secrets: SecretStore) -> None:
        stored_before(secrets, "a")
        third = bytes([3]) * 32
        secrets.add("foreign", Keyring([third]).seal("foreign", b"{}"))
        before = secrets.get("foreign")
        done = EmbeddedVault(secrets, lambda: Keyring([OTHER_KEY, KEY])).reseal()
        assert (done.anew, done.unreadable) == (1, ("foreign",))
        assert secrets.get("foreign") == before

    def test_a_new_key_goes_before_the_others_in_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "vault.key"
        first = load_key(None, path)
        added = list(add_key(path).ids)
        assert added[1:] == first
        assert load_key(None, path) == added
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [file.name for file in tmp_path.iterdir()] == ["vault.key"]

    def test_a_new_key_counts_at_once_and_a_lost_file_is_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "vault.key"
        source = KeySource(VaultSettings(), path)
        assert len(source().ids) == 1
        ids = add_key(path).ids
        assert source().ids == ids
        for spoil in (lambda: path.write_text("broken"), path.unlink):
            caplog.clear()
            spoil()
            assert source().ids == source().ids == ids
            assert len(caplog.records) == 1
            assert "goes on with the keys that it has" in caplog.text
        assert not path.exists()

    def test_previous_keys_of_the_settings(self, tmp_path: Path) -> None:
        texts = [base64.b64encode(key).decode() for key in (OTHER_KEY, KEY)]
        assert load_key(texts[0], tmp_path / "vault.key", texts[1]) == list(Keyring([OTHER_KEY, KEY]).ids)
        with pytest.raises(ConfigurationError, match=r"^vault\.previous_keys: expected 32 bytes"):
            load_key(texts[0], tmp_path / "vault.key", "c2hvcnQ=")


class TestLoadKey:
    def test_from_the_setting(self, tmp_path: Path) -> None:
        path = tmp_path / "vault.key"
        assert load_key(base64.b64encode(KEY).decode() + "\n", path) == Keyring([KEY]).ids
        assert not path.exists()

    def test_made_once_and_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "vault.key"
        key = load_key(None, path)
        assert len(key) == 1
        assert load_key(None, path) == key
        assert load_key(None, tmp_path / "another.key") != key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert sorted(file.name for file in tmp_path.iterdir()) == ["another.key", "vault.key"]  # no drafts left

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
    def test_a_file_open_to_others_is_refused(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "vault.key"
        load_key(None, path)
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match=r"^vault\.key: .*chmod 600"):
            load_key(None, path)

    @pytest.mark.parametrize(
        "text", ["", "garbage", base64.b64encode(KEY[:31]).decode(), base64.b64encode(KEY * 2).decode(), "é" * 44]
    )
    def test_an_unusable_key_is_refused_and_not_told(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "vault.key"
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        for setting in (text, None):
            with pytest.raises(ConfigurationError, match=r"^vault\.key: ") as caught:
                load_key(setting, path)
            assert not text or text not in str(caught.value)

    def test_a_missing_directory_is_a_configuration_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="No such file"):
            load_key(None, tmp_path / "nowhere" / "vault.key")

    def test_processes_that_race_get_the_same(self, tmp_path: Path) -> None:
        found = at_once(first_keys, [[[str(tmp_path / f"{attempt}.key") for attempt in range(5)]]] * 6)
        assert all(len(set(keys)) == 1 for keys in zip(*found, strict=True))


def first_keys(paths: list[str]) -> list[str]:
    return [load_key(None, Path(path))[0] for path in paths]


def refuses(url: str, key: str) -> bool:
    database = Database(url)
    try:
        EmbeddedVault(SecretStore(database), lambda: Keyring([base64.b64decode(key)]))
        return False
    except ConfigurationError:
        return True
    finally:
        database.close()


def test_of_processes_that_first_start_with_different_keys_one_key_wins(database: Database, store_url: str) -> None:
    keys = [base64.b64encode(key).decode() for key in (KEY, OTHER_KEY, KEY, OTHER_KEY)]
    assert sorted(at_once(refuses, [(store_url, key) for key in keys])) == [False, False, True, True]
