"""What a backup holds of the store: all of it, the same on every kind of database."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
)

from hpcwaas.common import written
from hpcwaas.errors import ConfigurationError
from hpcwaas.store import dump
from hpcwaas.store.columns import Stored, UTCDateTime
from hpcwaas.store.database import Database
from hpcwaas.store.models import Base
from tests import databases

EARLY = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
ODD = "ä\n\t\"'\\ \U0001f600 \x7f"
NUMBERS = '{"a": [1.10, 1e3, -0, 12345678901234567890123, null, true, "\\u0000 \\\\u0000"], "ü": {}}'
KINDS = ["sqlite", *(["postgresql"] if databases.POSTGRESQL else [])]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
        yield Path(directory)


def plain(table: Table) -> Table:
    """The table with what its columns store, and nothing of what that means to the service."""
    columns = [
        Column(each.name, JSON(none_as_null=True) if isinstance(each.type, Stored) else each.type)
        for each in table.columns
    ]
    return Table(table.name, MetaData(), *columns)


def value(column: Column[Any], number: int) -> Any:
    """Something for a column that a careless way through text would change."""
    if column.nullable and number % 2:
        return None
    if column.name in ("id", "execution_id"):
        return f"{number}"
    if isinstance(column.type, Stored | JSON):
        return written.loads(NUMBERS)
    if isinstance(column.type, DateTime | UTCDateTime):
        return EARLY + timedelta(days=number)
    if isinstance(column.type, LargeBinary):
        return bytes(range(256))
    if isinstance(column.type, Boolean):
        return number % 3 == 0
    if isinstance(column.type, Integer):
        return 2**53 + number if column.name in ("size", "inputs_size", "kept_size") else number
    assert isinstance(column.type, String)
    return f"{number} {ODD}"


def fill(database: Database, rows: int = 3) -> None:
    """Puts rows into every table."""
    with database.write() as session:
        for table in Base.metadata.sorted_tables:
            session.execute(
                insert(plain(table)),
                [{each.name: value(each, number) for each in table.columns} for number in range(rows)],
            )


def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All rows, as values of Python, numbers as they were written."""
    found = {}
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            columns = plain(table)
            rows = [
                tuple(written.dumps(each) if isinstance(each, dict) else each for each in row)
                for row in session.execute(select(columns))
            ]
            found[table.name] = sorted(rows, key=repr)
    return found


def database_of(kind: str, place: Path, name: str, *, ready: bool = False) -> Database:
    """An empty one, perhaps with the service's schema."""
    directory = place / name
    directory.mkdir()
    if kind == "postgresql":
        return Database(databases.url_in(directory, ready=ready))
    url = f"sqlite:///{directory / 'store.db'}"
    if ready:
        databases.prepare(url)
    return Database(url)


def copy(source: Database, target: Database, **left_out: Any) -> int:
    """Takes all from one to the other."""
    rows = 0
    with source.snapshot() as connection, target.filling(str(dump.revision(connection))) as into:
        for table, piece, _, _ in dump.dump(connection, **left_out):
            rows += dump.load(into, table, piece, lambda _: True)
    return rows


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("of", KINDS)
def test_every_value_survives(of: str, to: str, place: Path) -> None:
    with closing(database_of(of, place, "of", ready=True)) as source, closing(database_of(to, place, "to")) as target:
        fill(source)
        assert copy(source, target) == 3 * len(Base.metadata.tables)
        assert target.is_current()
        assert content(target) == content(source)
        assert "1.10, 1e3, -0, 12345678901234567890123" in str(content(target)["executions"])
        assert all(len(rows) == 3 for rows in content(target).values())


def test_a_large_table_comes_in_pieces(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "_PIECE", 5000)
    monkeypatch.setattr(dump, "_AT_ONCE", 7)
    with (
        closing(database_of(KINDS[-1], place, "of", ready=True)) as source,
        closing(database_of(KINDS[-1], place, "to")) as target,
    ):
        fill(source, 40)
        with source.snapshot() as connection:
            pieces = [(table, rows, ids) for table, _, rows, ids in dump.dump(connection)]
        executions = [(rows, ids) for table, rows, ids in pieces if table == "executions"]
        assert len(executions) > 3
        assert sorted(each for _, ids in executions for each in ids) == sorted(str(number) for number in range(40))
        copy(source, target)
        assert content(target) == content(source)


def test_one_moment_of_the_store(place: Path) -> None:
    with closing(database_of(KINDS[-1], place, "of", ready=True)) as source:
        fill(source)
        with source.snapshot() as connection:
            dump.revision(connection)
            with source.write() as session:
                session.execute(Base.metadata.tables["shares"].delete())
                session.execute(Base.metadata.tables["uploads"].delete())
            rows = {table: rows for table, _, rows, _ in dump.dump(connection)}
        assert (rows["shares"], rows["uploads"]) == (3, 3)


def test_a_backup_of_an_earlier_version_is_upgraded(place: Path) -> None:
    with closing(database_of(KINDS[-1], place, "of")) as source, closing(database_of(KINDS[-1], place, "to")) as target:
        databases.upgrade_to(source, "0008")
        with source._writing.begin() as connection:
            old = MetaData()
            old.reflect(connection, only=["executions", "uploads"])
            for table in old.sorted_tables:
                connection.execute(insert(table), [{each.name: value(each, 0) for each in table.columns}])
        copy(source, target)
        assert target.is_current()
        with target.read() as session:
            assert session.scalar(select(func.count()).select_from(plain(Base.metadata.tables["executions"]))) == 1
            assert session.scalars(select(plain(Base.metadata.tables["uploads"]).c.created_at)).all() == [EARLY]


def test_a_database_that_was_only_prepared_counts_as_empty(place: Path) -> None:
    with (
        closing(database_of(KINDS[-1], place, "of", ready=True)) as source,
        closing(database_of(KINDS[-1], place, "to")) as target,
    ):
        target.upgrade()
        assert target.is_empty()
        fill(source)
        copy(source, target)
        assert not target.is_empty()
        with pytest.raises(ConfigurationError, match="isn't empty"), target.filling("0001"):
            pytest.fail("filled")
        assert content(target) == content(source)


def test_what_breaks_off_leaves_nothing(place: Path) -> None:
    with (
        closing(database_of(KINDS[-1], place, "of", ready=True)) as source,
        closing(database_of(KINDS[-1], place, "to")) as target,
    ):
        fill(source)

        with source.snapshot() as connection:
            schema = str(dump.revision(connection))
            pieces = [(table, piece) for table, piece, _, _ in dump.dump(connection)]

        def break_off() -> None:
            with target.filling(schema) as into:
                for table, piece in pieces:
                    dump.load(into, table, piece, lambda _: True)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            break_off()
        assert (target.is_empty(), target.current()) == (True, None)


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"columns": [["id", "text"], ["x", "sort"]]}\n["1", 2]',
        b'{"columns": [["execution_id", "text"]]}\n["1", 2]',
        b'{"columns": [["execution_id", "text"], ["asked_at", "moment"]]}\n["1", 2]',
        b'{"columns": [["execution_id", "text"], ["asked_at", "moment"]]}\n["1", "soon"]',
        b'{"columns": [["execution_id", "text"]]}\n' + b"[" * 10_000,
        b'{"columns": [["execution_id", "text"], ["no_such_column", "text"]]}\n["1", "2"]',
        b'{"columns": [["execution_id", "text"]]}\n[["1"]]',
        b'{"columns": [["place", "bytes"]]}\n["' + base64.b64encode(b"x")[:-1] + b'"]',
    ],
)
def test_a_piece_that_is_none(piece: bytes, place: Path) -> None:
    with (
        closing(database_of(KINDS[-1], place, "to")) as target,
        pytest.raises(dump.BadDump, match="of the table starts"),
        target.filling("0012") as into,
    ):
        dump.load(into, "starts", piece, lambda _: True)
