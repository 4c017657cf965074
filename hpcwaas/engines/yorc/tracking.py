"""What is known of executions: asked for when somebody asks, kept fresh by events, and never asked twice at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from hpcwaas.common.cached import Run
from hpcwaas.core.models import ExecutionState, Status, StepDeclaration
from hpcwaas.engines.orchestrated.published import ahead
from hpcwaas.engines.orchestrated.tracking import Tracking
from hpcwaas.engines.yorc.client import AT_ONCE, YorcClient
from hpcwaas.engines.yorc.documents import Event, Task
from hpcwaas.engines.yorc.faults import Refusal
from hpcwaas.engines.yorc.known import Known
from hpcwaas.engines.yorc.references import Reference, parse_reference
from hpcwaas.engines.yorc.schema import StepInDefinition, steps
from hpcwaas.errors import ServiceError, Unavailable

_FRESH_STIRRED = 0.5
"""Seconds for which a state is believed of which events say that it has changed since."""

_FRESH_POLLED = 2.5
"""Seconds for which a state is believed without events."""

_FRESH_EVENTS = 120.0
"""Seconds after which it is looked at although events come: steps that only set a state have none."""

_USABLE = 10.0
"""Seconds for which a state may be shown while a newer one is fetched."""

_END_PATIENCE = 2.0
"""Seconds for which the event of an end is waited for: until then it isn't shown as ended."""

_HISTORY_PATIENCE = 30.0
"""Likewise, for which the events before are tried to be had; without them nothing tells when its steps ran."""


class TrackedExecutions(Tracking[Known]):
    """The executions that somebody asked for lately.

    Args:
        ahead: runs what is asked for at the same time as something else.
        covered: whether events have been coming without a gap since this monotonic time.
        cancelling: whether some process has asked for the end of an execution.
        ended: called with an execution that has ended.
        gone_on: called with one that had failed and goes on, resumed by another process.
    """

    def __init__(
        self,
        client: YorcClient,
        run: Run,
        ahead: ThreadPoolExecutor,
        covered: Callable[[float], bool],
        cancelling: Callable[[Reference], bool],
        ended: Callable[[Reference], None],
        gone_on: Callable[[Reference], None],
    ) -> None:
        super().__init__("Yorc", run, lambda: client.transport.silent_since)
        self._client = client
        self._ahead = ahead
        self._covered = covered
        self._cancelling = cancelling
        self._ended = ended
        self._gone_on = gone_on

    def told(self, reference: Reference) -> bool:
        """Whether an execution goes on and its end would be told by an event."""
        known = self._get(reference)
        held = known.cached.peek()
        return held is not None and not held.failed and not known.status.over and self._covered(held.at)

    def started(self, reference: Reference, declared: tuple[StepDeclaration, ...]) -> None:
        """Notes an execution that has just been started."""
        self._get(reference).declared = tuple(step for step in declared if isinstance(step, StepInDefinition))

    def take(self, event: Event) -> None:
        """Notes news."""
        with self._lock:
            if event.kind == "Deployment":  # it may take its executions along
                for each in self._known.values():
                    each.stirred |= each.reference.deployment == event.deployment
            known = self._known.get(event.execution or "")
        if known is None:
            return
        with known.lock:
            failed, goes_on = known.final, False
            if failed is not None:
                goes_on = (
                    failed.status is Status.FAILED
                    and event.kind == "Workflow"
                    and failed.ended_at is not None
                    and event.moment > failed.ended_at
                )
                if not goes_on:
                    return
                known.go_on()
            known.take(event)
            known.stirred = True
            over = event.kind == "Workflow" and known.end_is_known
        if over or goes_on:
            known.cached.expire(refresh=True)
        if goes_on:
            self._gone_on(known.reference)

    def cancelling(self, reference: Reference) -> None:
        """Notes that an execution has been asked to end."""
        known = self._get(reference)
        with known.lock:
            known.cancelling = True
            known.stirred = True

    def refresh(self, reference: Reference) -> None:
        """Makes the next one who asks for an execution get news of it."""
        self._get(reference).cached.expire()

    def resumed(self, reference: Reference) -> None:
        """Notes that a failed execution goes on."""
        known = self._get(reference)
        with known.lock:
            known.go_on()
        known.cached.expire()

    def _get(self, reference: Reference) -> Known:
        return self._kept(reference.task, lambda known: known.reference == reference, lambda: Known(reference))

    def _of(self, text: str) -> Known:
        return self._get(parse_reference(text))

    def _view(self, known: Known) -> ExecutionState:
        return known.view()

    def _fresh(self, known: Known) -> float:
        if known.stirred or known.status.over:
            return _FRESH_STIRRED
        held = known.cached.peek()
        return _FRESH_EVENTS if held is not None and self._covered(held.at) else _FRESH_POLLED

    def _usable(self, known: Known) -> float:
        """What has changed isn't shown as it was, but for a moment."""
        return _FRESH_STIRRED if known.status.over else _USABLE

    def _fetch(self, known: Known) -> None:
        known.stirred = False
        try:
            task, words = self._ask(known.reference)
        except Refusal as error:
            if not error.unknown:
                raise
            with known.lock:
                if known.final is None:
                    known.set_gone()
            return
        cancelling = self._cancelling(known.reference)
        with known.lock:
            goes_on = known.final is not None and task.status != "FAILED"
            if goes_on:
                known.go_on()
            known.set_task(task, words)
            known.cancelling = (cancelling or known.cancelling) and not known.status.over
        if not known.declared:
            known.declared = self._declared(known.reference)
        if goes_on:
            self._gone_on(known.reference)
        if known.status.over and known.final is None:
            self._finish(known, task)

    def _ask(self, reference: Reference) -> tuple[Task, Mapping[str, str]]:
        """Yorc's record of an execution, and of its steps: two calls at the same time."""
        ids = reference.deployment, reference.task
        try:
            words = ahead(self._ahead, lambda: self._client.steps(*ids))
        except RuntimeError:  # the service is stopping
            raise Unavailable("The service is being restarted.") from None
        task = self._client.task(*ids)
        return task, words.result()

    def _declared(self, reference: Reference) -> tuple[StepInDefinition, ...]:
        try:
            return steps(self._client.workflow(reference.deployment, reference.workflow))
        except ServiceError:  # undeployed, for instance: the status counts for more
            return ()

    def _finish(self, known: Known, task: Task) -> None:
        """Makes the final state of an execution that has ended, when its end has been told."""
        over_since = known.over_since or time.monotonic()
        if not (known.end_is_known and known.times.began and self._covered(known.since)):
            over_for = time.monotonic() - over_since
            try:
                events, _ = self._client.events(0, AT_ONCE, known.reference.deployment)
            except ServiceError as error:
                gone = isinstance(error, Refusal) and error.unknown
                if not gone and over_for < _HISTORY_PATIENCE:
                    raise
            else:
                with known.lock:
                    known.take_history(events)
            if not known.end_is_known and over_for < _END_PATIENCE:
                return
        with known.lock:
            known.times.ended = known.times.ended or datetime.now(UTC)
            known.end(task.outputs)
        self._ended(known.reference)
