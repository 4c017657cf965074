"""An execution as far as it is known: what Yorc's record and events add up to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hpcwaas.common.cached import Cached
from hpcwaas.core.models import JSON, ExecutionState, Status, Step, StepStatus
from hpcwaas.engines.log_text import clean
from hpcwaas.engines.yorc.documents import Event, Task
from hpcwaas.engines.yorc.references import Reference
from hpcwaas.engines.yorc.schema import StepInDefinition

_STATUSES = {
    "INITIAL": Status.PENDING,
    "RUNNING": Status.RUNNING,
    "DONE": Status.SUCCEEDED,
    "FAILED": Status.FAILED,
    "CANCELED": Status.CANCELLED,
}

_STEP_STATUSES = {
    "INITIAL": StepStatus.PENDING,
    "RUNNING": StepStatus.RUNNING,
    "DONE": StepStatus.SUCCEEDED,
    "ERROR": StepStatus.FAILED,
    "CANCELED": StepStatus.CANCELLED,
}

_ENDS = frozenset({"done", "failed", "canceled"})
_STEP_ENDS = frozenset({"done", "error", "canceled"})

_LONGEST_REASON = 500

_NO_TRACE = (
    "Yorc has no trace of this execution: its deployment was removed there, or what Yorc knew of it was purged. "
    "The log shows what was read of it before."
)

_JOBS_GO_ON = (
    "Yorc ends the workflow, and not the jobs that it submitted to a batch system, because the workflow has no cancel "
    "step. Look there whether one goes on (on Slurm, with `squeue --me`), and cancel it there."
)


@dataclass(slots=True)
class Times:
    """When a step, or the present attempt at an execution, began and ended."""

    began: datetime | None = None
    ended: datetime | None = None

    def begin(self, at: datetime) -> None:
        """Notes a beginning; after an end it is that of another attempt."""
        if self.ended is not None and at > self.ended:
            self.began = self.ended = None
        if self.ended is None:
            self.began = self.began or at

    def end(self, at: datetime) -> None:
        """Notes an end. Of a step on several instances the last one counts."""
        self.ended = max(self.ended or at, at)


@dataclass(slots=True)
class Known:
    """An execution as far as it is known.

    Attributes:
        status: as Yorc says.
        error: why it failed, in Yorc's words.
        since: monotonic time from which on it is known here.
        over_since: likewise, from which on it is known to have ended.
        stirred: whether something of it has changed since it was asked for.
        cancelling: whether its end was asked for.
        declared: its steps in the order of the graph.
        words: the steps' statuses as Yorc says them.
        past: when the attempt before the present one ended.
        final: the whole of it once it has ended.
    """

    reference: Reference
    status: Status = Status.PENDING
    error: str | None = None
    since: float = field(default_factory=time.monotonic)
    over_since: float | None = None
    stirred: bool = False
    cancelling: bool = False
    declared: tuple[StepInDefinition, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    times: Times = field(default_factory=Times)
    past: datetime | None = None
    step_times: dict[str, Times] = field(default_factory=dict)
    final: ExecutionState | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    cached: Cached[None] = field(init=False)

    def take(self, event: Event) -> None:
        """Notes an event."""
        match event.kind:
            case "Workflow" if self.past is not None and event.moment <= self.past:
                return
            case "Workflow" if event.status == "running":
                self.times.begin(event.moment)
                if self.status is Status.PENDING:
                    self.status = Status.RUNNING
            case "Workflow" if event.status in _ENDS:
                self.times.end(event.moment)
            case "WorkflowStep" if event.step:
                times = self.step_times.setdefault(event.step, Times())
                if event.status == "running":
                    times.begin(event.moment)
                elif event.status in _STEP_ENDS:
                    times.end(event.moment)

    def take_history(self, events: Iterable[Event]) -> None:
        """Notes all events of its deployment in place of those that came."""
        self.times, self.step_times = Times(), {}
        for event in sorted(events, key=lambda event: event.at):
            if event.execution == self.reference.task:
                self.take(event)

    def go_on(self) -> None:
        """Notes that it had failed and was resumed."""
        self.past, self.times = self.times.ended or self.past, Times()
        self.status, self.final, self.over_since, self.cancelling = Status.PENDING, None, None, False
        self.error = None

    def set_gone(self) -> None:
        """Notes that Yorc doesn't know it."""
        self.status, self.error = Status.UNKNOWN, _NO_TRACE

    def set_task(self, task: Task, words: Mapping[str, str]) -> None:
        """Notes what Yorc's record says."""
        self.status = _STATUSES.get(task.status, Status.UNKNOWN)
        self.error, self.words = task.error_message, words
        if self.status is Status.UNKNOWN:
            self.error = "Yorc tells a status of this execution that this service doesn't know."
        if not self.status.over:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = time.monotonic()

    @property
    def end_is_known(self) -> bool:
        """Whether the end of the present attempt has been told."""
        return self.times.ended is not None

    def view(self) -> ExecutionState:
        """It as it stands, if it hasn't ended."""
        if self.status is Status.UNKNOWN:
            return self._state(Status.UNKNOWN, None, self.error)
        status = Status.RUNNING if self.status.over else self.status
        return self._state(Status.CANCELLING if self.cancelling else status, None, self._jobs(self.cancelling))

    def end(self, outputs: Mapping[str, JSON]) -> None:
        """Makes the final state of it."""
        reason = self._jobs(self.status is Status.CANCELLED)
        if self.status is Status.FAILED:
            said = clean((self.error or "").replace("\n", " ")).strip().rstrip(".")
            if len(said) > _LONGEST_REASON:
                said = f"{said[:_LONGEST_REASON]}…"
            reason = f"{said or 'The workflow failed'}; the log says more."
        self.final = self._state(self.status, outputs if self.status is Status.SUCCEEDED else {}, reason)

    def _jobs(self, cancelled: bool) -> str | None:
        """What goes on when it is cancelled, in a workflow that does nothing about that."""
        silent = self.declared and not any(step.after_cancel for step in self.declared)
        return _JOBS_GO_ON if cancelled and silent else None

    def _state(self, status: Status, outputs: Mapping[str, JSON] | None, reason: str | None) -> ExecutionState:
        return ExecutionState(
            status=status,
            started_at=self.times.began,
            ended_at=self.times.ended if status.over else None,
            reason=reason,
            steps=tuple(self._steps(status)),
            outputs=outputs,
        )

    def _steps(self, status: Status) -> Iterator[Step]:
        """The steps, each after those it follows. Those that Yorc alone knows come last."""
        labels = {step.name: step.label for step in self.declared}
        for name in [*labels, *sorted(self.words.keys() - labels.keys())]:
            word = _STEP_STATUSES.get(self.words.get(name, "INITIAL"), StepStatus.RUNNING)
            times = self.step_times.get(name, Times())
            if word is StepStatus.PENDING and status.over:
                word = StepStatus.SKIPPED
            elif word is StepStatus.RUNNING and status.over:
                word = _UNFINISHED[status]
            elif word is StepStatus.FAILED and status in (Status.CANCELLING, Status.CANCELLED):
                word = StepStatus.CANCELLED  # a script that is killed ends as if it had failed
            begun = word not in (StepStatus.PENDING, StepStatus.SKIPPED)
            ended = begun and word is not StepStatus.RUNNING
            yield Step(name, word, labels.get(name), times.began if begun else None, times.ended if ended else None)


_UNFINISHED = {
    Status.SUCCEEDED: StepStatus.SUCCEEDED,
    Status.FAILED: StepStatus.FAILED,
    Status.CANCELLED: StepStatus.CANCELLED,
}
"""What becomes of a running step when the execution has ended so."""
