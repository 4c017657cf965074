"""Executions from the catalogue to their outputs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from hpcwaas.core.models import Level, LogPage, Status, StepStatus
from hpcwaas.core.outputs import OutputValue
from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.engines.alien4cloud.mapper import Event
from hpcwaas.engines.alien4cloud.references import parse_reference
from hpcwaas.errors import Conflict, NotFound, Unavailable
from tests.engines.alien4cloud.helpers import ENGINE, RUN, Make, start
from tests.engines.orchestrated import ALL, made, until, wait, whole_log
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Step, Workflow
from tests.simulators.alien4cloud_worlds import many


def test_an_execution_from_the_catalogue_to_its_outputs(engine: Alien4CloudEngine) -> None:
    assert engine.workflows()[0].id == f"{RUN}exec_job"
    reference = start(engine, user_id="alice", num="3")
    # Alien4Cloud has taken it, though it isn't on record there yet: scripts wait while it is RUNNING.
    assert engine.state(reference).status is Status.RUNNING
    assert [step.status for step in engine.state(reference).steps] == [StepStatus.PENDING]
    state = until(engine, reference, Status.SUCCEEDED)
    assert state.started_at is not None
    assert state.ended_at is not None
    assert state.ended_at > state.started_at
    (step,) = state.steps
    assert (step.name, step.status) == ("run", StepStatus.SUCCEEDED)
    assert state.outputs == {"result": "result-of-exec_job"}
    page = whole_log(engine, reference)
    assert [entry.index for entry in page.entries] == list(range(5))
    assert '{"user_id": "alice", "debug": "false", "num": "3"}' in page.entries[1].content
    assert engine.log(reference, Level.DEBUG, 0, None).entries[0].index == 2
    assert engine.output(reference, "result", None, "zip") == OutputValue("result-of-exec_job")
    with pytest.raises(NotFound):
        engine.output(reference, "nope", None, "zip")
    assert engine.state(reference) == state


def test_a_failed_execution_says_where_and_can_be_resumed(engine: Alien4CloudEngine) -> None:
    reference = start(engine, f"{RUN}fail_job")
    with pytest.raises(Conflict, match="Only a failed"):
        engine.resume(reference)
    state = until(engine, reference, Status.FAILED)
    assert state.reason == "The step `run` failed; the log says more."
    assert state.steps[0].status is StepStatus.FAILED
    assert state.outputs == {}
    lines = whole_log(engine, reference).total
    engine.resume(reference)
    assert engine.state(reference).status is Status.RUNNING
    assert not engine.log(reference, ALL, 0, None).over
    until(engine, reference, Status.SUCCEEDED)
    assert whole_log(engine, reference).total > lines


def test_what_another_process_resumes_goes_on_here_too(
    engine: Alien4CloudEngine, simulator: Simulator, make: Make
) -> None:
    reference, other = start(engine, f"{RUN}fail_job"), make(simulator)
    for each in (engine, other):
        until(each, reference, Status.FAILED)
    lines = whole_log(other, reference).total
    engine.resume(reference)
    until(other, reference, Status.RUNNING, Status.SUCCEEDED)
    state = until(other, reference, Status.SUCCEEDED)
    assert state.steps[0].status is StepStatus.SUCCEEDED
    assert state.reason is None
    assert whole_log(other, reference).total > lines


def test_a_failure_is_shown_while_alien4cloud_is_down(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    reference = start(engine, f"{RUN}fail_job")
    state = until(engine, reference, Status.FAILED)
    simulator.down()
    time.sleep(1.2)
    assert engine.state(reference) == state
    simulator.up()


def test_cancel(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    simulator.executions.cancel_time = 600
    reference = start(engine, f"{RUN}slow_job")
    until(engine, reference, Status.RUNNING)
    engine.cancel(reference)
    assert engine.state(reference).status is Status.CANCELLING
    engine.cancel(reference)
    simulator.hurry(reference)
    assert until(engine, reference, Status.CANCELLED).steps[0].status is StepStatus.SKIPPED
    engine.cancel(reference)
    other = start(engine, f"{RUN}slow_job")
    until(engine, other, Status.RUNNING)
    simulator.orchestrator_down()
    with pytest.raises(Unavailable, match="orchestrator"):
        engine.cancel(other)
    simulator.heal()
    simulator.undeploy("5de4279f-d629-47ca-ac92-586a8cc534fd")
    with pytest.raises(Conflict, match="isn't deployed any more"):
        engine.cancel(other)


def test_unknown_ids(engine: Alien4CloudEngine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for workflow in (
        "",
        "a",
        "a@b",
        "@@",
        "a@b@c@d",
        "../x@b@c",
        "..@..@c",
        f"{RUN}uninstall",
        f"{RUN}nope",
        "a\n@b@c",
    ):
        with pytest.raises(NotFound, match="no such workflow"):
            engine.workflow(workflow)
    # the environment of another application
    with pytest.raises(NotFound, match="no such workflow"):
        engine.workflow("RecApp2@5de4279f-d629-47ca-ac92-586a8cc534fd@exec_job")
    assert engine.state("no reference").status is Status.UNKNOWN
    assert engine.state("a@b@c?d#e/f").status is Status.RUNNING  # may have just been started
    assert made(simulator, "GET /rest/latest/executions/c%3Fd%23e%2Ff") == 1
    monkeypatch.setattr(f"{ENGINE}.tracking._GRACE", 0)
    assert engine.state("a@b@other").status is Status.UNKNOWN
    assert engine.log("a@b@other", ALL, 0, None) == LogPage((), 0, True)
    assert wait(engine, "a@b@other", 0, 60)


def test_an_execution_that_was_started_elsewhere(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    execution = simulator.remember("5de4279f-d629-47ca-ac92-586a8cc534fd", "fail_job")
    reference = f"{RUN}{execution}"
    assert engine.state(reference).status is Status.FAILED
    simulator.forget_calls()
    page = engine.log(reference, ALL, 0, None)
    assert (page.total, page.over) == (4, True)
    assert simulator.call_count() == 1


def test_steps_of_an_execution_that_is_not_the_last_of_its_deployment(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ENGINE}.tracking._FRESH_EVENTS", 0.5)
    workflow = Workflow(
        name="w", duration=60, steps=(Step("second", ("first",), operation="two"), Step("first", operation="one"))
    )
    with Simulator(many(1, workflow), lag=0.1) as simulator:
        engine = make(simulator)
        reference = start(engine, "App0000@env-0000@w")
        simulator.launch("env-0000", "w")
        simulator.lose_events()
        until(engine, reference, Status.RUNNING)
        simulator.remember("env-0000", "w", ago=0)
        simulator.hurry(reference)
        state = until(engine, reference, Status.SUCCEEDED)
        assert [(step.name, step.status) for step in state.steps] == [
            ("first", StepStatus.SUCCEEDED),
            ("second", StepStatus.SUCCEEDED),
        ]


def test_status_costs_no_calls_while_events_come(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    reference = start(engine, f"{RUN}slow_job")
    until(engine, reference, Status.RUNNING)
    engine.state(reference)
    time.sleep(0.3)
    before = simulator.call_count()
    with ThreadPoolExecutor(16) as pool:
        assert {state.status for state in pool.map(engine.state, [reference] * 500)} == {Status.RUNNING}
    assert simulator.call_count() - before < 20


def test_without_events_one_poll_serves_all(simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{ENGINE}.events._PATH", "/nowhere")
    engine = make(simulator)
    reference = start(engine)
    until(engine, reference, Status.RUNNING)
    before = made(simulator, "execution")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(engine.state, [reference] * 500))
    assert made(simulator, "execution") - before < 50
    assert until(engine, reference, Status.SUCCEEDED).outputs == {"result": "result-of-exec_job"}
    assert {check.name: check.status for check in engine.checks()} == {
        "alien4cloud": "ok",
        "alien4cloud-events": "degraded",
    }


def test_an_event_that_comes_before_the_record(engine: Alien4CloudEngine) -> None:
    assert engine.state("a@b@early").status is Status.RUNNING
    engine._executions.take(Event("early", datetime.now(UTC), Status.RUNNING))
    engine._executions.refresh(parse_reference("a@b@early"))
    assert engine.state("a@b@early").status is Status.RUNNING
    assert not engine.log("a@b@early", ALL, 0, None).over
