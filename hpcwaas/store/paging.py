"""Pages of what has an owner's records newest first. They are cut by time and id, not by count: new rows in between
shift nothing, and the hundredth page is found as fast as the first one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, String, bindparam, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from hpcwaas.common import cursors
from hpcwaas.store.columns import UTCDateTime
from hpcwaas.store.models import ExecutionRow, UploadRow

Row = TypeVar("Row", ExecutionRow, UploadRow)
Column = ColumnElement[Any] | InstrumentedAttribute[Any]


class Position(NamedTuple):
    """A place in such an order: what comes after it is earlier, or has the same moment and a smaller id."""

    moment: datetime
    id: str = ""


def position(cursor: str | None) -> Position | None:
    """Where the page before ended; None for the first page.

    Raises:
        BadRequest: a cursor that isn't one of ours.
    """
    if cursor is None:
        return None
    text, row_id = cursors.decode(cursor, 2)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not row_id.isprintable():
        raise cursors.unknown()
    return Position(moment, row_id)


def after(created_at: Column, row_id: Column) -> ColumnElement[bool]:
    """The condition on what comes after the place of the parameters `moment` and `id`."""
    # Compared as a pair: of `a < x OR a = x AND b < y` no database finds the beginning in an index.
    place = tuple_(bindparam("moment", type_=UTCDateTime), bindparam("id", type_=String))
    return tuple_(created_at, row_id) < place


def cut(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], str | None]:
    """A page of rows, which are one more than it takes unless it is the last; and the cursor of the next one."""
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], cursors.encode(last.created_at.isoformat(), last.id)
