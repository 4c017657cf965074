from __future__ import annotations

import contextlib
import multiprocessing
import re
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from hpcwaas.core.models import Upload
from hpcwaas.errors import BadRequest, ConfigurationError, Unavailable
from hpcwaas.store import database as database_module
from hpcwaas.store.database import Database
from hpcwaas.store.models import Base, SecretRow, UTCDateTime
from hpcwaas.store.secrets import SecretStore
from hpcwaas.store.uploads import UploadStore


def upload(upload_id: str = "file-1", name: str = "a.txt") -> Upload:
    return Upload(upload_id, "alice", name, "text/plain", 1, "00", datetime.now(UTC))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    yield database
    database.close()


def test_upgrade_from_nothing_makes_what_the_models_say(database: Database) -> None:
    with database._engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_knows_whether_it_is_current(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    assert database.current() is None
    assert not database.is_current()
    assert database.check().status == "failed"
    assert "hpcwaas-api db upgrade" in database.check().problems[0]
    database.upgrade()
    database.upgrade()
    assert database.is_current()
    assert database.check().status == "ok"
    assert database.check().name == "store"
    database.close()


def test_a_schema_of_a_later_version_is_refused(database: Database, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert not database.is_current()
    with pytest.raises(ConfigurationError, match=r"store\.url"):
        database.upgrade()


def _upgrade(url: str, barrier: multiprocessing.synchronize.Barrier, results: multiprocessing.Queue[bool]) -> None:
    barrier.wait()
    database = Database(url)
    database.upgrade()
    results.put(database.is_current())
    database.close()


def test_processes_that_start_at_once_upgrade_one_after_another(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(4):
        barrier, results = context.Barrier(6), context.Queue()
        arguments = (f"sqlite:///{tmp_path}/{attempt}.db", barrier, results)
        processes = [context.Process(target=_upgrade, args=arguments) for _ in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=30)
        assert [process.exitcode for process in processes] == [0] * 6
        assert all(results.get(timeout=5) for _ in processes)


def test_sqlite_is_set_up_for_several_processes(database: Database, path: Path) -> None:
    with database.read() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000


def test_nobody_else_can_read_the_files(database: Database, path: Path) -> None:
    UploadStore(database).add(upload())
    files = sorted(path.parent.glob("store.db*"))
    assert {file.name for file in files} == {"store.db", "store.db-shm", "store.db-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "sqlite://", "sqlite:///:memory:", "nosuch://host/db", "sqlite:////nowhere/at/all/x.db"],
)
def test_an_unusable_url_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.url"):
        Database(url)


def test_the_password_of_a_url_is_not_told() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database("nosuch://user:s3cret@host/db")
    assert "s3cret" not in str(caught.value)


def test_locked_for_too_long_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_BUSY_SECONDS", 0.05)
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


def test_a_full_disk_is_unavailable(database: Database) -> None:
    with database.read() as session:  # the one connection of the pool keeps this
        session.connection().exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(Unavailable):
        UploadStore(database).add(upload(name="x" * 100_000))
    assert UploadStore(database).ids() == frozenset()


def test_a_file_that_is_no_database_is_named_as_that(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(ConfigurationError, match="isn't an SQLite database"):
        database.upgrade()
    check = database.check()
    assert (check.status, check.problems) == ("failed", ("the file isn't an SQLite database",))
    database.close()


def test_tables_of_another_program_are_left_alone(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE executions (title TEXT)")
    database = Database(f"sqlite:///{path}")
    for attempt in (database.check_upgradable, database.upgrade):
        with pytest.raises(ConfigurationError, match="another program: it has a table executions"):
            attempt()
    assert database.current() is None
    database.close()


def test_errors_do_not_show_what_users_sent(database: Database) -> None:
    with database.read() as session:
        session.connection().exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(Unavailable) as caught:
        UploadStore(database).add(upload(name="s3cret" * 10_000))
    assert "s3cret" not in str(caught.value.__cause__)


def test_half_a_surrogate_pair_is_a_bad_request(database: Database) -> None:
    with pytest.raises(BadRequest):
        UploadStore(database).get("\ud800", "alice")


def test_a_write_that_fails_half_way_leaves_nothing(database: Database) -> None:
    def crash() -> None:
        with database.write() as session:
            session.add(SecretRow(key_id="a", ciphertext=b"x", created_at=datetime.now(UTC)))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert SecretStore(database).get("a") is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 1, 2, 1, tzinfo=UTC)),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime.min.replace(tzinfo=UTC)),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-9))), datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_moments_are_kept_in_utc(database: Database, given: datetime, kept: datetime) -> None:
    uploads = UploadStore(database)
    uploads.add(Upload("file-1", "alice", "a", "text/plain", 1, "00", given))
    stored = uploads.get("file-1", "alice").created_at
    assert stored == kept
    assert stored.tzinfo is UTC


def test_naive_moments_are_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="naive"):
        UTCDateTime().process_bind_param(datetime(2026, 1, 1), database._engine.dialect)  # noqa: DTZ001


def test_every_constraint_of_the_models_has_a_name() -> None:
    for table in Base.metadata.tables.values():
        for constraint in table.constraints:
            assert re.fullmatch(r"(pk|fk|uq)_\w+", str(constraint.name))
