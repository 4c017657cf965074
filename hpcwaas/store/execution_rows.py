"""Executions as rows, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hpcwaas.core.endings import Part
from hpcwaas.core.models import JSON, Execution, ExecutionState, Status
from hpcwaas.core.ports.records import CLAIM
from hpcwaas.core.site_models import Placement
from hpcwaas.store.columns import columns, value_of
from hpcwaas.store.models import ExecutionRow

STATE: Mapping[str, Any] = {"inputs": {}}
SUMMARY: Mapping[str, Any] = {"inputs": {}, "steps": (), "outputs": None}
"""How much of an execution is read: what stands for the columns that aren't."""


def to_row(execution: Execution) -> ExecutionRow:
    """The row of a new execution."""
    return ExecutionRow(
        **columns(execution, "state", "placement", "removed"),
        **state_columns(execution.state),
        **_placement_columns(execution.placement),
        inputs_size=size_of(execution.inputs),
        claimed_until=execution.created_at + CLAIM,
    )


def to_execution(row: ExecutionRow, unread: Mapping[str, Any] = MappingProxyType({})) -> Execution:
    """The execution that a row holds. Of one that was resumed, the column `ended_at` still is when it had failed.

    Args:
        unread: what stands for columns that weren't read: `STATE` or `SUMMARY`; by default all were.
    """
    status = Status(row.status)
    state = {"status": status, "ended_at": row.ended_at if status.over else None, "stored": 0, "stale_since": None}
    placement = None if row.site is None else Placement(row.site, row.account_user, row.account_key)
    known = {"state": value_of(ExecutionState, row, {**unread, **state}), "placement": placement}
    return value_of(Execution, row, {**unread, **known, "removed": Part(row.removed)})


def state_columns(state: ExecutionState) -> dict[str, Any]:
    """A state as columns."""
    return columns(state, "stored", "stale_since") | {
        "status": state.status.value,
        "reason": state.reason and _storable(state.reason),
        "directory": state.directory and _storable(state.directory),
        "outputs": None if state.outputs is None else dict(state.outputs),
        "kept_size": state.stored + size_of(state.outputs),
    }


def _placement_columns(placement: Placement | None) -> dict[str, Any]:
    if placement is None:
        return {}
    return {"site": placement.site, "account_user": placement.user, "account_key": placement.ssh_key}


def size_of(value: JSON) -> int:
    """Bytes of a record."""
    return 0 if value is None else len(json.dumps(value, ensure_ascii=False, default=dict).encode(errors="replace"))


def _storable(text: str) -> str:
    """What an engine said, without what no database stores."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
