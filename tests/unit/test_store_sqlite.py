"""What is particular to SQLite, whatever database the other tests run on."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import Upload
from hpcwaas.errors import ConfigurationError, Unavailable
from hpcwaas.store import sqlite
from hpcwaas.store.database import Database
from hpcwaas.store.uploads import UploadStore
from tests.waiting import until


def upload(name: str = "a.txt") -> Upload:
    return Upload("file-1", "alice", name, "text/plain", 1, "00", datetime.now(UTC))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    yield database
    database.close()


def test_it_is_set_up_for_several_processes(database: Database) -> None:
    with database.read() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000


def test_only_what_must_last_waits_for_the_disk(
    database: Database, lasting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LASTING", lasting)

    def synchronous(lasts: bool) -> int:
        with database.write(lasting=lasts) as session:
            return int(session.connection().exec_driver_sql("PRAGMA synchronous").scalar_one())

    assert [synchronous(lasts) for lasts in (True, False, True)] == [2, 1, 2]


def test_nobody_else_can_read_the_files(database: Database, path: Path) -> None:
    UploadStore(database).add(upload())
    files = sorted(path.parent.glob("store.db*"))
    assert {file.name for file in files} == {"store.db", "store.db-shm", "store.db-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:////nowhere/at/all/x.db"])
def test_what_is_no_file_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.url"):
        Database(url)


def test_locked_for_too_long_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.05)
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(Unavailable) as caught:
            UploadStore(database).add(upload())
        assert caught.value.retry_after > 0
        assert UploadStore(database).ids() == frozenset()  # reading goes on
    finally:
        other.close()
    UploadStore(database).add(upload())
    database.close()


def test_a_full_disk_is_unavailable_and_tells_nothing_of_what_was_sent(database: Database) -> None:
    with database.read() as session:  # the one connection of the pool keeps this
        session.connection().exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(Unavailable) as caught:
        UploadStore(database).add(upload(name="s3cret" * 20_000))
    assert "s3cret" not in str(caught.value.__cause__)
    assert UploadStore(database).ids() == frozenset()


def test_a_file_that_is_no_database_is_named_as_that(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(ConfigurationError, match="isn't an SQLite database"):
        database.upgrade()
    check = database.check()
    assert (check.status, check.problems) == ("failed", ("the file isn't an SQLite database",))
    database.close()


def test_who_waits_in_vain_for_the_turn_to_write_is_told_and_the_next_one_writes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.05)
    with database.write(), ThreadPoolExecutor(1) as pool, pytest.raises(Unavailable):
        pool.submit(UploadStore(database).add, upload(), None).result()
    UploadStore(database).add(upload(), None)


def test_who_waits_for_another_process_looks_often_so_that_a_short_moment_without_a_writer_is_enough(
    database: Database, path: Path
) -> None:
    statements: list[str] = []
    with database.read() as session:  # the one connection of the pool keeps this
        driver: Any = session.connection().connection.driver_connection
        driver.set_trace_callback(statements.append)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(UploadStore(database).add, upload(), None)
        until(lambda: statements.count("BEGIN IMMEDIATE") > 50)
        assert not waiting.done()
        other.execute("COMMIT")
        waiting.result(60)
    assert UploadStore(database).ids() == {"file-1"}
