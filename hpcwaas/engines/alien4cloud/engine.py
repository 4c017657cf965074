"""The engine `alien4cloud`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcwaas.common import calls
from hpcwaas.core.models import JSON, Check, Status, WorkflowDetails
from hpcwaas.core.ports.engine import UploadLookup
from hpcwaas.core.ports.records import ListingRecords, StartRecords
from hpcwaas.engines.alien4cloud.client import Alien4CloudClient
from hpcwaas.engines.alien4cloud.events import Events
from hpcwaas.engines.alien4cloud.faults import NOT_FOUND, Refusal
from hpcwaas.engines.alien4cloud.followed_logs import FollowedLogs
from hpcwaas.engines.alien4cloud.inputs import prepare_inputs
from hpcwaas.engines.alien4cloud.mapper import ENGINE
from hpcwaas.engines.alien4cloud.published import PublishedWorkflows
from hpcwaas.engines.alien4cloud.references import Reference, parse_reference
from hpcwaas.engines.alien4cloud.settings import Alien4CloudSettings
from hpcwaas.engines.alien4cloud.starting import WorkflowStart
from hpcwaas.engines.alien4cloud.tracking import TrackedExecutions
from hpcwaas.engines.alien4cloud.transport import Transport
from hpcwaas.engines.orchestrated import answers
from hpcwaas.engines.orchestrated.engine import OrchestratedEngine
from hpcwaas.engines.orchestrated.kept_listing import KeptListing
from hpcwaas.engines.orchestrated.starting import Starter
from hpcwaas.engines.registry import EngineContext
from hpcwaas.errors import Conflict


@dataclass(frozen=True, slots=True)
class Prepared:
    """Checked inputs as Alien4Cloud takes them.

    Attributes:
        secret: whether there may be secrets among them.
    """

    inputs: Mapping[str, JSON]
    secret: bool


class Alien4CloudEngine(OrchestratedEngine):
    """Runs the workflows that Alien4Cloud's applications publish.

    Args:
        data_dir: of the service; the lines of followed logs are kept in it.
        starts: what was started.
        listings: where the list of workflows is kept.
    """

    _executions: TrackedExecutions
    _events: Events
    _logs: FollowedLogs

    def __init__(
        self, settings: Alien4CloudSettings, data_dir: Path, starts: StartRecords, listings: ListingRecords
    ) -> None:
        super().__init__(ENGINE)
        self._transport = Transport(settings)
        self._client = Alien4CloudClient(self._transport)
        kept = KeptListing(listings, f"{ENGINE} {settings.address}")
        self._catalogue = PublishedWorkflows(self._client, settings.cache_seconds, self._run, self._ahead, kept)
        self._executions = TrackedExecutions(
            self._client,
            self._catalogue,
            self._run,
            lambda since: self._events.covered(since),
            lambda reference: self._logs.look_again(reference),
        )
        self._events = Events(settings, self._transport, self._executions.take)
        self._starter = Starter("Alien4Cloud", self._clock_ahead, self._transport.time_left, starts)
        self._logs = FollowedLogs(self._client, self._executions, data_dir / ENGINE / "logs", self._run)

    def prepare(self, details: WorkflowDetails, inputs: Mapping[str, JSON], uploads: UploadLookup) -> Prepared:
        """Checks inputs against the workflow completely. Alien4Cloud knows no files: an upload is of no use here.

        Raises:
            InvalidInputs: with all problems at once.
        """
        return Prepared(prepare_inputs(details.inputs, inputs), bool(details.secret_inputs))

    @calls.one()
    def start(self, execution_id: str, details: WorkflowDetails, prepared: Prepared, owner: str = "") -> str:
        """See `Engine`. Nothing waits here."""
        self._events.start()
        start = WorkflowStart(self._client, details.workflow, prepared.inputs, prepared.secret)
        reference = self._starter.start(execution_id, start)
        self._executions.started(parse_reference(reference), details.steps)
        return reference

    @calls.one()
    def cancel(self, reference: str) -> None:
        """See `Engine`. One that can't be cancelled in its present state is a `Conflict`, too."""
        parsed = parse_reference(reference)
        if answers.is_ending(self._executions.state(reference)):
            return
        try:
            self._client.cancel(parsed.environment, parsed.execution)
        except Refusal as error:
            if error.code != NOT_FOUND:
                raise
            self._not_cancelled(error, parsed)
        else:
            self._executions.cancelling(parsed)

    def _not_cancelled(self, error: Refusal, reference: Reference) -> None:
        if error.status == 404:
            raise Conflict(
                "The execution's environment isn't deployed any more: nothing of it can be running."
            ) from error
        self._executions.refresh(reference)
        if answers.is_ending(self._executions.state(str(reference))):
            return
        if error.message.startswith("404") and self._executions.beginning(reference):
            raise Conflict("The execution is just being started. Try again in a moment.") from error
        raise Conflict(
            "Alien4Cloud refuses to cancel the execution in its present state. If nothing of it runs, close it."
        ) from error

    @calls.one()
    def lost(self, reference: str) -> bool:
        parsed = parse_reference(reference)
        status = self._executions.state(reference).status
        if status is Status.UNKNOWN or status.over:
            return not status.over
        try:
            self._client.cancel(parsed.environment, parsed.execution)
        except Refusal as error:
            if error.code != NOT_FOUND:
                raise
            self._executions.refresh(parsed)
            return not self._executions.state(reference).status.over and not self._executions.beginning(parsed)
        self._executions.cancelling(parsed)
        return False

    @calls.one()
    def resume(self, reference: str) -> None:
        parsed = parse_reference(reference)
        answers.require_failed(self._executions.state(reference))
        try:
            self._client.resume(parsed.execution)
        except Refusal as error:
            raise Conflict(
                "Alien4Cloud can't resume the execution. Check that its environment is still deployed."
            ) from error
        self._executions.resumed(parsed)
        self._logs.look_again(reference)

    def checks(self) -> Sequence[Check]:
        """Whether Alien4Cloud answers, and whether its events come."""
        answered = answers.check(ENGINE, "Alien4Cloud", self._client.ping, self._pool)
        self._events.start()
        missed = [self._events.problem] if self._events.problem else []
        return (answered, Check(f"{ENGINE}-events", "degraded" if missed else "ok", 0.0, missed))

    def _clock_ahead(self) -> float:
        """Seconds by which the clock that stamps executions is ahead of ours. It is the orchestrator's, as events show
        it; without any, Alien4Cloud's is the best guess."""
        ahead = self._events.clock_ahead
        return self._transport.clock_ahead if ahead is None else ahead


def make(settings: Alien4CloudSettings, context: EngineContext) -> Alien4CloudEngine:
    """The engine as the registry asks for it."""
    return Alien4CloudEngine(settings, context.data_dir, context.starts, context.listings)
