"""Executions as rows, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from typing import Any

from hpcwaas.core.endings import Attempt, Closing
from hpcwaas.core.models import JSON, Execution, ExecutionState, Status, Step, StepStatus
from hpcwaas.core.ports.records import CLAIM
from hpcwaas.store.models import ExecutionRow


class Parts(Enum):
    """How much of an execution is read."""

    ALL = auto()
    STATE = auto()
    SUMMARY = auto()


def to_row(execution: Execution) -> ExecutionRow:
    """The row of a new execution."""
    return ExecutionRow(
        id=execution.id,
        owner=execution.owner,
        workflow_id=execution.workflow_id,
        workflow_name=execution.workflow_name,
        engine=execution.engine,
        reference=execution.reference,
        inputs=dict(execution.inputs),
        inputs_size=size_of(execution.inputs),
        created_at=execution.created_at,
        claimed_until=execution.created_at + CLAIM,
        **state_columns(execution.state),
    )


def to_execution(row: ExecutionRow, parts: Parts = Parts.ALL) -> Execution:
    """The execution that a row holds. Of one that was resumed, `ended_at` still is when it had failed."""
    return Execution(
        id=row.id,
        owner=row.owner,
        workflow_id=row.workflow_id,
        workflow_name=row.workflow_name,
        engine=row.engine,
        inputs=row.inputs if parts is Parts.ALL else {},
        created_at=row.created_at,
        state=ExecutionState(
            status=Status(row.status),
            started_at=row.started_at,
            ended_at=row.ended_at if Status(row.status).over else None,
            reason=row.reason,
            steps=() if parts is Parts.SUMMARY else tuple(_step(step) for step in row.steps),
            outputs=None if parts is Parts.SUMMARY else row.outputs,
        ),
        reference=row.reference,
        attempts=tuple(_attempt(number, item) for number, item in enumerate(row.attempts or (), 1)),
        closed=_closing(row),
    )


def ended_attempt(row: ExecutionRow) -> JSON:
    """The present attempt of a row, which has failed, as `attempts` keeps it."""
    return {
        "started_at": row.started_at and row.started_at.isoformat(),
        "ended_at": row.ended_at and row.ended_at.isoformat(),
        "reason": row.reason,
    }


def closed_column(closing: Closing) -> JSON:
    """A closing as a column."""
    return {"by": closing.by, "at": closing.at.isoformat(), "reason": _storable(closing.reason)}


def _attempt(number: int, stored: Mapping[str, JSON]) -> Attempt:
    return Attempt(
        number,
        stored["started_at"] and datetime.fromisoformat(stored["started_at"]),
        stored["ended_at"] and datetime.fromisoformat(stored["ended_at"]),
        stored["reason"],
    )


def _closing(row: ExecutionRow) -> Closing | None:
    stored = row.closed
    if stored is None:
        return None
    at = datetime.fromisoformat(stored["at"])
    return Closing(stored["by"], at, stored["reason"], watched=row.watched_until is not None)


def state_columns(state: ExecutionState) -> dict[str, Any]:
    """A state as columns."""
    return {
        "status": state.status.value,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "reason": state.reason and _storable(state.reason),
        "steps": [
            {
                "name": step.name,
                "status": step.status.value,
                "label": step.label,
                "started_at": step.started_at and step.started_at.isoformat(),
                "ended_at": step.ended_at and step.ended_at.isoformat(),
            }
            for step in state.steps
        ],
        "outputs": None if state.outputs is None else dict(state.outputs),
        "kept_size": state.stored + size_of(state.outputs),
    }


def size_of(value: JSON) -> int:
    """Bytes of a record."""
    return 0 if value is None else len(json.dumps(value, ensure_ascii=False, default=dict).encode(errors="replace"))


def _storable(text: str) -> str:
    """What an engine said, without what no database stores."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _step(stored: Mapping[str, JSON]) -> Step:
    return Step(
        name=stored["name"],
        status=StepStatus(stored["status"]),
        label=stored["label"],
        started_at=stored["started_at"] and datetime.fromisoformat(stored["started_at"]),
        ended_at=stored["ended_at"] and datetime.fromisoformat(stored["ended_at"]),
    )
