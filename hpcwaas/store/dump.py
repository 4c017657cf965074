"""All that a database holds, as lines that any database of ours can take: SQLite's go to PostgreSQL and back.

A piece of a table begins with a line that names its columns and what each holds; a line for each row follows. They are
those of the schema that the database has, whichever version of the service that belongs to.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from hpcwaas.common import written
from hpcwaas.store.columns import UTCDateTime
from hpcwaas.store.database import REVISION

_PIECE = 4 << 20
"""Characters of a piece, about."""

_AT_ONCE = 500
_KINDS: Final[Mapping[str, tuple[type[Any], Any, Callable[[Any], Any] | None, Callable[[Any], Any] | None]]] = {
    "truth": (Boolean, Boolean(), None, None),
    "number": (Integer, BigInteger(), None, None),
    "text": (String, String(), None, None),
    "moment": (DateTime, UTCDateTime(), lambda moment: _utc(moment).isoformat(), datetime.fromisoformat),
    "bytes": (
        LargeBinary,
        LargeBinary(),
        lambda content: base64.b64encode(content).decode(),
        lambda text: base64.b64decode(text, validate=True),
    ),
    "json": (JSON, JSON(none_as_null=True), None, None),
}
"""What a column may hold: the type by which it is found, the one by which it is stored, and the ways there and back."""


_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class BadDump(Exception):
    """What is wrong with a piece, or with a row that this database can't take. Nothing of a row is quoted."""


def dump(connection: Connection, without: Collection[str] = ()) -> Iterator[tuple[str, bytes, int, Sequence[str]]]:
    """All tables, those before others that refer to them.

    Args:
        connection: as `Database.snapshot` gives it.
        without: tables whose rows are left out.

    Yields:
        The name of a table, a piece of it, how many rows that has, and their ids where they have some.
    """
    for table in _tables(connection):
        kinds = [(column.name, _kind(column)) for column in table.columns]
        head = written.dumps({"columns": kinds})
        lines: list[str] = []
        ids: list[str] = []
        size = 0
        if table.name not in without:
            for row in connection.execution_options(yield_per=_AT_ONCE).execute(select(table)):
                values = {name: _out(kind, value) for (name, kind), value in zip(kinds, row, strict=True)}
                lines.append(written.dumps([*values.values()]))
                ids += [values["id"]] if "id" in values else []
                size += len(lines[-1])
                if size >= _PIECE:
                    yield table.name, "\n".join([head, *lines]).encode(), len(lines), ids
                    lines, ids, size = [], [], 0
        yield table.name, "\n".join([head, *lines]).encode(), len(lines), ids


def load(connection: Connection, table: str, piece: bytes, wanted: Callable[[dict[str, Any]], bool]) -> int:
    """Adds the rows of a piece.

    Args:
        connection: as `Database.filling` gives it.
        wanted: whether a row is to be there. It may change it.

    Returns:
        how many rows were added.

    Raises:
        BadDump: it isn't a piece of this table's, or the database can't take it.
    """
    try:
        kinds, found = _parsed(piece)
        into = Table(table, MetaData(), *(Column(name, _KINDS[kind][1]) for name, kind in kinds.items()))
        rows = [row for row in found if wanted(row)]
        for first in range(0, len(rows), _AT_ONCE):
            connection.execute(insert(into), rows[first : first + _AT_ONCE])
    except _UNREADABLE as error:
        raise BadDump(f"its rows of the table {table} can't be read ({type(error).__name__})") from error
    except SQLAlchemyError as error:
        reason = getattr(getattr(getattr(error, "orig", None), "diag", None), "message_primary", None)
        said = reason or str(getattr(error, "orig", None) or type(error).__name__)
        raise BadDump(f"the database can't take its rows of the table {table}: {said}") from error
    return len(rows)


def values(piece: bytes, column: str) -> list[Any]:
    """What the rows of a piece have in a column.

    Raises:
        BadDump: it isn't a piece, or has no such column.
    """
    try:
        return [row[column] for row in _parsed(piece)[1]]
    except _UNREADABLE as error:
        raise BadDump(f"some of its rows can't be read ({type(error).__name__})") from error


def ids(connection: Connection, table: str) -> Iterator[str]:
    """The ids in a table."""
    found = next(each for each in _tables(connection) if each.name == table)
    return iter(connection.execution_options(yield_per=_AT_ONCE).execute(select(found.c.id)).scalars())


def revision(connection: Connection) -> str | None:
    """The schema's version; None where there is no schema."""
    return MigrationContext.configure(connection).get_current_revision()


def _parsed(piece: bytes) -> tuple[Mapping[str, str], Iterator[dict[str, Any]]]:
    lines = iter(piece.decode().split("\n"))
    kinds = dict(written.loads(next(lines, ""))["columns"])

    def row(line: str) -> dict[str, Any]:
        return {name: _in(kind, value) for (name, kind), value in zip(kinds.items(), written.loads(line), strict=True)}

    return kinds, map(row, lines)


def _tables(connection: Connection) -> list[Table]:
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: name != REVISION)
    return metadata.sorted_tables


def _kind(column: Column[Any]) -> str:
    return next(name for name, (kind, *_) in _KINDS.items() if isinstance(column.type, kind))


def _out(kind: str, value: Any) -> Any:
    way = _KINDS[kind][2]
    return value if value is None or way is None else way(value)


def _in(kind: str, value: Any) -> Any:
    way = _KINDS[kind][3]
    return value if value is None or way is None else way(value)


def _utc(moment: datetime) -> datetime:
    """SQLite gives back naive values, which are in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
