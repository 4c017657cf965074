"""Takes what a look at a site shows into the mirror: states, jobs, logs and outputs of its executions."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol

from hpcwaas.common import durable
from hpcwaas.core.models import ExecutionState, Status
from hpcwaas.core.site_models import Job
from hpcwaas.core.step_models import Scatter
from hpcwaas.engines.cwl.sites import clocks, heard, words
from hpcwaas.engines.cwl.sites.mirror import SENT, Mirror
from hpcwaas.engines.cwl.sites.site_log import SiteLogs
from hpcwaas.engines.cwl.storage import spool

LOG_ROOM = 2 << 20
"""Bytes of logs that one look brings."""

_SURE = 2
"""Looks that have to agree on something that would end an execution."""
_LATE, _LATE_FAILURE = 1, 6
"""Looks for which an end waits until it is known how jobs ended."""
_PATIENT = 10
"""Looks after which an execution that nobody on the site has taken up is started once more."""


@dataclass(slots=True)
class _Seen:
    """What is known of one execution besides its mirror.

    Attributes:
        stamp: of the state that the mirror has.
        state: that state, as the site wrote it.
        jobs: its jobs by their ids, with the names of their steps.
        doubts: looks in a row that found its supervisor dead, or no trace of it.
        lateness: looks since its end that didn't tell how its jobs ended.
    """

    stamp: Any = None
    state: ExecutionState | None = None
    leader: str | None = None
    jobs: dict[str, str | None] = field(default_factory=dict)
    outputs: Any = None
    doubts: int = 0
    lateness: int = 0


@dataclass(frozen=True, slots=True)
class _Look:
    """What an answer tells of all executions.

    Attributes:
        jobs: by their ids.
        off: by how much the site's clock is wrong.
        sure: whether the look counts where something has to be seen several times.
    """

    jobs: Mapping[str, Job]
    off: timedelta
    sure: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that has to be ended, since nothing on the site does it any more."""

    status: Status
    reason: str


class Scheduler(Protocol):
    """What knows of a site's jobs."""

    @property
    def problem(self) -> str | None:
        """Why it didn't answer last, in a sentence; None when it did."""

    def commands(self, known: Sequence[str]) -> dict[str, list[str]]:
        """Commands whose answers `read` takes, by names.

        Args:
            known: ids of the jobs that are asked for.
        """

    def awaits(self, job: str) -> bool:
        """Whether more may be told of how a job ended."""

    def read(self, answers: Mapping[str, Any]) -> Sequence[Job]:
        """The jobs that answers tell of."""


class Looking:
    """The executions of one account that are on the site.

    Args:
        site: its id.
        scheduler: commands that tell of jobs, and what reads their answers.
        prologue: gives what is sourced before them.
        finish: called with an execution's end, when all of it is in the mirror.
        log: bytes of a log that are kept.

    Attributes:
        news: how much of them the site has told.
        soon: whether the next look shouldn't be long in coming.
        dead: what has to be ended, since nothing on the site does.
    """

    def __init__(
        self,
        site: str,
        mirror: Mirror,
        scheduler: Scheduler,
        prologue: Callable[[], str | None],
        finish: Callable[[str, ExecutionState], None],
        log: int,
    ) -> None:
        self._site = site
        self._mirror = mirror
        self._scheduler = scheduler
        self._prologue = prologue
        self._finish = finish
        self._logs = SiteLogs(site, mirror, log)
        self._seen: dict[str, _Seen] = {}
        self._jobs: dict[str, Job] = {}
        self._lock = threading.RLock()
        self.news: int | None = None
        self.soon = False
        self.dead: dict[str, Ended] = {}

    def body(self, executions: Sequence[str], wait: float, news: int | None, *, jobs: bool = True) -> dict[str, Any]:
        """What the agent is asked.

        Args:
            executions: all that are on the site, unless it is not about jobs.
            wait: seconds that it may wait for news.
            news: how much there was before.
            jobs: whether the scheduler is asked, too. What has to be seen several times is seen by such looks alone:
                they come at a measured pace.
        """
        with self._lock:
            for gone in self._seen.keys() - set(executions):
                if not self._mirror.has(gone, spool.STATE):
                    del self._seen[gone]
            wanted = {}
            known: list[str] = []
            for execution_id in executions:
                seen = self._seen.setdefault(execution_id, _Seen())
                followed, here = self._mirror.followed(execution_id), self._logs.size(execution_id)
                rest = None if self._logs.full(execution_id) else here
                wanted[execution_id] = {"log": rest if followed else None, "rest": rest, "have": seen.stamp}
                known += seen.jobs
                known += [seen.leader] if seen.leader else []
            commands = self._scheduler.commands(known) if jobs else {}
        return {
            "executions": wanted,
            "commands": commands,
            "prologue": self._prologue() if commands else None,
            "wait": wait,
            "news": news,
            "settle": 0.3,
            "log_room": LOG_ROOM,
            "jobs": jobs,
        }

    def take(self, asked: Mapping[str, Any], answer: Mapping[str, Any], directory: Callable[[str], str]) -> None:
        """Takes an answer in. No execution is over before all of its log is here.

        Args:
            asked: what `body` gave.
            directory: of an execution on the site.
        """
        with self._lock:
            self.news = answer.get("news")
            off = clocks.off(answer.get("clock"))
            if asked["commands"]:
                self._jobs = {job.id: clocks.shifted_job(job, off) for job in self._scheduler.read(answer["commands"])}
            look = _Look(self._jobs, off, sure=asked["jobs"])
            self.soon = False
            for execution_id, told in (answer.get("executions") or {}).items():
                if execution_id in asked["executions"]:
                    at = asked["executions"][execution_id]["rest"]
                    self._take_one(execution_id, told, look, directory(execution_id), at)

    def forget(self, execution_id: str) -> None:
        """Lets go of an execution, for instance before its next attempt."""
        with self._lock:
            self._seen.pop(execution_id, None)
            self.dead.pop(execution_id, None)

    def _take_one(self, execution_id: str, told: Mapping[str, Any], look: _Look, directory: str, log_at: int) -> None:
        jobs, sure = look.jobs, look.sure
        seen = self._seen.get(execution_id)
        before = self._mirror.state(execution_id) if self._mirror.has(execution_id, spool.STATE) else None
        if seen is None or before is None or before.status.over:
            return
        if not told.get("exists", True):
            self._doubt(execution_id, seen, self._gone(directory), sure=sure)
            return
        try:
            self._hear(seen, told, [step.name for step in before.steps])
        except ValueError:
            self._doubt(execution_id, seen, self._changed(directory), sure=sure)
            return
        state = self._complete(before, seen, jobs, look.off, directory)
        alive = not state.status.over and self._alive(execution_id, told, seen, jobs, sure=sure)
        if alive:
            seen.doubts = 0
            if state != before:
                self._mirror.write_state(execution_id, state)
        # After the state: who reads of it in its log finds that it has begun.
        if told.get("log") and log_at == self._logs.size(execution_id):
            self._logs.take(execution_id, base64.b64decode(told["log"]), look.off)
        if state.status.over:
            if self._late(seen, jobs, state.status):
                self.soon = True
                seen.lateness += sure
            elif self._is_whole(execution_id, told):
                self._end(execution_id, state, seen.outputs, directory)

    def _hear(self, seen: _Seen, told: Mapping[str, Any], steps: Sequence[str]) -> None:
        """Takes what the site tells of one execution.

        Raises:
            ValueError: it can't be that.
        """
        if told.get("error") or not isinstance(told.get("log_size", 0), int):
            raise ValueError("its files can't be read there")
        state = None if told.get("state") is None else heard.state_of(told["state"], steps)
        jobs, leader = heard.jobs_of(told.get("jobs")), told.get("leader_job")
        [leader] = heard.jobs_of({"id": leader}) if leader else [None]
        seen.state = state or seen.state
        seen.stamp = told.get("stamp", seen.stamp)
        self.soon |= (bool(leader) and seen.leader is None) or not jobs.keys() <= seen.jobs.keys()
        seen.leader = leader or seen.leader
        seen.jobs |= jobs
        if told.get("outputs") is not None:
            seen.outputs = told["outputs"]

    def _changed(self, directory: str) -> str:
        return (
            f"What the site {self._site} tells of the execution can't be understood: something has written into the "
            f"files in its directory there, {directory}, that keep its state. Its jobs were cancelled."
        )

    def _late(self, seen: _Seen, jobs: Mapping[str, Job], status: Status) -> bool:
        """Whether the scheduler is to tell first how jobs ended: of that it knows some seconds late."""
        failed = status is Status.FAILED
        wanted = [*seen.jobs, *([seen.leader] if seen.leader and (failed or not seen.jobs) else [])]
        open_ends = any(job_id not in jobs or not words.over(jobs[job_id]) for job_id in wanted)
        return open_ends and seen.lateness < (_LATE_FAILURE if failed else _LATE)

    def _complete(
        self, last: ExecutionState, seen: _Seen, jobs: Mapping[str, Job], off: timedelta, directory: str
    ) -> ExecutionState:
        """The state as the mirror keeps it: by the service's clock, with jobs and in plain words.

        Args:
            last: the state before.
        """
        state = clocks.shifted(seen.state, off) if seen.state else replace(last, reason=None)
        of_step: dict[str, list[Job]] = {}
        for job_id, step in seen.jobs.items():
            if step is not None and job_id in jobs:
                of_step.setdefault(step, []).append(jobs[job_id])
        leader = jobs.get(seen.leader) if seen.leader else None
        before = {step.name: step.job for step in last.steps}
        # Steps that aren't jobs of their own run in that of the runner.
        shared = leader if not seen.jobs else None
        steps = tuple(
            replace(
                step,
                job=of_step[step.name][-1]
                if step.name in of_step
                else (shared if step.started_at else None) or before.get(step.name),
                scatter=step.scatter and _running(step.scatter, of_step.get(step.name)),
            )
            for step in state.steps
        )
        state = replace(state, steps=steps, directory=directory)
        if state.status is Status.FAILED:
            own = [
                (seen.jobs.get(job_id), job)
                for job_id, job in jobs.items()
                if job_id in seen.jobs or job_id == seen.leader
            ]
            return replace(state, reason=words.failure(state.reason, own))
        if state.status.over:
            return state
        others = [jobs[job_id] for job_id, step in seen.jobs.items() if step is None and job_id in jobs]
        said = words.describe(state, of_step, leader, others) or state.reason
        if self._scheduler.problem:
            said = f"{self._scheduler.problem} {f'Known last: {said}.' if said else ''}".strip()
        return replace(state, reason=said)

    def _alive(
        self, execution_id: str, told: Mapping[str, Any], seen: _Seen, jobs: Mapping[str, Job], *, sure: bool
    ) -> bool:
        """Whether something on the site moves an execution on. When not, and that is sure, it has to be ended."""
        alive = told.get("alive", True)
        leader = jobs.get(seen.leader) if seen.leader else None
        if alive is None and seen.state is None and seen.leader is None:
            self._unclaimed(execution_id, seen, sure=sure)
            return False
        if alive or (alive is None and (leader is None or not words.over(leader))):
            return True
        if leader is not None and words.over(leader):
            if self._scheduler.awaits(leader.id) and seen.lateness < _LATE_FAILURE:
                self.soon = True
                seen.lateness += sure
                return False
            reason = f"The job in which the execution ran on {self._site} is over: {words.job_words(leader)}."
        else:
            place = (
                f"in Slurm job {seen.leader} was killed"
                if seen.leader
                else "there was killed, or the login node was restarted"
            )
            reason = f"The execution was interrupted on {self._site}: the process that ran it {place}."
        self._doubt(execution_id, seen, reason + " Its jobs were cancelled.", sure=sure)
        return False

    def _doubt(self, execution_id: str, seen: _Seen, reason: str, *, sure: bool) -> None:
        seen.doubts += sure
        self.soon = True
        if seen.doubts < _SURE:
            return
        if self._mirror.has(execution_id, spool.CANCEL):
            self.dead[execution_id] = Ended(Status.CANCELLED, "Cancelled on request.")
        else:
            self.dead[execution_id] = Ended(Status.FAILED, reason)

    def _unclaimed(self, execution_id: str, seen: _Seen, *, sure: bool) -> None:
        """Lets an execution be started once more that nobody has taken up there. That starts nothing twice."""
        seen.doubts += sure
        if seen.doubts >= _PATIENT:
            (self._mirror.execution(execution_id) / SENT).unlink(missing_ok=True)
            seen.doubts = 0

    def _gone(self, directory: str) -> str:
        return (
            f"The directory of the execution on {self._site}, {directory}, is gone: somebody removed it, or the file "
            "system was purged. Its jobs were cancelled."
        )

    def _is_whole(self, execution_id: str, told: Mapping[str, Any]) -> bool:
        """Whether all of an execution's log is here. The next look brings more of it at once."""
        if lost := told.get("log_lost"):
            self._logs.say(execution_id, f"The rest of the log can't be read on {self._site}: {str(lost)[:200]}.")
            return True
        return self._logs.full(execution_id) or self._logs.size(execution_id) >= told.get("log_size", 0)

    def _end(self, execution_id: str, state: ExecutionState, outputs: Any, directory: str) -> None:
        """Takes the end of an execution."""
        try:
            kept = heard.outputs_of(outputs or {})
        except ValueError:
            kept = {}
            self._logs.say(
                execution_id, f"The outputs are left out: something has written into {directory}/{spool.OUTPUT_OBJECT}."
            )
        durable.replace(self._mirror.execution(execution_id) / spool.OUTPUT_OBJECT, json.dumps(kept).encode())
        self._finish(execution_id, state)
        self._seen.pop(execution_id, None)
        self.dead.pop(execution_id, None)


class NoScheduler:
    """Of a site that has none."""

    problem: str | None = None

    def commands(self, known: Sequence[str]) -> dict[str, list[str]]:
        return {}

    def awaits(self, job: str) -> bool:
        return False

    def read(self, answers: Mapping[str, Any]) -> Sequence[Job]:
        return ()


def _running(scatter: Scatter, jobs: Sequence[Job] | None) -> Scatter:
    """The counts of a scattered step whose runs are jobs: those that wait for a node don't run yet.

    Args:
        jobs: of the step; None where its runs aren't jobs.
    """
    if not jobs or not scatter.running:
        return scatter
    return replace(scatter, running=min(scatter.running, sum(words.state_of(job) in words.RUNNING for job in jobs)))
