"""How executions on sites stand, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from hpcwaas.core.models import ExecutionState, Status, Step, StepStatus
from hpcwaas.core.site_models import Job
from hpcwaas.engines.cwl.sites import words

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("index", "trim", "align", "sort", "call", "filter", "report")


def steps(**statuses: StepStatus) -> tuple[Step, ...]:
    return tuple(Step(name, statuses.get(name, StepStatus.PENDING)) for name in NAMES)


def told(jobs: Mapping[str, Sequence[Job]], **statuses: StepStatus) -> str | None:
    return words.describe(ExecutionState(Status.RUNNING, steps=steps(**statuses)), jobs)


def test_a_job_that_waits() -> None:
    jobs = {"align": [Job("48213", "PENDING", "Priority")]}
    assert told(jobs, align=StepStatus.RUNNING) == "step 3 of 7 (align): Slurm job 48213 waits, reason Priority"


def test_a_job_that_runs() -> None:
    jobs = {"align": [Job("48213", "RUNNING", None, "node7")]}
    assert told(jobs, align=StepStatus.RUNNING) == "step 3 of 7 (align): Slurm job 48213 runs on node7"


def test_what_waits_is_told_before_what_runs() -> None:
    jobs = {"index": [Job("1", "RUNNING")], "align": [Job("2", "PENDING", "Resources")]}
    running = told(jobs, index=StepStatus.RUNNING, align=StepStatus.RUNNING)
    assert running == "step 3 of 7 (align): Slurm job 2 waits, reason Resources"


def test_several_jobs_of_a_scatter() -> None:
    waits = [Job(str(number), "PENDING", "Priority") for number in range(3)]
    runs = [Job("8", "RUNNING", None, "n1"), Job("9", "COMPLETING", None, "n2")]
    done = [Job("5", "COMPLETED")]
    status = StepStatus.RUNNING
    assert told({"align": [*waits, *runs, *done]}, align=status) == (
        "step 3 of 7 (align): 3 of 5 Slurm jobs wait, reason Priority; 2 run"
    )
    assert told({"align": [*runs, *done]}, align=status) == "step 3 of 7 (align): 2 Slurm jobs run"
    assert told({"align": [*runs[:1], *done]}, align=status) == "step 3 of 7 (align): Slurm job 8 runs on n1"


def test_nothing_to_say() -> None:
    assert told({}) is None
    assert told({"align": [Job("1", "COMPLETED")]}, align=StepStatus.RUNNING) is None
    assert told({"align": [Job("1", "COMPLETING")]}, align=StepStatus.SUCCEEDED) is None


def test_a_lone_tool_and_the_job_of_the_runner() -> None:
    lone = ExecutionState(Status.PENDING, steps=(Step("echo", StepStatus.PENDING),))
    job = Job("7", "PENDING", "Priority")
    assert words.describe(lone, {"echo": [job]}) == "Slurm job 7 waits, reason Priority"
    assert words.describe(lone, {}, job) == "Slurm job 7 waits, reason Priority"


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (Job("1", "TIMEOUT", "1:00:00"), "Slurm job 1 was ended by the time limit of 1:00:00"),
        (Job("1", "TIMEOUT"), "Slurm job 1 was ended by the time limit"),
        (Job("1", "OUT_OF_MEMORY", "9.1 GiB of 8 GiB"), "Slurm job 1 used 9.1 GiB of 8 GiB (OUT_OF_MEMORY)"),
        (Job("1", "OUT_OF_MEMORY"), "Slurm job 1 used more memory than it had asked for (OUT_OF_MEMORY)"),
        (Job("1", "NODE_FAIL", None, "n3"), "Slurm job 1 was ended by a failure of its node n3 (NODE_FAIL)"),
        (Job("1", "CANCELLED by root"), "Slurm job 1 was cancelled on the site by root"),
        (Job("1", "CANCELLED"), "Slurm job 1 was cancelled on the site"),
        (Job("1", "PREEMPTED"), "Slurm job 1 had to give way to a job of higher priority (PREEMPTED)"),
        (Job("1", "FAILED", "exit status 3"), "Slurm job 1 failed (exit status 3)"),
        (Job("1", "BOOT_FAIL", None, "n3"), "Slurm job 1 couldn't begin: its node n3 didn't start (BOOT_FAIL)"),
        (Job("1", "UNKNOWN", "Slurm has forgotten it"), "Slurm job 1 has an unknown end: Slurm has forgotten it"),
        (Job("1", "REVOKED"), "Slurm job 1 was taken back by Slurm (REVOKED)"),
        (Job("1", "SOMETHING_NEW"), "Slurm job 1 ended as SOMETHING_NEW"),
        (Job("1", "COMPLETED"), "Slurm job 1 has ended"),
    ],
)
def test_ends(job: Job, expected: str) -> None:
    assert words.over(job)
    assert words.job_words(job) == expected


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (
            Job("1", "PENDING", "JobHeldUser"),
            "Slurm job 1 waits: it is held by the user; `scontrol release 1` lets it go",
        ),
        (Job("1", "PENDING", "JobHeldAdmin"), "Slurm job 1 waits: the site's administrators hold it"),
        (
            Job("1", "PENDING", "JobHoldMaxRequeue"),
            "Slurm job 1 waits: it was started again too often and is held; ask the site's administrators",
        ),
        (
            Job("1", "REQUEUE_HOLD"),
            "Slurm job 1 was put back into the queue and is held; ask the site's administrators",
        ),
        (Job("1", "REQUEUED"), "Slurm job 1 was put back into the queue by Slurm and will be started again"),
        (
            Job("1", "PENDING", "BeginTime", started_at=NOW),
            "Slurm job 1 was put back into the queue by Slurm and will be started again",
        ),
        (Job("1", "SUSPENDED", None, "n1"), "Slurm job 1 is suspended on n1"),
        (Job("1", "CONFIGURING"), "Slurm job 1 waits"),
        (Job("1", "PENDING", "None"), "Slurm job 1 waits"),
    ],
)
def test_what_goes_on(job: Job, expected: str) -> None:
    assert not words.over(job)
    assert words.job_words(job) == expected


def test_what_was_cancelled_because_of_another_job_comes_after_it() -> None:
    jobs = [("a", Job("10", "CANCELLED by 0")), (None, Job("1", "TIMEOUT", "00:02:00"))]
    assert words.failure("The runner was told to end.", jobs) == (
        "Slurm job 1 was ended by the time limit of 00:02:00 (and 1 more). The runner was told to end."
    )


def test_a_failure_says_what_slurm_did() -> None:
    killed = Job("5", "TIMEOUT", "1:00:00")
    assert words.failure(
        "Step align failed: exited with status 1", [(None, killed), (None, Job("6", "COMPLETED"))]
    ) == ("Slurm job 5 was ended by the time limit of 1:00:00. Step align failed: exited with status 1")
    assert words.failure(None, [(None, killed), (None, Job("6", "NODE_FAIL"))]) == (
        "Slurm job 5 was ended by the time limit of 1:00:00 (and 1 more)."
    )
    told = "Step align failed: Slurm job 5 was ended by the time limit of 1:00:00"
    assert words.failure(told, [(None, killed)]) == told
    assert (
        words.failure("It failed.", [(None, Job("6", "FAILED", "exit status 1")), (None, Job("7", "RUNNING"))])
        == "It failed."
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (59, None),
        (60, "The login node of Mare hasn't answered for 1 minute; the jobs go on."),
        (250, "The login node of Mare hasn't answered for 4 minutes; the jobs go on."),
        (3 * 3600, "The login node of Mare hasn't answered for 3 hours; the jobs go on."),
        (3 * 86400, "The login node of Mare hasn't answered for 3 days; the jobs go on."),
    ],
)
def test_silence(seconds: int, expected: str | None) -> None:
    assert words.silence("Mare", seconds, sent=True) == expected


def test_silence_before_an_execution_is_there() -> None:
    said = words.silence("Mare", 300, sent=False)
    assert said == "The login node of Mare hasn't answered for 5 minutes; the execution begins when it does."


@pytest.mark.parametrize(
    ("seconds", "within"),
    [(-3, "1 second"), (4.2, "5 seconds"), (60, "1 minute"), (61, "2 minutes"), (300, "5 minutes"), (7300, "2 hours")],
)
def test_when_a_site_is_tried_again(seconds: float, within: str) -> None:
    assert words.again("mare", seconds) == (
        f"The service tries again within {within}; `waas sites check mare` does at once."
    )


def test_jobs_of_which_the_step_is_not_known() -> None:
    state = ExecutionState(Status.RUNNING, steps=steps())
    others = [Job("1", "PENDING", "Priority"), Job("2", "RUNNING", None, "n1")]
    assert words.describe(state, {}, None, others) == "1 of 2 Slurm jobs wait, reason Priority; 1 run"
    assert words.describe(state, {}, None, others[1:]) == "Slurm job 2 runs on n1"


def test_what_slurm_killed_is_told() -> None:
    job = ("eat", Job("20", "FAILED", "signal 9"))
    killed = "Slurm job 20 was killed (signal 9), most likely because it used more memory than it had asked for."
    assert words.failure("The tool says so.", [job]) == f"{killed} The tool says so."
    generic = "The runner exited with status 1: [root] The job store './jobstore' contains 3 failed jobs"
    assert words.failure(generic, [job]) == f"Step eat failed: {killed}"
    assert words.failure(generic, [(None, Job("20", "FAILED", "signal 15"))]) == "Slurm job 20 was ended by signal 15."
    assert words.failure(generic, [("eat", Job("20", "FAILED", "exit status 1"))]) == generic
