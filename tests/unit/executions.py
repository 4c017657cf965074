"""An execution to store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from hpcwaas.core.models import Execution, ExecutionState, Status

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def execution(**changes: Any) -> Execution:
    usual = Execution(
        id=uuid4().hex,
        owner="alice",
        workflow_id="words@local@words",
        workflow_name="words",
        engine="cwl",
        inputs={"n": 1},
        created_at=START,
        state=ExecutionState(Status.PENDING),
    )
    return replace(usual, **changes)
