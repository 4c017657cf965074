"""What Slurm knows of an account's jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpcwaas.core.site_models import Job
from hpcwaas.engines.cwl.sites.slurm_jobs import Sacct, Scontrol, Squeue, bare, over
from hpcwaas.engines.cwl.sites.slurm_text import Answer

_AT_ONCE = 100
"""Jobs that the database is asked for in one command."""
_TRIES = 4
"""The database knows of a job's end some seconds late."""
_AGAIN = "REQUEUED"
_NO_ACCOUNTING = "accounting storage is disabled"
_TELLING = frozenset({"COMPLETED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE"})
"""Ends of which the queue tells all there is to say."""


class Slurm:
    """Follows jobs of an account: by one command while they wait and run, and by a second one when they have ended.

    Args:
        user: login name.

    Attributes:
        problem: why nothing can be said now, in a sentence; None when it can.
    """

    def __init__(self, user: str) -> None:
        self._user = user
        self._accounting = True
        self._known: tuple[str, ...] = ()
        self._jobs: dict[str, Job] = {}
        self._whole: set[str] = set()
        self._tries: dict[str, int] = {}
        self._asked: tuple[str, ...] = ()
        self.problem: str | None = None

    def commands(self, known: Sequence[str]) -> dict[str, list[str]]:
        """What has to be run on the site, by names.

        Args:
            known: ids of the jobs that are asked for.
        """
        self._known = tuple(dict.fromkeys(known))
        for gone in self._jobs.keys() - set(self._known):
            del self._jobs[gone]
        self._whole &= set(self._known)
        self._tries = {job: tries for job, tries in self._tries.items() if job in self._known}
        if not set(self._known) - self._whole:
            return {}
        commands = {"squeue": [*Squeue(self._user).argv()]}
        wanted = tuple(job for job in self._known if job in self._tries and job not in self._whole)
        self._asked = wanted[: _AT_ONCE if self._accounting else 1]
        if self._asked and self._accounting:
            commands["sacct"] = [*Sacct(self._user, self._asked).argv()]
        elif self._asked:
            commands["scontrol"] = [*Scontrol(self._asked[0]).argv()]
        return commands

    def read(self, answers: Mapping[str, Any]) -> Sequence[Job]:
        """The jobs that are asked for, as far as they are known, with what the answers tell of them."""
        told = {name: Answer.of(answer) for name, answer in answers.items()}
        if "squeue" in told:
            self._take_queue(told["squeue"])
        if "sacct" in told:
            self._take_accounting(told["sacct"])
        if "scontrol" in told:
            self._take_shown(told["scontrol"])
        return [self._jobs[job] for job in self._known if job in self._jobs]

    def awaits(self, job: str) -> bool:
        """Whether more may be told of how a job ended."""
        return job in self._tries and job not in self._whole

    def _take_queue(self, answer: Answer) -> None:
        if answer.status != 0:
            self.problem = (
                f"Slurm doesn't answer on the site ({answer.words()}); its jobs go on."
                if answer.unreachable
                else f"Slurm's jobs can't be looked at on the site ({answer.words()})."
            )
            return
        self.problem = None
        queued = {job.id: job for job in Squeue(self._user).parse(answer.stdout) if job.id in self._known}
        for job in queued.values():
            if job.id not in self._whole:
                self._jobs[job.id] = self._as_seen(job)
                if over(job.state):
                    self._ended(job.id, whole=bare(job.state) in _TELLING)
        for missing in set(self._known) - queued.keys() - self._whole:
            self._ended(missing, whole=False)

    def _as_seen(self, job: Job) -> Job:
        """A job that waits again, though it had begun, says so."""
        before = self._jobs.get(job.id)
        again = before is not None and (before.started_at is not None or before.state == _AGAIN)
        return replace(job, state=_AGAIN) if again and job.state == "PENDING" else job

    def _ended(self, job: str, *, whole: bool) -> None:
        """Notes that the queue will tell no more of a job."""
        if whole:
            self._whole.add(job)
        else:
            self._tries.setdefault(job, 0)

    def _take_accounting(self, answer: Answer) -> None:
        if _NO_ACCOUNTING in answer.stderr:
            self._accounting = False
            return
        if answer.status == 0:
            self._take(Sacct(self._user, ()).parse(answer.stdout))

    def _take_shown(self, answer: Answer) -> None:
        if not answer.unreachable:
            self._take(Scontrol("").parse(answer.stdout))

    def _take(self, found: Sequence[Job]) -> None:
        for job in found:
            if job.id in self._asked and over(job.state):
                self._jobs[job.id] = _merged(self._jobs.get(job.id, job), job)
                self._whole.add(job.id)
        for job_id in set(self._asked) - self._whole:
            self._tries[job_id] += 1
            if self._tries[job_id] >= _TRIES or not self._accounting:
                self._whole.add(job_id)
                if job_id not in self._jobs or not over(self._jobs[job_id].state):
                    self._jobs[job_id] = Job(job_id, "UNKNOWN", "Slurm knows nothing of it any more")


def _merged(seen: Job, told: Job) -> Job:
    """What the queue showed, with how it ended: of quick jobs the database may have that alone."""
    return replace(
        seen,
        state=told.state,
        reason=told.reason or (seen.reason if bare(seen.state) == bare(told.state) else None),
        node=seen.node or told.node,
        started_at=seen.started_at or told.started_at,
        ended_at=told.ended_at or seen.ended_at,
    )
