from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hpcwaas.core.models import Level, Status, StepDeclaration, StepStatus
from hpcwaas.engines.cwl.run.channel import Line, interpret
from hpcwaas.engines.cwl.run.steps import Diagnosis, StepTracker, finish

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def track(messages: list[str], *names: str) -> StepTracker:
    tracker = StepTracker([StepDeclaration(name) for name in names])
    for number, message in enumerate(messages):
        tracker.observe(message, NOW + timedelta(seconds=number))
    return tracker


def test_a_scatter_starts_once_and_ends_once() -> None:
    tracker = track(
        ["[step a] start", "[step a] start", "[job a] completed success", "[step a] completed success"], "a", "b"
    )
    first, second = tracker.steps
    assert first.status is StepStatus.SUCCEEDED
    assert first.started_at == NOW
    assert first.ended_at == NOW + timedelta(seconds=3)
    assert second.status is StepStatus.PENDING


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        (["[step a] will be skipped", "[step a] completed skipped"], StepStatus.SKIPPED),
        (["[step a] start", "[step a] completed skipped"], StepStatus.SUCCEEDED),
        (["[step a] start", "[step a] completed permanentFail"], StepStatus.FAILED),
        (["[step a] Cannot make job: no input"], StepStatus.FAILED),
        (["[step a_2] start", "[step inner] start", "x [step a] start"], StepStatus.PENDING),
    ],
)
def test_messages_move_steps(messages: list[str], status: StepStatus) -> None:
    assert track(messages, "a", "b").steps[0].status is status


def test_a_lone_tool_is_a_step() -> None:
    assert track(["[job tool] /x$ true"], "tool").steps[0].status is StepStatus.RUNNING


def test_nothing_goes_on_after_the_end() -> None:
    steps = track(["[step a] start", "[step b] start", "[step b] completed success"], "a", "b", "c").steps
    words = {status: [step.status.value for step in finish(steps, status, NOW)] for status in Status if status.over}
    assert words == {
        Status.SUCCEEDED: ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED"],
        Status.FAILED: ["FAILED", "SUCCEEDED", "SKIPPED"],
        Status.CANCELLED: ["CANCELLED", "SUCCEEDED", "CANCELLED"],
    }


def reason(*lines: tuple[Level, str, bool], step: str | None = None, status: int = 1) -> str:
    diagnosis = Diagnosis()
    for level, text, message in lines:
        diagnosis.observe(Line(level, text, message))
    return diagnosis.reason(step, status)


def test_reasons() -> None:
    tool = (Level.INFO, "no convergence", False)
    assert (
        reason(tool, (Level.WARN, "[job a] exited with status: 3", True), (Level.INFO, "later", False), step="a")
        == "Step a failed: exited with status 3: no convergence"
    )
    assert reason((Level.WARN, "[job a] was terminated by signal: SIGKILL", True)) == (
        "The tool failed: was terminated by signal SIGKILL"
    )
    assert reason((Level.ERROR, "[job a] Job error:\nDid not find output file", True), step="a") == (
        "Step a failed: Did not find output file"
    )
    assert reason((Level.ERROR, "[step a] Cannot make job: no\n  memory", True), step="a") == (
        "Step a failed: no\n  memory"
    )
    assert reason((Level.ERROR, "Workflow error, try again with --debug for more information:\nbad", True)) == "bad"
    assert reason((Level.ERROR, "Input object failed validation:\n* x", True)) == "Input object failed validation:\n* x"
    assert reason(tool, status=7) == "The runner exited with status 7: no convergence"
    assert reason(status=-9) == "The runner was ended by signal 9."
    assert len(reason((Level.ERROR, "x" * 10_000, True))) < 1100


WORKER = "\t[2026-11-28T07:43:33+0000] [MainThread] "
"""Begins messages in what a worker of Toil's leaves."""
IN_THE_END = (
    "[2026-11-28T07:43:38+0000] [MainThread] [E] [root] The job store './jobstore' contains 1 failed jobs: 'CWLJob'"
)
REQUIRED = "\tcwltool.errors.UnsupportedRequirement: Docker is required to run this tool:"
HINTED = (
    "\tcwl_utils.errors.WorkflowException: Docker is not available for this tool, try --no-container to disable "
    "Docker, or install a user space Docker replacement like uDocker with --user-space-docker-cmd.:"
)
NO_CONTAINER = "A tool asks for a container (DockerRequirement), and none could be started: "


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [
                f"{WORKER}[W] [cwltool] [job boxed.cwl] exited with status: 125",
                f"{WORKER}[E] [toil.cwl.cwltoil] Failed command standard error:",
                "\tTrying to start",
                "\tno such image",
                "\t",
                f"{WORKER}[C] [toil.worker] Worker crashed with traceback:",
                "\tcwl_utils.errors.WorkflowException: permanentFail",
            ],
            "The tool failed: exited with status 125: no such image",
        ),
        (
            [
                f"{WORKER}[C] [toil.worker] Worker crashed with traceback:",
                f"{REQUIRED} Command '['docker', 'pull', 'boxed:1']' returned non-zero exit status 1.",
            ],
            f"{NO_CONTAINER}`docker pull boxed:1` failed with status 1. Ask",
        ),
        ([HINTED, "\t"], f"{NO_CONTAINER}the runner doesn't say why. Ask"),
        (["Docker is required to run this tool: as a tool says"], "The job store './jobstore' contains 1 failed jobs"),
    ],
)
def test_toil_tells_in_the_log_of_its_workers_why_tools_failed(lines: list[str], expected: str) -> None:
    diagnosis = Diagnosis()
    for text in [*lines, *lines, IN_THE_END]:  # it tries again
        diagnosis.observe(interpret(Line(Level.INFO, text, message=False)))
    assert diagnosis.reason(None, 1).removeprefix("[root] ").startswith(expected)
