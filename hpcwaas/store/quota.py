"""How many bytes a user has stored here: what counts against `limits.stored`."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hpcwaas.errors import TooManyRequests
from hpcwaas.store.models import ExecutionRow, UploadRow

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
        enough = "Delete files that you don't need, or ask an operator."
    else:
        enough = "Delete some first."
    kept = f" Of these, {executions} are inputs, outputs and logs of executions." if executions else ""
    raise TooManyRequests(
        f"You have {uploads + executions} bytes stored, of {at_most} that you may: {otherwise}.{kept} {enough}",
        _RETRY_AFTER,
    )


def _parts(session: Session, owner: str) -> tuple[int, int]:
    uploads = select(func.coalesce(func.sum(UploadRow.size), 0)).where(UploadRow.owner == owner)
    kept = func.coalesce(func.sum(ExecutionRow.inputs_size + ExecutionRow.kept_size), 0)
    executions = select(kept).where(ExecutionRow.owner == owner)
    return int(session.scalar(uploads) or 0), int(session.scalar(executions) or 0)
