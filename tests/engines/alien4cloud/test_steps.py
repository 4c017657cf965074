"""What is shown of steps of which Alien4Cloud says nothing, or what isn't so."""

from __future__ import annotations

import time

import pytest

from hpcwaas.core.models import ExecutionState, Status, StepStatus
from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from tests.engines.alien4cloud.helpers import ENGINE, Make, start
from tests.engines.orchestrated import until
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Step, Workflow
from tests.simulators.alien4cloud_worlds import many

STEPS = (
    Step("greeting", state="starting"),
    Step("greet", ("greeting",)),
    Step("greeted", ("greet",), state="started"),
    Step("compute", ("greeted",)),
    Step("computed", ("compute",), state="computed"),
    Step("failed", after_failure=("compute",), state="error"),
)
WORKFLOW = "App0000@env-0000@w"


def statuses(state: ExecutionState) -> dict[str, str]:
    return {step.name: step.status.value for step in state.steps}


def wait_for(engine: Alien4CloudEngine, reference: str, step: str, status: StepStatus) -> ExecutionState:
    deadline = time.monotonic() + 60
    while statuses(state := engine.state(reference)).get(step) != status:
        assert time.monotonic() < deadline, state
        time.sleep(0.02)
    return state


def test_steps_that_only_set_a_state_are_told_by_their_neighbours(make: Make) -> None:
    with Simulator(many(1, Workflow(name="w", steps=STEPS, duration=6)), lag=0.1) as simulator:
        engine = make(simulator)
        reference = start(engine, WORKFLOW)
        running = statuses(wait_for(engine, reference, "greet", StepStatus.RUNNING))
        assert running == {
            "greeting": "SUCCEEDED",
            "greet": "RUNNING",
            "greeted": "PENDING",
            "compute": "PENDING",
            "computed": "PENDING",
            "failed": "PENDING",
        }
        assert statuses(wait_for(engine, reference, "compute", StepStatus.RUNNING))["greeted"] == "SUCCEEDED"
        simulator.hurry(reference)
        state = until(engine, reference, Status.SUCCEEDED)
        assert statuses(state) == dict.fromkeys(running, "SUCCEEDED") | {"failed": "SKIPPED"}


def test_they_are_told_when_another_step_has_failed(make: Make) -> None:
    world = many(1, Workflow(name="w", steps=STEPS, duration=0.6, outcome="FAILED"))
    with Simulator(world, lag=0.1) as simulator:
        engine = make(simulator)
        state = until(engine, start(engine, WORKFLOW), Status.FAILED)
        assert state.reason == "The step `compute` failed; the log says more."
        assert statuses(state) == {
            "greeting": "SUCCEEDED",
            "greet": "SUCCEEDED",
            "greeted": "SUCCEEDED",
            "compute": "FAILED",
            "computed": "SKIPPED",
            "failed": "SUCCEEDED",
        }


@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize("told", ["CANCELLED", "FAILED"])
def test_a_cancelled_step_has_not_failed(make: Make, events: bool, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{ENGINE}.tracking._FRESH_EVENTS", 0.3)
    workflow = Workflow(name="w", steps=STEPS, duration=8.0, cancelled_as=told)
    with Simulator(many(1, workflow), lag=0.1, cancel_time=0.4) as simulator:
        engine = make(simulator)
        if not events:
            simulator.lose_events()
        reference = start(engine, WORKFLOW)
        wait_for(engine, reference, "greet", StepStatus.RUNNING)
        engine.cancel(reference)
        seen = set()
        while (state := engine.state(reference)).status is not Status.CANCELLED:
            seen.add(statuses(state)["greet"])
            time.sleep(0.02)
        assert seen <= {"RUNNING", "CANCELLED"}
        assert statuses(state) == {
            "greeting": "SUCCEEDED",
            "greet": "CANCELLED",
            "greeted": "SKIPPED",
            "compute": "SKIPPED",
            "computed": "SKIPPED",
            "failed": "SKIPPED",
        }
        assert state.reason is None
