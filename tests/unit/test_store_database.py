"""The database as such, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, make_url, text

from hpcwaas.core.models import ExecutionFilter, Status, Upload
from hpcwaas.core.people import Principal
from hpcwaas.core.site_models import LOCAL, Placement
from hpcwaas.errors import BadRequest, ConfigurationError
from hpcwaas.store.columns import UTCDateTime
from hpcwaas.store.database import Database, _alembic
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.models import Base, ExecutionSourceRow, SecretRow, ShareRow
from hpcwaas.store.secrets import SecretStore
from hpcwaas.store.uploads import UploadStore
from tests import databases


def execute(url: str, *statements: str) -> None:
    """Runs statements behind the service's back."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_upgrade_from_nothing_makes_what_the_models_say(database: Database) -> None:
    with database._engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_knows_whether_it_is_current(store_url: str) -> None:
    database = Database(store_url)
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


def test_a_schema_of_a_later_version_is_refused(database: Database, store_url: str) -> None:
    execute(store_url, "UPDATE alembic_version SET version_num = '9999'")
    assert not database.is_current()
    with pytest.raises(ConfigurationError, match=r"store\.url"):
        database.upgrade()


def test_executions_of_the_embedded_engine_ran_on_this_machine_before_there_were_sites(store_url: str) -> None:
    database = Database(store_url)
    config = _alembic()
    with database._writing.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
    insert = (
        "INSERT INTO executions (id, owner, workflow_id, workflow_name, engine, inputs, created_at, status, steps) "
        "VALUES ('ENGINE', 'alice', 'w', 'w', 'ENGINE', '{}', '2026-11-23 09:25:41', 'SUCCEEDED', '[]')"
    )
    execute(store_url, *(insert.replace("ENGINE", engine) for engine in ("cwl", "alien4cloud")))
    database.upgrade()
    found = {engine: ExecutionStore(database).find_execution(engine, None) for engine in ("cwl", "alien4cloud")}
    assert {engine: it.placement for engine, it in found.items()} == {"cwl": Placement(LOCAL), "alien4cloud": None}
    assert found["cwl"].state.directory is None
    database.close()


def test_what_was_shared_and_taken_before_is_found_by_lists(store_url: str) -> None:
    database = Database(store_url)
    databases.upgrade_to(database, "0011")
    insert = (
        "INSERT INTO executions (id, owner, workflow_id, workflow_name, engine, inputs, created_at, status, steps) "
        "VALUES ('NAME', 'alice', 'w', 'w', 'cwl', '{}', '2026-11-23 09:25:41.000000', 'SUCCEEDED', '[]')"
    )
    execute(
        store_url,
        *(insert.replace("NAME", name) for name in ("source", "taker")),
        "INSERT INTO shares (execution_id, kind, name) VALUES ('taker', 'group', 'physics')",
        "INSERT INTO execution_sources (execution_id, source_id) VALUES ('taker', 'source')",
    )
    database.upgrade()
    bob, store = Principal("bob", "Bob", groups=frozenset({"physics"})), ExecutionStore(database)
    for wanted in (
        ExecutionFilter(shared_with=bob, workflow_id="w", statuses=[Status.SUCCEEDED]),
        ExecutionFilter("alice", inputs_from="source"),
    ):
        assert [found.id for found in store.page(wanted, 2)[0]] == ["taker"]
    execute(store_url, *(["PRAGMA foreign_keys = ON"] if "sqlite" in store_url else []), "DELETE FROM executions")
    with database.read() as session:
        assert [session.get(table, key) for table, key in (
            (ShareRow, ("taker", "group", "physics")), (ExecutionSourceRow, ("taker", "source")),
        )] == [None, None]  # fmt: skip
    database.close()


UPGRADE = """
import sys
from hpcwaas.store.database import Database
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
database.upgrade()
print(database.is_current())
database.close()
"""


def test_processes_that_start_at_once_upgrade_one_after_another(store_url: str) -> None:
    command = [sys.executable, "-c", UPGRADE, store_url]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert [process.stdout.readline() for process in started if process.stdout] == ["ready\n"] * 6
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in started] == ["True\n"] * 6


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "nosuch://host/db", "mysql://host/db", "postgresql+nosuch://host/db", "postgresql://host:port/db"],
)
def test_an_unusable_url_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.url"):
        Database(url)


@pytest.mark.parametrize(
    "url",
    [
        "nosuch://user:s3cret@host/db", "postgresql://user:s3cret@host:s3cret/db",
        "postgresql://host/db?password=s3cret",
    ],
)  # fmt: skip
def test_the_password_of_a_url_is_not_told(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_tables_of_another_program_are_left_alone(store_url: str) -> None:
    database = Database(store_url)
    execute(store_url, "CREATE TABLE executions (title TEXT)")
    for attempt in (database.check_upgradable, database.upgrade):
        with pytest.raises(ConfigurationError, match="another program: it has a table executions"):
            attempt()
    assert database.current() is None
    database.close()


def test_half_a_surrogate_pair_is_a_bad_request(database: Database) -> None:
    with pytest.raises(BadRequest):
        UploadStore(database).find_upload("\ud800", "alice")


def test_a_write_that_fails_half_way_leaves_nothing(database: Database) -> None:
    def crash() -> None:
        with database.write() as session:
            session.add(SecretRow(key_id="a", ciphertext=b"x", created_at=datetime.now(UTC)))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert SecretStore(database).get("a") is None


def test_a_read_sees_one_moment(database: Database) -> None:
    secrets = SecretStore(database)
    with database.read() as session:
        assert session.get(SecretRow, "a") is None
        secrets.add("a", b"x")
        assert session.get(SecretRow, "a") is None
    assert secrets.get("a") == b"x"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 1, 2, 1, tzinfo=UTC)),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime.min.replace(tzinfo=UTC)),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-9))), datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_moments_are_kept_in_utc(store_url: str, given: datetime, kept: datetime) -> None:
    if databases.POSTGRESQL:
        name = make_url(store_url).database
        execute(store_url, f"ALTER DATABASE {name} SET timezone = 'Pacific/Kiritimati'")
    database = Database(store_url)
    database.upgrade()
    uploads = UploadStore(database)
    uploads.add(Upload("file-1", "alice", "a", "text/plain", 1, "00", given))
    stored = uploads.find_upload("file-1", "alice").created_at
    assert stored == kept
    assert stored.tzinfo is UTC
    database.close()


def test_naive_moments_are_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="naive"):
        UTCDateTime().process_bind_param(datetime(2026, 1, 1), database._engine.dialect)  # noqa: DTZ001


def test_every_constraint_of_the_models_has_a_name() -> None:
    for table in Base.metadata.tables.values():
        for constraint in table.constraints:
            assert re.fullmatch(r"(pk|fk|uq)_\w+", str(constraint.name))


class TestMigrations:
    """From the schema of an earlier version, with what it had stored."""

    @pytest.fixture
    def old(self, store_url: str) -> Database:
        """A database of version 2 with executions, of which three have the same reference."""
        database = Database(store_url)
        databases.upgrade_to(database, "0002")
        columns = "id, owner, workflow_id, workflow_name, engine, reference, inputs, created_at, status, steps"
        row = "('{}', 'alice', 'w', 'w', 'e', {}, '{{}}', '2026-01-01 00:00:0{}.000000', '{}', '[]')"
        rows = [
            row.format("first", "'ref'", 1, "SUCCEEDED"),
            row.format("second", "'ref'", 2, "RUNNING"),
            row.format("third", "'ref'", 3, "SUCCEEDED"),
            row.format("other", "'other'", 2, "RUNNING"),
            row.format("intent", "NULL", 4, "PENDING"),
            row.format("intent too", "NULL", 5, "PENDING"),
        ]
        execute(
            store_url,
            *(f"INSERT INTO executions ({columns}) VALUES {each}" for each in rows),  # noqa: S608 - our own
            "INSERT INTO idempotency_keys (owner, key, fingerprint, execution_id, created_at) "
            "VALUES ('alice', 'k', 'f', 'first', '2026-01-01 00:00:00.000000')",
        )
        return database

    def test_nothing_is_lost(self, old: Database, store_url: str) -> None:
        assert old.current() == "0002"
        old.upgrade()
        assert old.is_current()
        engine = create_engine(store_url)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT id, reference, status, claimed_until FROM executions")).all()
            keys = connection.execute(text("SELECT key, execution_id FROM idempotency_keys")).all()
        engine.dispose()
        old.close()
        assert sorted(tuple(row) for row in rows) == [
            ("first", "ref", "SUCCEEDED", None),
            ("intent", None, "PENDING", None),
            ("intent too", None, "PENDING", None),
            ("other", "other", "RUNNING", None),
            ("second", None, "FAILED", None),  # one of the engine's executions belongs to one of ours
            ("third", None, "SUCCEEDED", None),
        ]
        assert [tuple(key) for key in keys] == [("k", "first")]

    def test_one_that_fails_half_way_leaves_the_old_schema(self, old: Database, store_url: str) -> None:
        execute(store_url, "CREATE TABLE starts (title TEXT)")  # what the migration makes last
        with pytest.raises(Exception, match=r"database|starts"):
            old.upgrade()
        assert old.current() == "0002"
        execute(store_url, "DROP TABLE starts")
        old.upgrade()
        assert old.is_current()
        old.close()


def test_whether_anything_was_committed_is_known_without_a_look(database: Database, store_url: str) -> None:
    number = database.commits()
    if "postgresql" in store_url:
        assert number is None
        return
    with database.read() as session:
        session.scalar(text("SELECT count(*) FROM secrets"))
    with database.write() as session:
        session.execute(text("DELETE FROM secrets WHERE key_id = 'none'"))
    assert database.commits() == number
    other = Database(store_url)
    for writer in (database, other):
        with writer.write() as session:
            session.add(SecretRow(key_id=str(id(writer)), ciphertext=b"c", created_at=datetime.now(UTC)))
        before, number = number, database.commits()
        assert number != before
    other.close()
