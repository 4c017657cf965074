"""Executions from the catalogue to their outputs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpcwaas.core.models import Level, Status, StepStatus
from hpcwaas.core.outputs import OutputValue
from hpcwaas.engines.yorc.engine import YorcEngine
from hpcwaas.errors import Conflict, NotFound
from tests.engines.orchestrated import ALL, made, until, wait, whole_log
from tests.engines.yorc.helpers import DEMO, ENGINE, Make, start
from tests.simulators.faults import Fault
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_worlds import jobs
from tests.waiting import until as eventually


def test_an_execution_from_the_catalogue_to_its_outputs(engine: YorcEngine) -> None:
    assert f"{DEMO}hello" in [workflow.id for workflow in engine.workflows()]
    reference = start(engine, who="zoé", times=2)
    state = until(engine, reference, Status.SUCCEEDED)
    assert state.started_at is not None
    assert state.ended_at is not None
    assert state.ended_at > state.started_at
    called, silent = state.steps
    assert (called.name, called.status) == ("Greeter_say_hello", StepStatus.SUCCEEDED)
    assert (silent.name, silent.status, silent.started_at) == ("Greeter_greeted", StepStatus.SUCCEEDED, None)
    assert called.started_at is not None
    assert called.ended_at is not None
    assert state.started_at <= called.started_at <= called.ended_at <= state.ended_at
    assert state.outputs == {"greeting": "hello zoé x2"}
    page = whole_log(engine, reference)
    texts = [entry.content for entry in page.entries]
    at = texts.index('Node "Greeter", host "Greeter_0", stdout:')
    assert texts[at + 1 : at + 3] == ["hello zoé #1", "hello zoé #2"]
    assert len({entry.timestamp for entry in page.entries[at : at + 3]}) == 1
    assert texts[-1] == 'Status for workflow "hello" changed to "done"'
    assert [entry.index for entry in page.entries] == list(range(page.total))
    assert engine.log(reference, Level.DEBUG, 0, None).total > 0
    assert engine.output(reference, "greeting", None, "zip") == OutputValue("hello zoé x2")
    with pytest.raises(NotFound):
        engine.output(reference, "nope", None, "zip")
    assert engine.state(reference) == state


def test_a_failed_execution_says_where_and_can_be_resumed(engine: YorcEngine, simulator: Simulator) -> None:
    reference = start(engine, f"{DEMO}fail")
    with pytest.raises(Conflict, match="Only a failed"):
        engine.resume(reference)
    state = until(engine, reference, Status.FAILED)
    assert state.reason == 'Workflow "fail" step "Greeter_fail" failed; the log says more.'
    assert [step.status for step in state.steps] == [StepStatus.FAILED, StepStatus.SKIPPED]
    assert state.outputs == {}
    lines = whole_log(engine, reference).total
    simulator.fail_script("demo-Environment", "custom.fail", fails=False)
    engine.resume(reference)
    assert engine.state(reference).status in (Status.PENDING, Status.RUNNING)
    assert not engine.log(reference, ALL, 0, None).over
    again = until(engine, reference, Status.SUCCEEDED)
    assert [step.status for step in again.steps] == [StepStatus.SUCCEEDED, StepStatus.SUCCEEDED]
    assert again.reason is None
    assert state.ended_at is not None
    assert again.started_at is not None
    assert again.started_at > state.ended_at
    assert again.steps[0].started_at is not None
    assert again.steps[0].started_at > again.started_at
    page = whole_log(engine, reference)
    assert page.total > lines
    assert len({entry.index for entry in page.entries}) == page.total
    with pytest.raises(Conflict):
        engine.resume(reference)


@pytest.mark.parametrize("events", [True, False])
def test_what_another_process_resumes_goes_on_here_too(
    engine: YorcEngine, simulator: Simulator, make: Make, events: bool
) -> None:
    if not events:
        simulator.fault(Fault("close", "GET /events"))
    reference, other = start(engine, f"{DEMO}fail"), make(simulator)
    for each in (engine, other):
        first = until(each, reference, Status.FAILED)
    lines = whole_log(other, reference).total
    engine.resume(reference)
    again = until(engine, reference, Status.FAILED)
    assert again.ended_at != first.ended_at
    if events:
        eventually(lambda: other.state(reference).ended_at == again.ended_at)
    eventually(lambda: other.log(reference, ALL, 0, None).total > lines)
    simulator.fail_script("demo-Environment", "custom.fail", fails=False)
    engine.resume(reference)
    assert until(other, reference, Status.SUCCEEDED).reason is None
    assert whole_log(other, reference) == whole_log(engine, reference)


def test_cancel(engine: YorcEngine, simulator: Simulator, make: Make) -> None:
    reference, other = start(engine, "jobs@plain"), make(simulator)
    eventually(lambda: StepStatus.RUNNING in {step.status for step in engine.state(reference).steps})
    engine.cancel(reference)
    for each in (engine, other):
        state = each.state(reference)
        assert state.status in (Status.CANCELLING, Status.CANCELLED)
        assert "squeue --me" in str(state.reason)
    engine.cancel(reference)
    state = until(engine, reference, Status.CANCELLED)
    assert "no cancel step" in str(state.reason)
    assert state.steps[-1].status is StepStatus.CANCELLED
    assert until(other, reference, Status.CANCELLED) == state
    engine.cancel(reference)
    other.cancel(reference)


def test_cancelling_says_nothing_of_jobs_where_the_workflow_ends_them(engine: YorcEngine) -> None:
    reference = start(engine, "jobs@cancellable")
    eventually(lambda: StepStatus.RUNNING in {step.status for step in engine.state(reference).steps})
    engine.cancel(reference)
    state = until(engine, reference, Status.CANCELLED)
    assert state.reason is None
    assert {step.name: step.status.value for step in state.steps} == {
        "Job_submit": "SUCCEEDED",
        "Job_run": "CANCELLED",
        "Job_cancel": "SUCCEEDED",
    }


def test_a_script_that_is_killed_has_not_failed(engine: YorcEngine, simulator: Simulator) -> None:
    reference = start(engine, f"{DEMO}wait_long", seconds=60)
    eventually(lambda: StepStatus.RUNNING in {step.status for step in engine.state(reference).steps})
    engine.cancel(reference)
    state = until(engine, reference, Status.CANCELLED)
    assert [step.status for step in state.steps] == [StepStatus.CANCELLED, StepStatus.SKIPPED]
    assert "failed" not in str(state.reason)


def test_what_has_ended_by_itself_is_not_cancelled(engine: YorcEngine, simulator: Simulator, make: Make) -> None:
    reference = start(engine)
    until(engine, reference, Status.SUCCEEDED)
    with pytest.raises(Conflict, match="SUCCEEDED already"):
        engine.cancel(reference)
    slow = start(engine, f"{DEMO}wait_long", seconds=60)
    until(engine, slow, Status.RUNNING)
    simulator.hurry(slow)
    eventually(lambda: simulator.tasks[slow.rpartition("@")[2]].status == "DONE")
    with pytest.raises(Conflict, match="SUCCEEDED already"):
        engine.cancel(slow)  # which Yorc refuses, if it is asked


def test_an_execution_of_which_yorc_knows_nothing_any_more(
    engine: YorcEngine, simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ENGINE}.tracking._FRESH_EVENTS", 0.5)
    done, purged, removed = start(engine), start(engine, "jobs@plain"), start(engine, "jobs@cancellable")
    state = until(engine, done, Status.SUCCEEDED)
    page = whole_log(engine, done)
    for reference in (purged, removed):
        until(engine, reference, Status.RUNNING)
    eventually(lambda: all(engine.log(each, ALL, 0, None).total > 3 for each in (purged, removed)))
    simulator.purge_task(purged.rpartition("@")[2])
    simulator.purge_task(done.rpartition("@")[2])
    lost = until(make(simulator), purged, Status.UNKNOWN)
    assert "purged" in str(lost.reason)
    simulator.remove("jobs")
    simulator.deploy(jobs())
    assert until(make(simulator), removed, Status.UNKNOWN).reason == lost.reason
    assert engine.state(done) == state
    for each in (engine, make(simulator)):
        assert each.log(done, ALL, 0, None) == page
        assert whole_log(each, removed).total > 3
        assert each.lost(removed)
        with pytest.raises(Conflict, match="no trace"):
            each.cancel(removed)
        with pytest.raises(Conflict):
            each.resume(removed)


def test_references_of_something_else(engine: YorcEngine, simulator: Simulator) -> None:
    reference = start(engine, "jobs@plain")
    for wrong in ("", "no reference", "a@b", "a@b@c@d", "../x@b@c", "a@b@c?d#e/f"):
        assert engine.state(wrong).status is Status.UNKNOWN
    task = reference.rpartition("@")[2]
    other = f"{DEMO}hello@{task}"  # a task of another deployment
    assert engine.state(other).status is Status.UNKNOWN
    with pytest.raises(Conflict):
        engine.cancel(other)
    assert engine.state(reference).status in (Status.PENDING, Status.RUNNING)
    assert wait(engine, other, 0, 60)


def test_status_costs_no_calls_while_events_come(engine: YorcEngine, simulator: Simulator) -> None:
    reference = start(engine, "jobs@plain")
    eventually(lambda: StepStatus.RUNNING in {step.status for step in engine.state(reference).steps})
    time.sleep(1)
    engine.state(reference)
    before = made(simulator, f"tasks/{reference.rpartition('@')[2]}")
    with ThreadPoolExecutor(16) as pool:
        assert {state.status for state in pool.map(engine.state, [reference] * 500)} == {Status.RUNNING}
    assert made(simulator, f"tasks/{reference.rpartition('@')[2]}") - before <= 4


def test_without_events_one_poll_serves_all(simulator: Simulator, make: Make) -> None:
    simulator.fault(Fault("close", "GET /events"))
    engine = make(simulator)
    reference = start(engine, f"{DEMO}wait_long", seconds=60)
    until(engine, reference, Status.RUNNING)
    before = made(simulator, "/tasks/")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(engine.state, [reference] * 500))
    assert made(simulator, "/tasks/") - before < 20
    simulator.hurry(reference)
    assert until(engine, reference, Status.SUCCEEDED).ended_at
    eventually(lambda: [check.status for check in engine.checks()[:2]] == ["ok", "degraded"])
