"""Pages of what has an owner's records newest first."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from sqlalchemy import Select, and_, or_
from sqlalchemy.orm import Session

from hpcwaas.common import cursors
from hpcwaas.store.models import ExecutionRow, UploadRow

Row = TypeVar("Row", ExecutionRow, UploadRow)


def newest_first(
    session: Session, query: Select[Row], table: type[Row], limit: int, cursor: str | None
) -> tuple[list[Row], str | None]:
    """A part of what a query finds. It is cut by time and id, not by count: new rows in between shift nothing.

    Args:
        table: whose rows the query finds.
        limit: at most so many, at least 1.
        cursor: where the part before ended; None for the first.

    Returns:
        the rows, and the cursor of the next part or None when this was the last.

    Raises:
        BadRequest: a cursor that isn't one of ours.
    """
    if cursor is not None:
        moment, row_id = _decode(cursor)
        query = query.where(or_(table.created_at < moment, and_(table.created_at == moment, table.id < row_id)))
    query = query.order_by(table.created_at.desc(), table.id.desc()).limit(limit + 1)
    rows = list(session.scalars(query))
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], cursors.encode(last.created_at.isoformat(), last.id)


def _decode(cursor: str) -> tuple[datetime, str]:
    text, row_id = cursors.decode(cursor, 2)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not row_id.isprintable():
        raise cursors.unknown()
    return moment, row_id
