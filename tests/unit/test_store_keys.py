from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hpcwaas.core.models import SSHKey, Upload
from hpcwaas.errors import Conflict, NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.secrets import SecretStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from hpcwaas.store.uploads import UploadStore

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, UTC)
KEY = SSHKey("key-1", "alice", "laptop", "rsa", 3072, "ssh-rsa AAAA laptop\n", "SHA256:x", {"site": "a"}, NOW)
UPLOAD = Upload("file-1", "alice", "a.txt", "text/plain", 5 * 2**40, "ab" * 32, NOW)


def test_ssh_keys(database: Database) -> None:
    keys = SSHKeyStore(database)
    later = replace(KEY, id="key-0", name=None, type="ed25519", bits=None, created_at=NOW + timedelta(seconds=1))
    foreign = replace(KEY, id="key-2", owner="bob")
    for key in (later, KEY, foreign):
        keys.add(key)
    assert keys.of("alice") == [KEY, later]
    assert keys.of("nobody") == []
    assert keys.find_key("key-1", "alice") == KEY
    keys.delete("key-1", "alice")
    assert keys.of("alice") == [later]
    assert keys.of("bob") == [foreign]


def test_names_of_ssh_keys_are_unique_for_each_owner(database: Database) -> None:
    keys = SSHKeyStore(database)
    keys.add(KEY)
    with pytest.raises(Conflict, match="name"):
        keys.add(replace(KEY, id="key-2"))
    for number in range(2):  # without a name any number may be
        keys.add(replace(KEY, id=f"nameless-{number}", name=None))
    keys.delete("key-1", "alice")
    keys.add(replace(KEY, id="key-3"))


def test_uploads(database: Database) -> None:
    uploads = UploadStore(database)
    uploads.add(UPLOAD)
    uploads.add(replace(UPLOAD, id="file-2", owner="bob"))
    assert uploads.find_upload("file-1", "alice") == UPLOAD
    assert uploads.ids() == {"file-1", "file-2"}
    with pytest.raises(Conflict):
        uploads.add(UPLOAD)
    uploads.delete("file-1", "alice")
    assert uploads.ids() == {"file-2"}


def test_what_belongs_to_somebody_else_is_as_unknown_as_nothing(database: Database) -> None:
    keys, uploads = SSHKeyStore(database), UploadStore(database)
    keys.add(KEY)
    uploads.add(UPLOAD)
    tasks: list[tuple[Callable[[str, str], object], str]] = [
        (keys.find_key, "key-1"),
        (keys.delete, "key-1"),
        (uploads.find_upload, "file-1"),
        (uploads.delete, "file-1"),
    ]
    for task, known in tasks:
        with pytest.raises(NotFound) as foreign:
            task(known, "bob")
        with pytest.raises(NotFound) as unknown:
            task("nothing", "bob")
        assert foreign.value.detail == unknown.value.detail
    assert keys.of("alice") == [KEY]
    assert uploads.ids() == {"file-1"}


def test_secrets(database: Database) -> None:
    secrets = SecretStore(database)
    secrets.add("a", b"\x00\xff")
    with pytest.raises(Conflict):
        secrets.add("a", b"other")
    assert secrets.get("a") == b"\x00\xff"
    secrets.delete("a")
    secrets.delete("a")
    assert secrets.get("a") is None
