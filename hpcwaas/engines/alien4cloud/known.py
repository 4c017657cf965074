"""An execution as far as it is known: what Alien4Cloud's records and events add up to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from hpcwaas.common.cached import Cached
from hpcwaas.core.models import JSON, ExecutionState, Status, Step, StepStatus
from hpcwaas.engines.alien4cloud import mapper
from hpcwaas.engines.alien4cloud.references import Reference
from hpcwaas.engines.alien4cloud.topology import StepInTopology


class Attempt(NamedTuple):
    """When a run of an execution that failed began and ended, as Alien4Cloud dates it. Resumed, it gets new dates."""

    started_at: datetime | None
    ended_at: datetime | None


@dataclass(slots=True)
class Known:
    """An execution as far as it is known.

    Attributes:
        status: RUNNING from the beginning, for there is a reference: Alien4Cloud has taken it, though its record comes
            up to a second later.
        seen: whether Alien4Cloud had it on record. Events come before that.
        since: monotonic time from which on it is known here.
        over_since: likewise, from which on it is known to have ended.
        started_at: of the present attempt.
        failed: the attempt before it was resumed the last time.
        resumed_at: monotonic time of that.
        steps: what became of them, by name.
        final: the whole of it once it has ended and its outputs are known.
    """

    reference: Reference
    status: Status = Status.RUNNING
    seen: bool = False
    since: float = field(default_factory=time.monotonic)
    over_since: float | None = None
    deployment: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failed: Attempt | None = None
    resumed_at: float = float("-inf")
    cancelling: bool = False
    declared: tuple[StepInTopology, ...] = ()
    steps: dict[str, mapper.StepNews] = field(default_factory=dict)
    final: ExecutionState | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    cached: Cached[None] = field(init=False)

    def go_on(self) -> None:
        """Notes that it had failed and was resumed."""
        self.failed = Attempt(self.started_at, self.ended_at)
        self.resumed_at = time.monotonic()
        self.status, self.final, self.over_since, self.cancelling = Status.RUNNING, None, None, False
        self.started_at = self.ended_at = None
        self.steps.clear()

    def is_past(self, run: mapper.Run) -> bool:
        """Whether a record is still that of the attempt which failed before it was resumed."""
        return self.failed is not None and run.status is Status.FAILED and run.started_at == self.failed.started_at

    def set_status(self, status: Status) -> None:
        """Notes a status. Once it is over, older news don't bring it back."""
        if self.status.over and not status.over:
            return
        if status is Status.RUNNING and self.cancelling:
            status = Status.CANCELLING
        self.status = status
        self.cancelling = status is Status.CANCELLING
        if status.over and self.over_since is None:
            self.over_since = time.monotonic()

    def set_step(self, news: mapper.StepNews) -> None:
        """Notes what became of a step."""
        old = self.steps.get(news.name)
        status = news.status
        if old is not None:
            if old.status in (StepStatus.FAILED, StepStatus.CANCELLED) and status is StepStatus.SUCCEEDED:
                status = old.status  # "completed" comes after a failure, too
            elif old.ended_at is not None and status in (StepStatus.PENDING, StepStatus.RUNNING):
                status = old.status
        self.steps[news.name] = mapper.StepNews(
            news.name,
            status,
            (old.started_at if old else None) or news.started_at,
            news.ended_at or (old.ended_at if old else None),
        )


def view(known: Known) -> ExecutionState:
    """An execution that hasn't ended, or whose outputs aren't known yet."""
    if known.status.over:
        return state(known, Status.RUNNING, None, None)
    if known.status is Status.UNKNOWN:
        return state(known, known.status, None, "Alien4Cloud has no trace of this execution.")
    return state(known, known.status, None, None)


def state(known: Known, status: Status, outputs: Mapping[str, JSON] | None, reason: str | None) -> ExecutionState:
    """An execution in the service's own words, as if it had this status."""
    steps = tuple(_steps(known, status))
    if status is Status.FAILED:
        failed = [f"`{step.name}`" for step in steps if step.status is StepStatus.FAILED]
        what = f"The step{'s' if len(failed) > 1 else ''} {', '.join(failed)}" if failed else "The workflow"
        reason = f"{what} failed; the log says more."
    return ExecutionState(
        status=status,
        started_at=known.started_at,
        ended_at=known.ended_at if status.over else None,
        reason=reason,
        steps=steps,
        outputs=outputs,
    )


_UNFINISHED = {Status.CANCELLED: StepStatus.CANCELLED, Status.FAILED: StepStatus.FAILED}
"""What becomes of a running step when the execution has ended so."""


def _steps(known: Known, status: Status) -> Iterator[Step]:
    """The steps, each after those it follows."""
    shown: dict[str, StepStatus] = {}
    for step in known.declared:
        news = known.steps.get(step.name)
        if news is None and step.silent and _reached(step, shown):
            found = Step(step.name, StepStatus.SUCCEEDED)
        else:
            found = _step(step.name, news, status)
        shown[step.name] = found.status
        yield found
    for name, news in known.steps.items():
        if name not in shown:
            yield _step(name, news, status)


def _reached(step: StepInTopology, shown: Mapping[str, StepStatus]) -> bool:
    """Whether a step that only sets a state has had its turn. It takes no time then, and can't fail."""
    if any(shown.get(name) is StepStatus.FAILED for name in step.after_failure):
        return True
    return all(shown.get(name) is StepStatus.SUCCEEDED for name in step.after_success) and not (
        step.after_failure and not step.after_success
    )


def _step(name: str, news: mapper.StepNews | None, status: Status) -> Step:
    if news is None or news.status is StepStatus.PENDING:
        return Step(name, StepStatus.SKIPPED if status.over else StepStatus.PENDING)
    word: StepStatus = news.status
    if status.over and word is StepStatus.RUNNING:
        word = _UNFINISHED.get(status, StepStatus.SUCCEEDED)
    if word is StepStatus.FAILED and status in (Status.CANCELLING, Status.CANCELLED):
        word = StepStatus.CANCELLED  # the orchestrator ends what it cancels as if it had failed
    ended = news.ended_at if word not in (StepStatus.RUNNING, StepStatus.PENDING) else None
    return Step(name, word, started_at=news.started_at, ended_at=ended)
