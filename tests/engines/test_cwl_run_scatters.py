"""How far scattered steps have come, as it is told while real workflows run."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import cwltool.workflow_job
import pytest

from hpcwaas.core.models import ExecutionState, Status, StepDeclaration, StepStatus
from hpcwaas.core.step_models import Scatter
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.run import scatters
from hpcwaas.engines.cwl.run.scatters import Scatters
from tests.engines.cwl_bench import DATA, Bench
from tests.waiting import until

STEPS = ("list", "made", "some", "none", "empty", "expressions", "nested", "flat", "inner", "once")


def counts(state: ExecutionState) -> dict[str, Scatter | None]:
    return {step.name: step.scatter for step in state.steps}


@pytest.fixture
def gated(bench: Bench) -> tuple[str, Path]:
    """An execution of which one run of the step `made` waits for a file, and that file."""
    reference = uuid.uuid4().hex
    gate = bench.directory / "executions" / reference / "work" / "gate"
    order = {"numbers": [1, 2, 3], "letters": ["a", "b"], "wait": str(gate)}
    declared = tuple(map(StepDeclaration, STEPS))
    bench.begin(Job(DATA / "scatters.cwl", None, order, (), (), declared), reference)
    return reference, gate


def test_runs_are_counted_while_they_go_on_and_kept(bench: Bench, gated: tuple[str, Path]) -> None:
    reference, gate = gated
    others = {
        "list": None,
        "some": Scatter(3, done=3, skipped=1),
        "none": Scatter(3, done=3, skipped=3),
        "empty": Scatter(0),
        "expressions": Scatter(3, done=3),
        "nested": Scatter(6, done=6),
        "flat": Scatter(6, done=6),
        "inner": Scatter(3, done=3),
        "once": None,
    }

    def waits() -> bool:
        return counts(bench.executions.state(reference)) == {**others, "made": Scatter(3, done=2, running=1)}

    until(waits, 90)
    made = bench.executions.state(reference).steps[1]
    assert (made.name, made.status) == ("made", StepStatus.RUNNING)
    gate.touch()
    state = bench.end(reference)

    assert state.status is Status.SUCCEEDED
    assert counts(state) == {**others, "made": Scatter(3, done=3)}


def test_of_what_is_cancelled_nothing_runs_and_what_was_done_stays(bench: Bench, gated: tuple[str, Path]) -> None:
    reference, _ = gated
    until(lambda: counts(bench.executions.state(reference))["made"] == Scatter(3, done=2, running=1), 90)

    bench.executions.cancel(reference)
    state = bench.end(reference)

    assert state.status is Status.CANCELLED
    assert counts(state)["made"] == Scatter(3, done=2)


def test_failed_runs_are_counted(bench: Bench) -> None:
    state = bench.end(bench.start("scatter-fails", {"codes": [0, 1, 0, 2]}, "work"))

    assert state.status is Status.FAILED
    [step] = state.steps
    assert step.status is StepStatus.FAILED
    assert step.scatter
    assert (step.scatter.total, step.scatter.running) == (4, 0)
    assert step.scatter.failed in (1, 2)  # others go on beside the first, and none begins after it
    assert step.scatter.failed < step.scatter.done <= 4


def test_runs_begin_before_all_are_made_and_few_after_a_failure(bench: Bench) -> None:
    reference = bench.start("scatter-fails", {"codes": [0] * 100 + [1] + [0] * 200}, "work")
    [step] = bench.end(reference).steps

    log = bench.text(reference)
    assert log.index("[job work] completed success") < log.rindex("[step work] start")
    assert step.scatter
    assert (step.scatter.total, step.scatter.failed) == (301, 1)
    assert 100 < step.scatter.done < 250


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scatters]:
    """Makes a watcher, of which cwltool is free again after the test."""
    for name in scatters._METHODS:
        monkeypatch.setattr(cwltool.workflow_job, name, getattr(cwltool.workflow_job, name))
    return Scatters


def test_thousands_of_runs_a_second_are_told_now_and_then(watched: Callable[..., Scatters]) -> None:
    told: list[tuple[str, Scatter]] = []
    now = 0.0
    watcher = watched(["a"], lambda *news: told.append(news), lambda: now)

    for done in range(10_001):
        now = done / 10_000
        watcher.change("a", Scatter(10_000, done=done))
        watcher.tell()

    assert [scatter.done for _, scatter in told] == [0, 5000, 10_000]
