"""How many bytes a user has stored here: what counts against `limits.stored`."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from hpcwaas.errors import TooManyRequests
from hpcwaas.store.models import ExecutionRow, UploadRow

_STORED = select(
    select(func.sum(UploadRow.size)).where(UploadRow.owner == bindparam("owner")).scalar_subquery(),
    select(func.sum(ExecutionRow.inputs_size + ExecutionRow.kept_size))
    .where(ExecutionRow.owner == bindparam("owner"))
    .scalar_subquery(),
)
"""Made once: it takes longer to make than to execute, and every start asks."""

_RETRY_AFTER = 3600
"""Seconds after which a user may have deleted something: nothing goes by itself."""


def stored(session: Session, owner: str) -> int:
    """Bytes of a user's uploads, and of what is kept of their executions."""
    return sum(_parts(session, owner))


def check_room(session: Session, owner: str, size: int, at_most: int, otherwise: str) -> None:
    """Finds out whether a user may store more.

    Args:
        size: bytes that are to come.
        otherwise: what then can't be, for the user.

    Raises:
        TooManyRequests: they may not.
    """
    uploads, executions = _parts(session, owner)
    if uploads + executions + size <= at_most:
        return
    if size > at_most:
        enough = "It never will: it is larger than that."
    elif executions > uploads:
        enough = "Delete executions or files that you don't need."
    else:
        enough = "Delete some first."
    kept = f" Of these, {executions} are inputs, outputs and logs of executions." if executions else ""
    raise TooManyRequests(
        f"You have {uploads + executions} bytes stored, of {at_most} that you may: {otherwise}.{kept} {enough}",
        _RETRY_AFTER,
    )


def _parts(session: Session, owner: str) -> tuple[int, int]:
    uploads, executions = session.connection().execute(_STORED, {"owner": owner}).one()
    return int(uploads or 0), int(executions or 0)
