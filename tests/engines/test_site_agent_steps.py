"""What the agent of a site makes of what Toil says, as Toil said it in front of a Slurm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.sites.agent.diagnosis import Diagnosis
from hpcwaas.engines.cwl.sites.agent.log import interpret
from hpcwaas.engines.cwl.sites.agent.runner import _seconds
from hpcwaas.engines.cwl.sites.agent.steps import Steps, finished

DATA = Path(__file__).parents[1] / "data" / "sites"
SWEEP = (
    {"name": "simulate", "label": "Simulate", "processes": ["simulate.cwl"]},
    {"name": "tabulate", "label": None, "processes": ["tabulate.cwl"]},
    {"name": "draw", "label": None, "processes": ["plot.cwl"]},
)
OUTER: Sequence[dict[str, Any]] = (
    {"name": "many", "label": None, "processes": ["inner.cwl", "tool.cwl"]},
    {"name": "expr", "label": None, "processes": []},
    {"name": "maybe", "label": None, "processes": ["tool.cwl"]},
    {"name": "after", "label": None, "processes": ["tool.cwl"]},
)


def follow(steps: Steps, name: str) -> list[dict[str, str]]:
    """How the steps stand after each message that changes one."""
    seen: list[dict[str, str]] = []
    for line in (DATA / name).read_text().splitlines():
        if steps.toil(line.split("\t")):
            now = statuses(steps)
            if not seen or seen[-1] != now:
                seen.append(now)
    return seen


def statuses(steps: Steps) -> dict[str, str]:
    return {step["name"]: step["status"] for step in steps.all()}


def test_a_scatter_is_one_step_with_many_jobs() -> None:
    steps = Steps(SWEEP)

    seen = follow(steps, "toil-scatter.messages")

    assert [tuple(each.values()) for each in seen] == [
        ("RUNNING", "PENDING", "PENDING"),
        ("SUCCEEDED", "PENDING", "PENDING"),
        ("SUCCEEDED", "RUNNING", "PENDING"),
        ("SUCCEEDED", "RUNNING", "RUNNING"),
        ("SUCCEEDED", "SUCCEEDED", "RUNNING"),
        ("SUCCEEDED", "SUCCEEDED", "SUCCEEDED"),
    ]
    assert [(job["id"], job["step"]) for job in steps.jobs] == [
        *((str(number), "simulate") for number in range(17, 23)),
        ("23", "tabulate"),
        ("24", "draw"),
    ]


def test_what_is_known_of_a_scatter_only_by_its_tool_is_not_guessed() -> None:
    steps = Steps([{"name": step["name"], "label": None} for step in SWEEP])

    follow(steps, "toil-scatter.messages")

    assert statuses(steps) == {"simulate": "PENDING", "tabulate": "SUCCEEDED", "draw": "SUCCEEDED"}
    assert {job["step"] for job in steps.jobs} == {None, "tabulate", "draw"}
    assert {step["status"] for step in finished(steps.all(), "SUCCEEDED")} == {"SUCCEEDED"}


def test_inner_workflows_conditions_and_expressions() -> None:
    steps = Steps(OUTER)

    seen = follow(steps, "toil-inner-workflow.messages")

    assert seen[-1] == {"many": "SUCCEEDED", "expr": "SUCCEEDED", "maybe": "SKIPPED", "after": "SUCCEEDED"}
    # Until the last of its inner workflows has put its results together.
    assert [each["many"] for each in seen][-3:] == ["RUNNING", "RUNNING", "SUCCEEDED"]
    assert [job["step"] for job in steps.jobs] == ["after", "many", "many", "many", "many"]


def test_only_the_step_that_failed_failed() -> None:
    steps = Steps([{"name": name, "label": None} for name in ("normalise", "check", "summarise")])

    follow(steps, "toil-failure.messages")

    assert statuses(steps) == {"normalise": "SUCCEEDED", "check": "FAILED", "summarise": "PENDING"}
    assert [step["status"] for step in finished(steps.all(), "FAILED")] == ["SUCCEEDED", "FAILED", "SKIPPED"]


def test_a_resumed_run_names_no_workflow() -> None:
    before = Steps([{"name": name, "label": None} for name in ("normalise", "check", "summarise")])
    follow(before, "toil-failure.messages")
    done = [step for step in before.all() if step["status"] == "SUCCEEDED"]

    steps = Steps([dict(step) for step in before.all()], done, before.process)
    follow(steps, "toil-restart.messages")

    assert before.process == "main.cwl"
    assert statuses(steps) == {"normalise": "SUCCEEDED", "check": "FAILED", "summarise": "PENDING"}
    assert [job["step"] for job in steps.jobs] == ["check"]


@pytest.mark.parametrize(
    "lines",
    [
        [["toil.bus.JobIssuedMessage", "main.cwl", "kind-CWLWorkflow/x", "1"]],
        [["toil.bus.JobIssuedMessage", "CWLScatter", "kind-CWLScatter/x", "1"]],
        [["toil.bus.QueueSizeMessage", "1"], ["toil.bus.NewMessage", "a", "b", "c"]],
    ],
)
def test_the_only_step_does_not_begin_with_what_is_about_the_workflow(lines: list[list[str]]) -> None:
    steps = Steps([{"name": "only", "label": None}])

    assert not any(steps.toil(line) for line in lines)
    assert statuses(steps) == {"only": "PENDING"}


def test_a_lone_tool_is_one_step() -> None:
    steps = Steps([{"name": "tool", "label": None}])
    lines = [
        ("JobIssuedMessage", "tool.cwl", "kind-CWLJob/x", "1"),
        ("ExternalBatchIdMessage", "1", "77", "SlurmBatchSystem"),
    ]

    assert all(steps.toil([f"toil.bus.{line[0]}", *line[1:]]) for line in lines)
    assert steps.jobs == [{"id": "77", "step": "tool", "name": "tool.cwl"}]
    assert steps.toil(["toil.bus.JobCompletedMessage", "tool.cwl", "kind-CWLJob/x", "0"])
    assert statuses(steps) == {"tool": "SUCCEEDED"}


def test_what_is_tried_again_fails_when_it_is_given_up() -> None:
    steps = Steps([{"name": name, "label": None} for name in ("a", "b")])
    job = ("w.a.t", "kind-CWLJob/x")

    def say(kind: str, *values: Any) -> str:
        steps.toil([f"toil.bus.{kind}", *values])
        return statuses(steps)["a"]

    say("JobIssuedMessage", "w", "kind-CWLWorkflow/w", "1")
    assert say("JobIssuedMessage", *job, "2") == "RUNNING"
    assert say("JobCompletedMessage", *job, "1") == "RUNNING"
    assert say("JobIssuedMessage", *job, "3") == "RUNNING"
    assert say("JobCompletedMessage", *job, "1") == "RUNNING"
    assert say("JobFailedMessage", *job) == "FAILED"


def test_levels_of_what_toil_logs() -> None:
    levels = [interpret(line)[0] for line in (DATA / "toil-failure.log").read_text().splitlines()]

    assert set(levels) == {2, 4, 8}
    text = "[2026-11-27T20:38:33+0000] [MainThread] [W] [toil.leader] Job failed with exit value 1: 'CWLJob' x"
    assert interpret(text) == (4, "[toil.leader] Job failed with exit value 1: 'CWLJob' x", True)


FULL = "The disk of the site was full, or the account's quota was used up."


def diagnosis(lines: Sequence[str]) -> Diagnosis:
    """What the lines of a log say."""
    found = Diagnosis()
    for line in lines:
        found.observe(*interpret(line))
    return found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("failure", "Step check failed: exited with status 1: 2 of 18 records are wrong"),
        ("time-limit", "Step check failed: Slurm job 56 was ended by the time limit of 00:02:00"),
        ("killed", "Step check failed: Slurm job 54 was cancelled or killed"),
        ("refused", "Slurm refused a job of the execution: Invalid partition name specified."),
    ],
)
def test_why_a_run_of_toil_failed(name: str, reason: str) -> None:
    found = diagnosis((DATA / f"toil-{name}.log").read_text().splitlines())

    assert found.reason("check", 1, "00:02:00") == reason


PULL = "Command '['docker', 'pull', 'a/b:1']' returned non-zero exit status 1"
ABSENT = "singularity executable is not available"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"Docker is required to run this tool: {PULL}.", "`docker pull a/b:1` failed"),
        (f"\tcwltool.errors.UnsupportedRequirement: Singularity is required to run this tool: {ABSENT}", ABSENT),
    ],
)
def test_a_container_that_there_is_not(line: str, why: str) -> None:
    found = diagnosis([line, "[t] [m] [E] [root] Your workflow uses a CWL requirement that Toil does not support!"])

    assert found.reason("first", 33) == (
        f"A tool asks for a container (DockerRequirement), and there is none where it runs: {why}. Ask an operator "
        "of the service which containers the site can run, and where their images have to be."
    )


def test_a_job_that_is_told_of_its_limit_when_it_begins() -> None:
    told = ["[t] [m] [W] [toil.leader] Job failed with exit value 140: x", "Exit reason: FAILED"]
    found = diagnosis([*told, "Failed job in backing scheduler: 7"])

    assert found.timed_out == "7"
    assert found.reason("a", 1) == "Step a failed: Slurm job 7 was ended by its time limit"


def test_a_job_that_is_killed_and_one_that_asks_for_too_much() -> None:
    told = ["[t] [m] [W] [toil.leader] Job failed with exit value 137: x", "Exit reason: FAILED"]
    killed = diagnosis([*told, "Failed job in backing scheduler: 20"])
    asked = "[t] [m] [E] [root] The job 'CWLJob' main.cwl.eat.eat.cwl kind-CWLJob/x v1 is requesting 6291456000 "
    greedy = diagnosis([f"{asked}bytes of memory, more than the maximum of 209715200 bytes of memory that Slurm has."])

    assert killed.reason(None, 1) == (
        "Slurm job 20 was killed (signal 9), most likely for using more memory than it had asked for"
    )
    assert greedy.job == "main.cwl.eat.eat.cwl"
    assert greedy.reason("eat", 1) == (
        "Step eat failed: it asks for 5.859 GiB of memory, and the site allows 200 MiB of memory"
    )


def test_only_a_step_that_scatters_has_numbered_jobs() -> None:
    steps = Steps([{"name": name, "processes": ["t.cwl"], "scatter": name == "many"} for name in ("one", "many")])
    steps.toil(["toil.bus.JobIssuedMessage", "main.cwl", "kind-CWLWorkflow/x", "1"])

    assert steps.step_of("main.cwl.0.t.cwl") == "many"


@pytest.mark.parametrize(
    ("text", "seconds"), [("01:00:00", 3600), ("1-00:00:05", 86405), ("90", 5400), ("2-12:00:00", 216000)]
)
def test_times_of_slurm(text: str, seconds: int) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["no good", "WARNING [job a] exited with status: 3", "after"], "Step a failed: exited with status 3: no good"),
        (["WARNING [job a] was terminated by signal: SIGKILL"], "Step a failed: was terminated by signal SIGKILL"),
        (["WARNING [job a] exceeded time limit of 3 seconds"], "Step a failed: exceeded time limit of 3 seconds"),
        (["ERROR [job a] Job error:", "no file out.txt", "more"], "Step a failed: no file out.txt"),
        (["ERROR Workflow error:", "loops", "more"], "The runner exited with status 1: Workflow error: loops"),
        (
            ["ERROR Input object failed validation", "x"],
            "The runner exited with status 1: Input object failed validation",
        ),
        (["first", "last", ""], "The runner exited with status 1: last"),
        ([], "The runner exited with status 1."),
        (["cp: Disk quota exceeded"], f"{FULL} The runner exited with status 1: cp: Disk quota exceeded"),
        (
            ["sbatch: error: invalid account", "sbatch: error: Batch job submission failed: Invalid account."],
            "Slurm refused a job of the execution: Invalid account.",
        ),
    ],
)
def test_why_a_run_failed(lines: list[str], reason: str) -> None:
    assert diagnosis(lines).reason("a", 1) == reason
