"""What is known of executions: asked for when somebody asks, kept fresh by events, and never asked twice at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hpcwaas.common.cached import Run
from hpcwaas.core.models import JSON, ExecutionState, Status, StepDeclaration
from hpcwaas.engines.alien4cloud import mapper, topology
from hpcwaas.engines.alien4cloud.client import Alien4CloudClient
from hpcwaas.engines.alien4cloud.faults import NOT_FOUND, Refusal, reading
from hpcwaas.engines.alien4cloud.known import Known, state, view
from hpcwaas.engines.alien4cloud.published import PublishedWorkflows, Topology
from hpcwaas.engines.alien4cloud.references import Reference, parse_reference
from hpcwaas.engines.alien4cloud.topology import StepInTopology
from hpcwaas.engines.orchestrated.tracking import Tracking
from hpcwaas.errors import ServiceError

_FRESH_BEGINNING = 0.5
"""Seconds for which "not there yet" is believed: Alien4Cloud hears of a start after about half a second."""

_FRESH_POLLED = 2.5
"""Seconds for which a status is believed without events."""

_FRESH_EVENTS = 15.0
"""Seconds after which it is looked at although events come: one may have been lost."""

_USABLE = 10.0
"""Seconds for which a status may be shown while a newer one is fetched."""

_GRACE = 60.0
"""Seconds for which an execution that Alien4Cloud doesn't know yet is pending."""

_OUTPUTS_PATIENCE = 60.0
"""Seconds for which the outputs of an ended execution are tried to be had; until then it isn't shown as ended."""

_RESUMING = 60.0
"""Seconds after it was resumed for which an execution's record may still be that of the attempt which failed."""

_LATEST_RUNS = 50
"""Of so many of a deployment's latest executions, those that ran meanwhile must be some."""

_NOT_ITS_OUTPUTS = (
    "The execution succeeded, but nobody can tell its outputs: Alien4Cloud keeps one value for all executions of a "
    "deployment, and another one ran in the same environment meanwhile. Look for them in the log."
)


class TrackedExecutions(Tracking[Known]):
    """The executions that somebody asked for lately.

    Args:
        covered: whether events have been coming without a gap since this monotonic time.
        gone_on: called with the reference of an execution that had failed and goes on, resumed by another process.
    """

    def __init__(
        self,
        client: Alien4CloudClient,
        catalogue: PublishedWorkflows,
        run: Run,
        covered: Callable[[float], bool],
        gone_on: Callable[[str], None],
    ) -> None:
        super().__init__("Alien4Cloud", run, lambda: client.transport.silent_since)
        self._client = client
        self._catalogue = catalogue
        self._covered = covered
        self._gone_on = gone_on

    def started(self, reference: Reference, steps: tuple[StepDeclaration, ...]) -> None:
        """Notes an execution that has just been started."""
        self._get(reference).declared = tuple(step for step in steps if isinstance(step, StepInTopology))

    def take(self, event: mapper.Event) -> None:
        """Notes news."""
        with self._lock:
            known = self._known.get(event.execution)
        if known is None or known.final is not None:
            return
        with known.lock:
            if event.step is not None:
                known.set_step(event.step)
                return
            assert event.status is not None  # noqa: S101 - for the type checker; an event has one or the other
            if event.status is Status.RUNNING:
                known.started_at = known.started_at or event.at
            if event.status.over:
                if known.failed is not None and known.failed.ended_at and event.at <= known.failed.ended_at:
                    return  # the end of the attempt before
                known.ended_at = event.at
            known.set_status(event.status)
        if event.status.over:
            known.cached.expire(refresh=True)  # steps and outputs

    def cancelling(self, reference: Reference) -> None:
        """Notes that an execution has been asked to end."""
        known = self._get(reference)
        with known.lock:
            known.set_status(Status.CANCELLING)

    def refresh(self, reference: Reference) -> None:
        """Makes the next one who asks for an execution get news of it."""
        self._get(reference).cached.expire()

    def resumed(self, reference: Reference) -> None:
        """Notes that a failed execution goes on."""
        known = self._get(reference)
        with known.lock:
            known.go_on()
        known.cached.expire()

    def beginning(self, reference: Reference) -> bool:
        """Whether Alien4Cloud has taken an execution and doesn't have it on record yet."""
        return not self._get(reference).seen

    def _get(self, reference: Reference) -> Known:
        return self._kept(reference.execution, lambda known: known.reference == reference, lambda: Known(reference))

    def _of(self, text: str) -> Known:
        return self._get(parse_reference(text))

    def _view(self, known: Known) -> ExecutionState:
        return view(known)

    def _usable(self, known: Known) -> float:
        return _USABLE

    def _fresh(self, known: Known) -> float:
        now = time.monotonic()
        if not known.seen or (known.failed is not None and known.started_at is None):
            return _FRESH_BEGINNING if now - max(known.since, known.resumed_at) < _GRACE else _FRESH_POLLED
        held = known.cached.peek()
        return _FRESH_EVENTS if held is not None and self._covered(held.at) else _FRESH_POLLED

    def _fetch(self, known: Known) -> None:
        try:
            document, news = self._ask(known)
        except Refusal as error:
            if error.code != NOT_FOUND:
                raise
            with known.lock:
                if known.final is None and (known.seen or time.monotonic() - known.since > _GRACE):
                    known.status, known.seen = Status.UNKNOWN, False
            return
        with reading("an execution"):
            run = mapper.run(document)
        declared = self._declared(known, run.workflow)
        with known.lock:
            if known.is_past(run):
                if time.monotonic() - known.resumed_at < _RESUMING:
                    return
                run = replace(run, ended_at=datetime.now(UTC))  # the attempt that never began ends here
            failed = known.final is not None and known.final.status is Status.FAILED
            # It may have been resumed elsewhere, and have failed once more: only then it has begun anew.
            goes_on = failed and (run.status is not Status.FAILED or run.started_at != known.started_at)
            if goes_on:
                known.go_on()
            known.seen = True
            known.deployment = run.deployment
            known.declared = declared or known.declared
            known.started_at = run.started_at or known.started_at
            known.ended_at = run.ended_at or known.ended_at
            known.set_status(run.status)
            for item in news:
                known.set_step(item)
        if known.status.over:
            self._finish(known)
        if goes_on:
            self._gone_on(str(known.reference))

    def _ask(self, known: Known) -> tuple[Mapping[str, Any], list[mapper.StepNews]]:
        """Alien4Cloud's record of an execution, and of its steps. One call where it is its deployment's last one."""
        execution = known.reference.execution
        document: Any = None if known.deployment else self._client.execution(execution)
        with reading("an execution"):
            deployment: str = known.deployment or document["deploymentId"]
        overview = self._client.last_execution(deployment)
        with reading("an execution"):
            last = overview["execution"]
            if last is not None and last["id"] == execution:
                return last, list(mapper.overview_steps(overview))
        if document is None:
            document = self._client.execution(execution)
        tasks = self._client.tasks(execution)
        deployed = self._deployed(known)
        with reading("an execution"):
            operations = topology.operations(deployed, document["workflowName"]) if deployed else {}
            return document, list(mapper.task_steps(tasks, operations))

    def _declared(self, known: Known, workflow: str) -> tuple[StepInTopology, ...]:
        if known.declared:
            return known.declared
        deployed = self._deployed(known)
        with reading("a topology"):
            return topology.steps(deployed, workflow) if deployed else ()

    def _deployed(self, known: Known) -> Topology | None:
        try:
            return self._catalogue.topology(known.reference.application, known.reference.environment)
        except ServiceError:  # undeployed, for instance: the status counts for more than the steps that never began
            return None

    def _finish(self, known: Known) -> None:
        """Makes the final state of an execution that has ended, outputs included."""
        outputs: Mapping[str, JSON] = {}
        reason = None
        if known.status is Status.SUCCEEDED:
            try:
                outputs, reason = self._outputs(known)
            except ServiceError:
                if time.monotonic() - (known.over_since or 0) < _OUTPUTS_PATIENCE:
                    raise
                reason = "The execution succeeded, but Alien4Cloud doesn't give its outputs."
        with known.lock:
            known.final = state(known, known.status, outputs, reason)

    def _outputs(self, known: Known) -> tuple[Mapping[str, JSON], str | None]:
        """The values that the deployment's output attributes have now, or why they aren't this execution's."""
        reference = known.reference
        deployed = self._catalogue.topology(reference.application, reference.environment)
        with reading("a topology"):
            places = topology.output_attributes(deployed)
        if not places:
            return {}, None
        instances = self._client.instances(reference.application, reference.environment)
        if not self._was_alone(known):
            return {}, _NOT_ITS_OUTPUTS
        with reading("instances"):
            values = {name: mapper.attribute_values(instances, *place) for name, place in places.items()}
        return {name: value for name, value in values.items() if value is not None}, None

    def _was_alone(self, known: Known) -> bool:
        """Whether no other execution of its deployment ran since the execution began, the attempts before it was
        resumed included: a deployment has one value for all its executions."""
        begins = [known.started_at, known.failed and known.failed.started_at]
        begins += [step.started_at for step in known.steps.values()]
        began = min((it for it in begins if it is not None), default=None)
        with reading("executions"):
            runs = [mapper.run(item) for item in self._client.executions(known.deployment or "", _LATEST_RUNS)]
        others = [run for run in runs if run.id != known.reference.execution]
        return all(began and run.ended_at and run.ended_at < began for run in others)
