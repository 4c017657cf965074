"""How an execution on a site stands, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hpcwaas.core.models import ExecutionState, Step, StepStatus
from hpcwaas.core.site_models import Job

WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
"""States of Slurm's jobs that haven't begun."""

RUNNING = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})
"""States of those that have, and haven't ended."""

_HELD = {
    "JobHeldUser": "it is held by the user; `scontrol release {id}` lets it go",
    "JobHeldAdmin": "the site's administrators hold it",
    "JobHoldMaxRequeue": "it was started again too often and is held; ask the site's administrators",
    "launch failed requeued held": "it couldn't be started and is held; ask the site's administrators",
}
_SECONDS = 60
_UNTOLD = "The runner exited with status"
"""Begins reasons that say nothing that isn't in the log."""


def state_of(job: Job) -> str:
    """The one word of a job's state: Slurm adds who cancelled it, or a sign."""
    return job.state.split()[0].rstrip("+") if job.state.split() else ""


def over(job: Job) -> bool:
    """Whether a job has ended."""
    return state_of(job) not in WAITING | RUNNING


def job_words(job: Job) -> str:
    """What there is to say of a job that hasn't succeeded: `Slurm job 48213 waits, reason Priority`."""
    name = f"Slurm job {job.id}"
    state = state_of(job)
    reason = job.reason if job.reason not in (None, "", "None") else None
    if state in ("REQUEUED", "REQUEUE_FED") or (state == "PENDING" and reason == "BeginTime" and job.started_at):
        return f"{name} was put back into the queue by Slurm and will be started again"
    if state in ("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"):
        return f"{name} was put back into the queue and is held; ask the site's administrators"
    if state == "PENDING" and reason in _HELD:
        return f"{name} waits: {_HELD[reason].format(id=job.id)}"
    if state in WAITING:
        return f"{name} waits" + (f", reason {reason}" if reason else "")
    if state == "SUSPENDED":
        return f"{name} is suspended" + (f" on {job.node}" if job.node else "")
    if state in RUNNING:
        return f"{name} runs" + (f" on {job.node}" if job.node else "")
    return f"{name} {end_words(job)}"


def end_words(job: Job) -> str:
    """How a job ended, behind its name: `was ended by the time limit of 1:00:00`."""
    state = state_of(job)
    detail = job.reason if job.reason not in (None, "", "None", state) else None
    by = job.state.partition(" by ")[2]
    place = f" {job.node}" if job.node else ""
    words = {
        "COMPLETED": "has ended",
        "TIMEOUT": "was ended by the time limit" + (f" of {detail}" if detail and ":" in detail else ""),
        "DEADLINE": "was ended because its deadline had passed",
        "OUT_OF_MEMORY": f"used {detail} (OUT_OF_MEMORY)"
        if detail and " of " in detail
        else "used more memory than it had asked for (OUT_OF_MEMORY)",
        "NODE_FAIL": f"was ended by a failure of its node{place} (NODE_FAIL)",
        "BOOT_FAIL": f"couldn't begin: its node{place} didn't start (BOOT_FAIL)",
        "PREEMPTED": "had to give way to a job of higher priority (PREEMPTED)",
        "REVOKED": "was taken back by Slurm (REVOKED)",
        "LAUNCH_FAILED": "couldn't be started on its node (LAUNCH_FAILED)",
        "RECONFIG_FAIL": "couldn't be started: its node couldn't be prepared (RECONFIG_FAIL)",
        "CANCELLED": "was cancelled on the site" + (f" by {by}" if by else ""),
        "UNKNOWN": "has an unknown end" + (f": {detail}" if detail else ""),
        "FAILED": _failed(detail),
    }
    return words.get(state, f"ended as {state or 'unknown'}")


def _failed(detail: str | None) -> str:
    if detail == "signal 9":
        return "was killed (signal 9), most likely because it used more memory than it had asked for"
    return (
        f"was ended by {detail}"
        if detail and detail.startswith("signal")
        else "failed" + (f" ({detail})" if detail else "")
    )


def step_words(steps: Sequence[Step], jobs: Mapping[str, Sequence[Job]]) -> str | None:
    """What the step that matters most does: one whose jobs wait, before one whose jobs run.

    Args:
        jobs: of each step, by its name; those that have been replaced by others are left out.
    """
    found: list[tuple[int, int, str]] = []
    for number, step in enumerate(steps, 1):
        words = _jobs_words(jobs.get(step.name, ()))
        if words is None or step.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED, StepStatus.CANCELLED):
            continue
        place = f"step {number} of {len(steps)} ({step.name}): " if len(steps) > 1 else ""
        waits = any(state_of(job) in WAITING for job in jobs[step.name])
        found.append((0 if waits else 1, number, f"{place}{words}"))
    return min(found)[2] if found else None


def _jobs_words(jobs: Sequence[Job]) -> str | None:
    """What several jobs do; None when none of them goes on."""
    unfinished = [job for job in jobs if not over(job)]
    if len(unfinished) < 2:
        return job_words(unfinished[0]) if unfinished else None
    waits = [job for job in unfinished if state_of(job) in WAITING]
    runs = len(unfinished) - len(waits)
    if not waits:
        return f"{runs} Slurm jobs run"
    reasons = sorted({job.reason for job in waits if job.reason not in (None, "", "None")}, key=str)
    reason = f", reason {', '.join(str(each) for each in reasons)}" if reasons else ""
    first = f"{len(waits)} of {len(unfinished)} Slurm jobs wait{reason}"
    return f"{first}; {runs} run" if runs else first


def describe(
    state: ExecutionState, jobs: Mapping[str, Sequence[Job]], leader: Job | None = None, others: Sequence[Job] = ()
) -> str | None:
    """Why an execution that isn't over stands as it does; None when there is nothing to say.

    Args:
        jobs: of each step, by its name; those that have been replaced by others are left out.
        leader: the job in which the runner itself runs.
        others: jobs of which it isn't known to which step they belong.
    """
    if words := step_words(state.steps, jobs) or _jobs_words(others):
        return words
    if leader is not None and not over(leader):
        return job_words(leader)
    return None


def failure(reason: str | None, jobs: Sequence[tuple[str | None, Job]]) -> str | None:
    """Why an execution failed, with what Slurm did to its jobs: that says more than a runner's exit status.

    Args:
        reason: as it is known without.
        jobs: of the execution, each with the name of its step, where it is known.
    """
    # What was cancelled may have been so because of another one's end.
    jobs = sorted(jobs, key=lambda each: state_of(each[1]) == "CANCELLED")
    ended = [(step, job) for step, job in jobs if over(job) and state_of(job) != "COMPLETED" and not _by_itself(job)]
    told = [(step, job_words(job)) for step, job in ended if f"job {job.id} " not in (reason or "")]
    if not told:
        return reason
    step, words = told[0]
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    rest = "" if reason is None or reason.startswith(_UNTOLD) else f" {reason}"
    return f"{f'Step {step} failed: ' if step and not rest else ''}{words}{more}.{rest}"


def _by_itself(job: Job) -> bool:
    """Whether a job failed because what ran in it did, of which its runner says more."""
    return state_of(job) == "FAILED" and not (job.reason or "").startswith("signal")


def silence(site: str, seconds: float, *, sent: bool) -> str | None:
    """That a login node hasn't answered for so long; None for the first moments.

    Args:
        sent: whether the execution is there already.
    """
    if seconds < _SECONDS:
        return None
    after = "the jobs go on" if sent else "the execution begins when it does"
    return f"The login node of {site} hasn't answered for {duration(seconds)}; {after}."


def again(site: str, seconds: float) -> str:
    """When an account is tried again that can't be used, and how to have that done at once.

    Args:
        site: its id.
        seconds: until then.
    """
    whole = max(math.ceil(seconds), 1)
    within = duration(whole if whole < _SECONDS else math.ceil(whole / 60) * 60)
    return f"The service tries again within {within}; `waas sites check {site}` does at once."


def duration(seconds: float) -> str:
    """A time as people say it."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size * (2 if unit != "minute" else 1):
            number = int(seconds // size)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{int(seconds)} second{'' if int(seconds) == 1 else 's'}"
