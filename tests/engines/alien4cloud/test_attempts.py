"""Executions that are resumed, several times and from several processes; and whose outputs are the deployment's."""

from __future__ import annotations

import pytest

from hpcwaas.core.models import Status, StepStatus
from hpcwaas.errors import Conflict
from tests.engines.alien4cloud.helpers import ENGINE, Make, start
from tests.engines.orchestrated import until
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Workflow
from tests.simulators.alien4cloud_worlds import many
from tests.waiting import until as eventually

WORKFLOW = "App0000@env-0000@w"


@pytest.mark.parametrize("events", [True, False])
def test_a_resumed_execution_that_soon_fails_again(make: Make, events: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not events:
        monkeypatch.setattr(f"{ENGINE}.tracking._FRESH_EVENTS", 0.3)
    with Simulator(many(1, Workflow(name="w", duration=60, outcome="FAILED", failures=3)), lag=0.1) as simulator:
        engine, other = make(simulator), make(simulator)
        if not events:
            simulator.lose_events()
        reference = start(engine, WORKFLOW)
        simulator.hurry(reference)
        first = until(engine, reference, Status.FAILED)
        until(other, reference, Status.FAILED)
        attempts = [first]
        for _ in range(2):
            engine.resume(reference)
            assert engine.state(reference).status is Status.RUNNING
            simulator.hurry(reference)
            attempts.append(until(engine, reference, Status.FAILED))
            assert until(other, reference, Status.FAILED).ended_at in [it.ended_at for it in attempts]
        starts, ends = [it.started_at for it in attempts], [it.ended_at for it in attempts]
        assert len(set(starts)) == len(set(ends)) == 3
        assert starts == sorted(starts)  # type: ignore[type-var]
        engine.resume(reference)
        simulator.hurry(reference)
        state = until(engine, reference, Status.SUCCEEDED)
        assert [step.status for step in state.steps] == [StepStatus.SUCCEEDED]
        assert state.outputs == {"result": "result-of-w"}
        with pytest.raises(Conflict):
            engine.resume(reference)
        eventually(lambda: other.state(reference).outputs == state.outputs)


def test_outputs_are_those_of_the_only_execution_of_a_deployment(make: Make) -> None:
    with Simulator(many(1, Workflow(name="w", duration=60)), lag=0.1) as simulator:
        engine = make(simulator)
        first, second = start(engine, WORKFLOW), start(engine, WORKFLOW)
        for reference in (first, second):
            simulator.hurry(reference)
            state = until(engine, reference, Status.SUCCEEDED)
            assert state.outputs == {}
            assert "another one ran in the same environment meanwhile" in str(state.reason)
        third = start(engine, WORKFLOW)
        simulator.hurry(third)
        alone = until(engine, third, Status.SUCCEEDED)
        assert (alone.outputs, alone.reason) == ({"result": "result-of-w"}, None)


def test_an_execution_that_never_ended_keeps_outputs_from_being_told(make: Make) -> None:
    with Simulator(many(1, Workflow(name="w", duration=0.8)), lag=0.1) as simulator:
        engine = make(simulator)
        until(engine, start(engine, WORKFLOW), Status.SUCCEEDED)
        (stuck,) = simulator.executions.all.values()
        stuck.status, stuck.ended = "RUNNING", None
        assert until(engine, start(engine, WORKFLOW), Status.SUCCEEDED).outputs == {}
