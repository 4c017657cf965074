"""Ending by word what no engine will ever end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hpcwaas.core import acts, policy
from hpcwaas.core.endings import Closing
from hpcwaas.core.models import Execution
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.engine import Engine
from hpcwaas.core.ports.records import ExecutionRecords
from hpcwaas.errors import Conflict

_WATCHED = timedelta(days=30)
"""For how long an engine may still tell how an execution ended that was closed. Alien4Cloud keeps records for ten."""


def close(
    engine: Engine | None, records: ExecutionRecords, principal: Principal, execution: Execution, reason: str
) -> Execution:
    """Declares an execution ended; see `Executions.close`.

    Args:
        engine: of the execution; None when it isn't active any more.
        execution: as it stands, of somebody by whom it may be closed.

    Raises:
        Conflict: it has ended, is about to begin, or really runs.
    """
    if execution.state.status.over:
        raise Conflict(f"The execution has {execution.state.status} already.")
    if engine is not None:
        if execution.reference is None:
            raise Conflict("The execution is just being started. Try again in a moment.")
        if not policy.is_operator(principal) and not engine.lost(execution.reference):
            raise Conflict(
                "The engine knows the execution and was asked to cancel it: wait for its end. Only an operator can "
                "close an execution that may still run."
            )
    now = datetime.now(UTC)
    acts.note(reason=reason, status_before=execution.state.status.value)
    told = f"Closed by {principal.subject}: {reason} The engine never reported how it ended."
    stored = records.close(execution.id, Closing(principal.subject, now, reason), told, now + _WATCHED)
    if stored.closed is None:
        raise Conflict(f"The execution is {stored.state.status} now: look at it again.")
    return stored
