"""Looking into archives: in a process of its own, with a share of such processes for each user, and only once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hpcwaas.core.models import StoredUpload, Upload
from hpcwaas.engines.cwl.confinement import landlock
from hpcwaas.engines.cwl.inputs import archive_checks
from hpcwaas.engines.cwl.inputs.archive_checks import ArchiveChecks
from hpcwaas.engines.cwl.inputs.archives import ArchiveError
from hpcwaas.errors import TooManyRequests, Unavailable
from tests.waiting import until

MIB = 2**20
SLOW = "import os, time\nopen({begun!r}, 'w').close()\nwhile not os.path.exists({gate!r}): time.sleep(0.02)"
BUSY = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass"
BROKEN = "raise SystemExit(3)"
CURIOUS = """
from hpcwaas.engines.cwl.inputs.archive_checker import confine
confine()
for path in ({secret!r}, "/proc/self/environ", "/etc/passwd"):
    try:
        open(path)
    except PermissionError:
        continue
    raise SystemExit(f"opened {{path}}")
try:
    open({made!r}, "w")
except PermissionError:
    "".encode("cp437")
    raise SystemExit(0)
raise SystemExit("wrote a file")
"""


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., StoredUpload]:
    def make(key: str = "file-1", owner: str = "alice", content: bytes = bytes(1024)) -> StoredUpload:
        path = tmp_path / key
        path.write_bytes(content)
        return StoredUpload(Upload(key, owner, "a.tar", "x/y", len(content), "0" * 64, datetime.now(UTC)), path)

    return make


def test_an_upload_is_looked_into_once(upload: Callable[..., StoredUpload], monkeypatch: pytest.MonkeyPatch) -> None:
    all_looks = ArchiveChecks(MIB)
    good, bad = upload(), upload("file-2", content=b"PK\3\4 no zip")
    for _ in range(2):
        with all_looks.session() as look:
            assert look(good) == "tar"
            with pytest.raises(ArchiveError, match="neither zip nor tar"):
                look(bad)
        monkeypatch.setattr(archive_checks, "_START", BROKEN)


def test_one_that_is_the_end_of_its_reader_is_refused_and_the_next_one_is_looked_into(
    upload: Callable[..., StoredUpload], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = archive_checks._START
    monkeypatch.setattr(archive_checks, "_START", BUSY)
    with ArchiveChecks(MIB).session() as look:
        with pytest.raises(ArchiveError, match="takes too long or too much memory"):
            look(upload())
        monkeypatch.setattr(archive_checks, "_START", right)
        assert look(upload("file-2")) == "tar"


def test_a_reader_that_does_not_work_says_nothing_about_an_archive(
    upload: Callable[..., StoredUpload], monkeypatch: pytest.MonkeyPatch
) -> None:
    all_looks, right = ArchiveChecks(MIB), archive_checks._START
    monkeypatch.setattr(archive_checks, "_START", BROKEN)
    with all_looks.session() as look, pytest.raises(Unavailable):
        look(upload())
    monkeypatch.setattr(archive_checks, "_START", right)
    with all_looks.session() as look:
        assert look(upload()) == "tar"


def test_files_that_are_no_archives_start_no_process(
    upload: Callable[..., StoredUpload], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_checks, "_START", BROKEN)
    with ArchiveChecks(MIB).session() as look, pytest.raises(ArchiveError, match="neither zip nor tar"):
        look(upload(content=b"text\n" * 1000))


def test_a_user_has_a_share_and_waits_for_it(
    upload: Callable[..., StoredUpload], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_looks = ArchiveChecks(MIB)
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    monkeypatch.setattr(archive_checks, "_START", SLOW.format(begun=str(begun), gate=str(gate)))
    refusals: list[type[Exception]] = []

    def ask(number: int) -> None:
        with all_looks.session() as look:
            try:
                look(upload(f"file-{number}"))
            except (TooManyRequests, Unavailable) as error:
                refusals.append(type(error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: begun.exists() and len(refusals) == 2)
    monkeypatch.setattr(archive_checks, "_START", "pass")
    with all_looks.session() as look, pytest.raises(Unavailable):  # it says nothing, and waits for none of the others
        look(upload("other", owner="bob"))
    gate.touch()
    for thread in threads:
        thread.join()
    assert refusals.count(TooManyRequests) == 2


@pytest.mark.skipif(not landlock.version(), reason="the kernel has no Landlock: limits alone hold")
def test_whoever_takes_over_the_reader_opens_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "vault.key"
    secret.write_text("secret")
    program = CURIOUS.format(secret=str(secret), made=str(tmp_path / "made"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
