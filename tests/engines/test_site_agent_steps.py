"""What the agent of a site makes of what Toil says, as Toil said it in front of a Slurm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.sites.agent.diagnosis import Diagnosis
from hpcwaas.engines.cwl.sites.agent.log import interpret
from hpcwaas.engines.cwl.sites.agent.runner import _seconds
from hpcwaas.engines.cwl.sites.agent.runs import again
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


def counts(step: str, steps: Steps) -> Any:
    """How far a step has come: total, done, failed, skipped, running."""
    [scatter] = [each["scatter"] for each in steps.all() if each["name"] == step]
    return scatter and tuple(scatter.values())


def told(steps: Steps, name: str, step: str) -> list[Any]:
    """What is told of a step's runs by and by."""
    seen: list[Any] = [None]
    for line in (DATA / name).read_text().splitlines():
        steps.toil(line.split("\t"))
        if counts(step, steps) != seen[-1]:
            seen.append(counts(step, steps))
    return seen[1:]


def scattered(*names: str, **more: Any) -> list[dict[str, Any]]:
    common = {"label": None, "processes": ["tool.cwl"], "process": "tool.cwl", "scatter": True}
    return [{"name": name, **common, **more} for name in names]


def test_runs_of_toil_are_counted() -> None:
    steps = Steps([dict(step, scatter=step["name"] == "simulate") for step in SWEEP])

    assert told(steps, "toil-scatter.messages", "simulate") == [
        *((number, 0, 0, 0, number) for number in range(1, 7)),
        *((6, number, 0, 0, 6 - number) for number in range(1, 7)),
    ]
    assert counts("tabulate", steps) is None


def test_a_run_that_is_a_workflow_ends_with_it() -> None:
    steps = Steps([dict(step, scatter=step["name"] == "many", process="inner.cwl") for step in OUTER])

    assert told(steps, "toil-inner-workflow.messages", "many") == [
        (1, 0, 0, 0, 1),
        (2, 0, 0, 0, 2),
        (2, 1, 0, 0, 1),
        (2, 2, 0, 0, 0),
    ]


def begun(steps: Steps) -> None:
    steps.toil(["JobIssuedMessage", "w", "kind-CWLWorkflow/w", "0"])


def test_runs_of_toil_that_a_condition_leaves_out_and_that_fail() -> None:
    steps = Steps(scattered("a"))
    begun(steps)
    for number in "012":
        steps.toil(["JobIssuedMessage", f"w.{number}.tool.cwl._wrapper", f"kind-CWLJobWrapper/w{number}", number])
    assert counts("a", steps) == (3, 0, 0, 0, 3)

    for number in "012":
        steps.toil(["JobCompletedMessage", f"w.{number}.tool.cwl._wrapper", f"kind-CWLJobWrapper/w{number}", "0"])
    for number in "12":
        steps.toil(["JobIssuedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/j{number}", f"1{number}"])
    assert counts("a", steps) == (3, 1, 0, 1, 2)

    steps.toil(["JobCompletedMessage", "w.1.tool.cwl", "kind-CWLJob/j1", "0"])
    steps.toil(["JobCompletedMessage", "w.2.tool.cwl", "kind-CWLJob/j2", "1"])
    assert counts("a", steps) == (3, 2, 0, 1, 1)
    steps.toil(["JobFailedMessage", "w.2.tool.cwl", "kind-CWLJob/j2"])
    assert counts("a", steps) == (3, 3, 1, 1, 0)


def test_runs_of_the_same_name_are_counted_and_one_that_is_tried_again_once() -> None:
    steps = Steps(scattered("a", processes=["_:1234"], process="_:1234"))
    begun(steps)
    for number in range(4):
        steps.toil(["JobIssuedMessage", f"w.{number % 2}._:9876", f"kind-CWLJob/{number}", str(number)])
    steps.toil(["JobCompletedMessage", "w.0._:9876", "kind-CWLJob/0", "1"])
    steps.toil(["JobIssuedMessage", "w.0._:9876", "kind-CWLJob/0", "4"])
    assert counts("a", steps) == (4, 0, 0, 0, 4)
    for number in range(4):
        steps.toil(["JobCompletedMessage", f"w.{number % 2}._:9876", f"kind-CWLJob/{number}", "0"])
    assert counts("a", steps) == (4, 4, 0, 0, 0)


def test_what_was_done_before_a_resumption_stays_done() -> None:
    before = {"total": 5, "done": 4, "failed": 1, "skipped": 1, "running": 1}
    stood = {"name": "a", "status": "PENDING", "started_at": None, "scatter": again(before)}
    steps = Steps(scattered("a"), [stood], "w")
    assert counts("a", steps) == (5, 3, 0, 1, 0)
    for number in "14":
        steps.toil(["JobIssuedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/j{number}", number])
    assert counts("a", steps) == (5, 3, 0, 1, 2)
    for number in "14":
        steps.toil(["JobCompletedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/j{number}", "0"])
    assert counts("a", steps) == (5, 5, 0, 1, 0)


def test_runs_of_cwltool_are_counted_as_they_begin() -> None:
    steps = Steps([*scattered("a", total=4), *scattered("b"), {"name": "once", "label": None, "scatter": False}])

    def say(*texts: str) -> Any:
        for text in texts:
            steps.cwltool(text)
        return counts("a", steps)

    assert say() is None
    assert say("[step a] start", "[job a] /x$ true") == (4, 0, 0, 0, 1)
    assert say("[job a] completed success", "[step a] start", "[step inner] start") == (4, 1, 0, 0, 1)
    assert say("[job inner] completed permanentFail", "[step a] start") == (4, 2, 1, 0, 1)
    assert say("[step a] completed skipped") == (4, 4, 1, 1, 0)
    assert say("[step b] start", "[step b] start", "[step b] completed success") == (4, 4, 1, 1, 0)
    assert counts("b", steps) == (2, 2, 0, 0, 0)
    assert say("[step once] start")
    assert counts("once", steps) is None


def test_what_cwltool_does_at_once_is_counted_by_its_ends() -> None:
    steps = Steps([*scattered("a", total=3), *scattered("b")], parallel=True)
    for text in ("[step a] start", "[step b] start", "[step a] start", "[job b] completed success"):
        steps.cwltool(text)
    assert (counts("a", steps), counts("b", steps)) == ((3, 0, 0, 0, 0), (None, 1, 0, 0, 0))
    for text in ("[step a] start", "[job a_2] completed success", "[workflow a] completed permanentFail"):
        steps.cwltool(text)
    assert counts("a", steps) == (3, 2, 1, 0, 0)


def test_of_what_is_over_nothing_runs() -> None:
    steps = Steps(scattered("a", total=3))
    steps.cwltool("[step a] start")
    [step] = finished(steps.all(), "CANCELLED")
    assert step["scatter"] == {"total": 3, "done": 0, "failed": 0, "skipped": 0, "running": 0}


def test_ten_thousand_runs_are_one_step() -> None:
    steps = Steps(scattered("a"))
    begun(steps)
    for number in range(10_000):
        steps.toil(["JobIssuedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/{number}", str(number)])
    for number in range(9_999, 0, -1):
        steps.toil(["JobCompletedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/{number}", "0"])
    assert counts("a", steps) == (10_000, 9_999, 0, 0, 1)
    assert len(steps.all()) == 1
