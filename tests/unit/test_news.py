"""What an engine says of an execution, beside what was known of it before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Execution, ExecutionState, Status, Step, StepStatus
from hpcwaas.core.news import with_times
from hpcwaas.core.settings import LimitsPerUser
from hpcwaas.errors import Unavailable
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore

BEGAN = datetime(2026, 11, 23, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=1)


def running(*steps: Step, began: datetime | None = None) -> ExecutionState:
    return ExecutionState(Status.RUNNING, began, steps=steps)


def test_what_a_process_has_missed_stays_as_it_was_known() -> None:
    known = running(
        Step("a", StepStatus.SUCCEEDED, started_at=BEGAN, ended_at=ENDED),
        Step("b", StepStatus.RUNNING, started_at=ENDED),
        began=BEGAN,
    )
    missed = running(Step("a", StepStatus.SUCCEEDED), Step("b", StepStatus.RUNNING))
    assert with_times(missed, known) == known


def test_what_is_told_counts_more() -> None:
    known = running(Step("a", StepStatus.RUNNING, started_at=ENDED), began=ENDED)
    told = running(Step("a", StepStatus.RUNNING, started_at=BEGAN), Step("b", StepStatus.PENDING), began=BEGAN)
    assert with_times(told, known) == told


@pytest.mark.parametrize(
    ("before", "step"),
    [
        (running(Step("a", StepStatus.FAILED, started_at=BEGAN, ended_at=ENDED)), Step("a", StepStatus.RUNNING)),
        (running(Step("a", StepStatus.RUNNING, started_at=BEGAN)), Step("a", StepStatus.PENDING)),
        (running(Step("a", StepStatus.RUNNING, started_at=BEGAN)), Step("b", StepStatus.RUNNING)),
    ],
)
def test_a_step_that_begins_anew_has_no_times_of_before(before: ExecutionState, step: Step) -> None:
    assert with_times(running(step), before) == running(step)


def test_an_execution_that_begins_anew_has_no_times_of_before() -> None:
    failed = ExecutionState(Status.FAILED, BEGAN, ENDED, steps=(Step("a", StepStatus.RUNNING, started_at=BEGAN),))
    resumed = running(Step("a", StepStatus.RUNNING))
    assert with_times(resumed, failed) == resumed


class Busy(ExecutionStore):
    """A store that takes nothing for a while."""

    busy = True

    def save_state(self, execution_id: str, state: ExecutionState) -> Execution:
        if self.busy:
            raise Unavailable("The service's database can't be used at the moment.")
        return super().save_state(execution_id, state)


def test_while_the_store_takes_nothing_what_is_stored_is_shown_as_stale(database: Database) -> None:
    store = Busy(database)
    stored = store.add(Execution("e", "alice", "w", "w", "cwl", {}, BEGAN, ExecutionState(Status.PENDING)))[0]
    store.set_reference(stored.id, "r")
    engine = SimpleNamespace(name="cwl", state=lambda _reference: running(began=BEGAN))
    engines: Any = SimpleNamespace(get=lambda _name: engine)
    nothing: Any = None
    executions = Executions(engines, store, nothing, nothing, LimitsPerUser())

    shown = executions.refresh(replace(stored, reference="r")).state
    assert (shown.status, shown.stale_since is not None) == (Status.PENDING, True)
    store.busy = False
    shown = executions.refresh(replace(stored, reference="r")).state
    assert (shown.status, shown.stale_since) == (Status.RUNNING, None)
