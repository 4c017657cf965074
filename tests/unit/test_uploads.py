from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.core.models import Upload
from hpcwaas.core.people import Principal
from hpcwaas.core.uploads import Uploads
from hpcwaas.errors import BadRequest, NotFound, TooLarge, Unavailable
from hpcwaas.store.database import Database
from hpcwaas.store.uploads import UploadStore

LIMIT = 1_000_000
ALICE = Principal("alice", "alice")


class Zeros(io.RawIOBase):
    """As many zero bytes as asked for, made while they are read."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.reads = 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        taken = min(self.left, size)
        self.left -= taken
        return bytes(taken)


class Broken(io.BytesIO):
    """Loses its client after the first chunk."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise ConnectionResetError("gone")
        return super().read(size)


@pytest.fixture
def records(database: Database) -> UploadStore:
    return UploadStore(database)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data" / "files"


@pytest.fixture
def uploads(records: UploadStore, directory: Path) -> Uploads:
    return Uploads(records, directory, LIMIT)


def age(path: Path, seconds: float) -> None:
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, LIMIT])
@pytest.mark.parametrize("declared", [True, False])
def test_a_file_is_stored_as_it_came(uploads: Uploads, directory: Path, size: int, declared: bool) -> None:
    content = os.urandom(size)
    saved = uploads.save("alice", "données 1.txt", "text/plain", io.BytesIO(content), size if declared else None)
    assert (saved.owner, saved.name, saved.media_type) == ("alice", "données 1.txt", "text/plain")
    assert (saved.size, saved.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert uploads.get(ALICE, saved.id) == saved
    stored = uploads.lookup("alice")(saved.id)
    assert stored is not None
    assert stored.upload == saved
    assert stored.path.read_bytes() == content
    assert stat.S_IMODE(stored.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert list(directory.iterdir()) == [stored.path]


def test_ids_are_unguessable(uploads: Uploads) -> None:
    ids = {uploads.save("alice", "a", "text/plain", io.BytesIO(), None).id for _ in range(5)}
    assert len(ids) == 5
    assert all(len(upload_id) == len("file-") + 32 for upload_id in ids)


def test_an_upload_of_somebody_else_is_as_unknown_as_none(uploads: Uploads) -> None:
    saved = uploads.save("alice", "a", "text/plain", io.BytesIO(b"x"), None)
    for action in (uploads.get, uploads.delete):
        with pytest.raises(NotFound) as foreign:
            action(Principal("bob", "bob"), saved.id)
        with pytest.raises(NotFound) as unknown:
            action(Principal("bob", "bob"), "file-0")
        assert foreign.value.detail == unknown.value.detail
    assert uploads.lookup("bob")(saved.id) is None
    assert uploads.lookup("alice")("../store.db") is None
    assert uploads.lookup("alice")(saved.id) is not None


def test_listing_newest_first_in_parts(uploads: Uploads) -> None:
    saved = [uploads.save("alice", f"{number}", "text/plain", io.BytesIO(), None) for number in range(5)]
    uploads.save("bob", "x", "text/plain", io.BytesIO(), None)
    seen, cursor = uploads.page(ALICE, 2, None)
    while cursor is not None:
        assert len(seen) % 2 == 0
        more, cursor = uploads.page(ALICE, 2, cursor)
        seen = [*seen, *more]
    assert seen == saved[::-1]
    with pytest.raises(BadRequest, match="cursor"):
        uploads.page(ALICE, 2, "x")


def test_delete(uploads: Uploads, directory: Path) -> None:
    saved = uploads.save("alice", "a", "text/plain", io.BytesIO(b"x"), None)
    uploads.delete(ALICE, saved.id)
    assert list(directory.iterdir()) == []
    with pytest.raises(NotFound):
        uploads.delete(ALICE, saved.id)


def test_declared_too_large_is_refused_unread(uploads: Uploads, directory: Path) -> None:
    stream = Zeros(LIMIT + 1)
    with pytest.raises(TooLarge, match=str(LIMIT)):
        uploads.save("alice", "a", "text/plain", stream, LIMIT + 1)  # type: ignore[arg-type]
    assert stream.reads == 0
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("declared", [None, 10])
def test_too_large_is_refused_as_soon_as_it_is(uploads: Uploads, directory: Path, declared: int | None) -> None:
    stream = Zeros(100 * LIMIT)
    with pytest.raises(TooLarge):
        uploads.save("alice", "a", "text/plain", stream, declared)  # type: ignore[arg-type]
    assert stream.left > 98 * LIMIT
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("stream", [io.BytesIO(b"half"), Broken(b"half")])
def test_a_client_that_goes_away_leaves_nothing(
    uploads: Uploads, records: UploadStore, directory: Path, stream: io.BytesIO
) -> None:
    with pytest.raises(BadRequest, match="broke off"):
        uploads.save("alice", "a", "text/plain", stream, 8)
    assert list(directory.iterdir()) == []
    assert records.ids() == frozenset()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "a/b", "/etc/passwd", "a\\b", "a\0", "a\n", "\x7f", "\x85", "\ud800", "é" * 128]
)
def test_unusable_names(uploads: Uploads, directory: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="`name`"):
        uploads.save("alice", name, "text/plain", io.BytesIO(b"x"), None)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("name", ["...", ".hidden", " ", "-rf", "é" * 127 + "x", "a:b", "数据.csv"])
def test_usable_names(uploads: Uploads, name: str) -> None:
    assert uploads.save("alice", name, "text/plain", io.BytesIO(b"x"), None).name == name


@pytest.mark.parametrize("media_type", ["", "text/plain\r\nX: y", "text/é", "a" * 256])
def test_unusable_media_types(uploads: Uploads, media_type: str) -> None:
    with pytest.raises(BadRequest, match="media type"):
        uploads.save("alice", "a", media_type, io.BytesIO(b"x"), None)


def test_a_large_file_is_never_held_in_memory(records: UploadStore, directory: Path) -> None:
    uploads = Uploads(records, directory, 2**30)
    tracemalloc.start()
    try:
        saved = uploads.save("alice", "a", "text/plain", Zeros(64 * 2**20), None)  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert saved.size == 64 * 2**20
    assert peak < 4 * 2**20


class TestFullDisk:
    @pytest.fixture
    def no_space(self, directory: Path, uploads: Uploads) -> Iterator[None]:
        """The kernel refuses to let any file of this process grow beyond 64 KiB."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    @pytest.mark.usefixtures("no_space")
    def test_a_write_that_fails_is_unavailable(self, uploads: Uploads, directory: Path) -> None:
        with pytest.raises(Unavailable):
            uploads.save("alice", "a", "text/plain", io.BytesIO(bytes(500_000)), None)
        assert list(directory.iterdir()) == []

    def test_no_space_left_is_said(self, uploads: Uploads, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="no space left"):
            uploads.save("alice", "a", "text/plain", io.BytesIO(b"x"), None)
        assert list(directory.iterdir()) == []


KILLED = """
import io, os, signal, sys
from pathlib import Path
from hpcwaas.core.models import Upload; from hpcwaas.core.people import Principal
from hpcwaas.core.uploads import Uploads
from hpcwaas.store.database import Database
from hpcwaas.store.uploads import UploadStore

class Stream(io.BytesIO):
    def read(self, size=-1):
        chunk = super().read(size)
        if sys.argv[2] == "while receiving" and not chunk:
            os.kill(os.getpid(), signal.SIGKILL)
        return chunk

class Records(UploadStore):
    def add(self, upload, at_most=None):
        if sys.argv[2] == "before the record":
            os.kill(os.getpid(), signal.SIGKILL)
        super().add(upload, at_most)
        os.kill(os.getpid(), signal.SIGKILL)

root = Path(sys.argv[1])
records = Records(Database(sys.argv[3]))
Uploads(records, root / "data" / "files", 100).save("alice", "a", "text/plain", Stream(b"content"), 7)
"""


@pytest.mark.parametrize(
    ("instant", "recorded"), [("while receiving", 0), ("before the record", 0), ("after the record", 1)]
)
def test_a_crash_leaves_at_most_a_file_that_is_swept(
    uploads: Uploads, records: UploadStore, directory: Path, tmp_path: Path, store_url: str, instant: str, recorded: int
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, instant, store_url], timeout=60, check=False)
    assert killed.returncode == -9
    assert len(records.ids()) == recorded
    (left,) = directory.iterdir()
    assert uploads.remove_orphans() == 0  # young: it may be an upload under way
    age(left, 3700)
    assert uploads.remove_orphans() == 1 - recorded
    assert {file.name for file in directory.iterdir()} == records.ids()
    for upload_id in records.ids():
        stored = uploads.lookup("alice")(upload_id)
        assert stored is not None
        assert stored.path.read_bytes() == b"content"


def test_a_crash_between_the_halves_of_a_deletion(uploads: Uploads, records: UploadStore, directory: Path) -> None:
    saved = uploads.save("alice", "a", "text/plain", io.BytesIO(b"x"), None)
    kept = uploads.save("alice", "b", "text/plain", io.BytesIO(b"x"), None)
    records.delete(saved.id, "alice")
    for file in directory.iterdir():
        age(file, 3700)
    assert uploads.remove_orphans() == 1
    assert [file.name for file in directory.iterdir()] == [kept.id]


def test_what_crashes_left_is_not_looked_for_in_every_round(uploads: Uploads, directory: Path) -> None:
    for left in ([], ["second"]):
        name = "second" if left else "first"
        directory.joinpath(name).write_bytes(b"x")
        age(directory / name, 3700)
        uploads.sweep()
        assert [file.name for file in directory.iterdir()] == left


def test_content_stays_when_nobody_knows_whether_the_record_was_stored(
    uploads: Uploads, records: UploadStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = records.add

    def stored_but_the_answer_is_lost(upload: Upload, at_most: int | None) -> None:
        add(upload, at_most)
        raise Unavailable("the connection broke")

    monkeypatch.setattr(records, "add", stored_but_the_answer_is_lost)
    with pytest.raises(Unavailable):
        uploads.save("alice", "a", "text/plain", io.BytesIO(b"x"), None)
    (upload_id,) = records.ids()
    assert (directory / upload_id).read_bytes() == b"x"
