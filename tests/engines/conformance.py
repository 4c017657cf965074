"""What every engine has to do, as tests. A subclass gives the fixture `world` for one engine and inherits them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from hpcwaas.core.endings import Part
from hpcwaas.core.models import ExecutionState, Level, LogPage, Status, StepStatus, StoredUpload, WorkflowDetails
from hpcwaas.core.outputs import OutputFile, OutputValue
from hpcwaas.core.ports.engine import Engine, Prepared, RemovingEngine
from hpcwaas.errors import InvalidInputs, NotFound
from tests.waiting import pause, until, wait

ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR


@dataclass(frozen=True)
class World:
    """An engine with workflows to try.

    Attributes:
        quick: id of one that succeeds within some seconds and logs something.
        quick_inputs: inputs for it; without any one of `required` they are wrong.
        slow: id of one that runs for a minute and logs something every second; takes no inputs or has defaults.
        failing: id of one that fails, the same.
        output: an output of `quick`.
        within: seconds in which `quick` ends.
        others: threads that were there before the engine.
    """

    engine: Engine
    quick: str
    quick_inputs: Mapping[str, Any]
    required: frozenset[str]
    slow: str
    failing: str
    output: str | None
    slow_inputs: Mapping[str, Any] = field(default_factory=dict)
    within: float = 90
    others: frozenset[threading.Thread] = frozenset()

    def start(self, workflow_id: str, inputs: Mapping[str, Any] | None = None) -> str:
        """Starts an execution as the core does."""
        details = self.engine.workflow(workflow_id)
        return self.engine.start(str(uuid4()), details, self.prepared(details, inputs or {}))

    def prepared(self, details: WorkflowDetails, inputs: Mapping[str, Any]) -> Prepared:
        """Inputs as they are started with."""
        return self.engine.prepare(details, inputs, no_uploads)

    def ended(self, reference: str) -> ExecutionState:
        """Waits for the end of an execution."""
        begun = time.monotonic()
        while time.monotonic() < begun + self.within:
            state = self.engine.state(reference)
            if state.status.over:
                return state
            pause(begun)
        raise AssertionError(f"still {state}")

    def whole_log(self, reference: str) -> LogPage:
        """Waits for all of an execution's log."""
        deadline = time.monotonic() + self.within
        while not (page := self.engine.log(reference, ALL, 0, None)).over:
            assert time.monotonic() < deadline, page
            time.sleep(0.05)
        return page

    def running(self, reference: str) -> None:
        """Waits until an execution runs and has logged something."""
        deadline = time.monotonic() + self.within
        while time.monotonic() < deadline and not self.engine.log(reference, ALL, 0, 1).total:
            wait(self.engine, reference, ALL, 0, 1)
        while time.monotonic() < deadline and self.engine.state(reference).status is Status.PENDING:
            time.sleep(0.05)
        assert self.engine.state(reference).status is Status.RUNNING


def no_uploads(_identifier: str) -> StoredUpload | None:
    """The uploads of a user who has none."""
    return None


class EngineConformance:
    """The tests. `world` comes from the subclass."""

    def test_catalogue_is_stable_and_its_details_agree(self, world: World) -> None:
        listed = world.engine.workflows()
        assert listed == world.engine.workflows()
        assert len({workflow.id for workflow in listed}) == len(listed)
        assert {world.quick, world.slow, world.failing} <= {workflow.id for workflow in listed}
        for workflow in listed:
            assert workflow.engine == world.engine.name
            details = world.engine.workflow(workflow.id)
            assert details.workflow == workflow
            assert details.inputs["type"] == "object"
            assert set(details.inputs.get("required", ())) <= details.inputs["properties"].keys()

    @pytest.mark.parametrize("unknown", ["nope", "", "a@b@c", "../x", "a/b", "\x00", "x" * 5000, "é@ü@ö"])
    def test_unknown_workflows(self, world: World, unknown: str) -> None:
        with pytest.raises(NotFound):
            world.engine.workflow(unknown)

    def test_wrong_inputs_are_all_named(self, world: World) -> None:
        details = world.engine.workflow(world.quick)
        with pytest.raises(InvalidInputs) as caught:
            world.engine.prepare(details, {"surely not declared": 1}, no_uploads)
        named = {problem.input for problem in caught.value.problems}
        assert named == {"surely not declared"} | world.required

    def test_life_of_an_execution(self, world: World) -> None:
        reference = world.start(world.quick, world.quick_inputs)
        assert world.engine.state(reference).status in (Status.PENDING, Status.RUNNING, Status.SUCCEEDED)
        state = world.ended(reference)
        assert state.status is Status.SUCCEEDED, (state.reason, world.engine.log(reference, ALL, 0, None).entries)
        assert state.started_at is not None
        assert state.ended_at is not None
        assert state.started_at <= state.ended_at
        assert state.steps
        assert {step.status for step in state.steps} <= {StepStatus.SUCCEEDED, StepStatus.SKIPPED}
        assert world.engine.state(reference) == state
        if world.output is not None:
            assert world.output in (state.outputs or {})
            output = world.engine.output(reference, world.output, None, "zip")
            assert isinstance(output, OutputFile | OutputValue)
            if isinstance(output, OutputFile):
                with output.stream as stream:
                    assert len(stream.read()) == output.size
        for path in ("nope", "0", ".."):
            with pytest.raises(NotFound):
                world.engine.output(reference, "surely no output", path, "zip")

    def test_a_start_is_done_once_however_often_it_is_asked_for(self, world: World) -> None:
        details = world.engine.workflow(world.quick)
        prepared = world.prepared(details, world.quick_inputs)
        execution_id = str(uuid4())
        first = world.engine.start(execution_id, details, prepared)
        world.ended(first)
        total = world.whole_log(first).total
        assert world.engine.start(execution_id, details, prepared) == first
        time.sleep(0.5)
        assert world.engine.log(first, ALL, 0, None).total == total

    def test_log_is_complete_in_order_and_stable(self, world: World) -> None:
        reference = world.start(world.quick, world.quick_inputs)
        world.ended(reference)
        everything = world.whole_log(reference)
        assert everything.total == len(everything.entries) > 0
        assert [entry.index for entry in everything.entries] == list(range(everything.total))
        pieces = [world.engine.log(reference, ALL, start, 2).entries for start in range(0, everything.total, 2)]
        assert [entry for piece in pieces for entry in piece] == list(everything.entries)
        for levels in (Level.INFO, Level.WARN | Level.ERROR, Level.DEBUG):
            page = world.engine.log(reference, levels, 0, None)
            assert list(page.entries) == [entry for entry in everything.entries if entry.level in levels]
            assert page.total == len(page.entries)
        assert world.engine.log(reference, ALL, everything.total + 5, None).entries == ()
        assert world.engine.log(reference, ALL, 0, 0).entries == ()

    def test_waiting_ends_with_news_with_time_and_with_the_end(self, world: World) -> None:
        reference = world.start(world.slow, world.slow_inputs)
        try:
            world.running(reference)
            assert not wait(world.engine, reference, ALL, 10**9, 0.5)
            total = world.engine.log(reference, ALL, 0, 0).total
            assert wait(world.engine, reference, ALL, total, 60)
            assert world.engine.log(reference, ALL, 0, 0).total > total
            with ThreadPoolExecutor(20) as pool:
                followers = [pool.submit(wait, world.engine, reference, ALL, 10**9, 60) for _ in range(20)]
                world.engine.cancel(reference)
                assert all(follower.result() for follower in followers)
        finally:
            if not world.engine.state(reference).status.over:
                world.engine.cancel(reference)
        assert wait(world.engine, reference, ALL, 10**9, 60)

    def test_cancel(self, world: World) -> None:
        reference = world.start(world.slow, world.slow_inputs)
        world.running(reference)
        world.engine.cancel(reference)
        assert world.engine.state(reference).status in (Status.CANCELLING, Status.CANCELLED)
        state = world.ended(reference)
        assert state.status is Status.CANCELLED
        assert StepStatus.RUNNING not in {step.status for step in state.steps}
        world.engine.cancel(reference)

    def test_failure_says_why(self, world: World) -> None:
        state = world.ended(world.start(world.failing))
        assert state.status is Status.FAILED
        assert state.reason
        assert "Traceback" not in state.reason
        assert StepStatus.FAILED in {step.status for step in state.steps}

    def test_an_ended_one_can_be_removed_and_that_is_harmless_when_repeated(self, world: World) -> None:
        reference = world.start(world.failing)
        world.ended(reference)
        world.whole_log(reference)
        assert isinstance(world.engine, RemovingEngine)
        for part in (Part.LOG, Part.OUTPUTS, Part.ALL, Part.ALL):
            until(lambda part=part: world.engine.remove(reference, part).waits_for is None)  # type: ignore[misc]
        assert world.engine.remove(reference, Part.ALL, give_up=True).waits_for is None

    def test_unknown_reference(self, world: World) -> None:
        assert world.engine.state(str(uuid4())).status is Status.UNKNOWN

    def test_checks_are_quick(self, world: World) -> None:
        started = time.monotonic()
        checks = world.engine.checks()
        assert time.monotonic() - started < 30
        assert checks
        assert {check.status for check in checks} <= {"ok", "degraded", "failed"}

    def test_many_threads(self, world: World) -> None:
        with ThreadPoolExecutor(8) as pool:
            references = list(pool.map(lambda _: world.start(world.quick, world.quick_inputs), range(8)))
            assert {state.status for state in pool.map(world.ended, references)} == {Status.SUCCEEDED}
        assert len(set(references)) == 8

    def test_closing_leaves_no_thread(self, world: World) -> None:
        world.engine.workflows()
        world.engine.close()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and set(threading.enumerate()) - world.others:
            time.sleep(0.05)
        assert set(threading.enumerate()) - world.others == set()
