"""The engine `yorc`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcwaas.common import calls
from hpcwaas.core.models import JSON, Check, Level, Status, WorkflowDetails
from hpcwaas.core.ports.engine import UploadLookup
from hpcwaas.core.ports.records import ListingRecords, StartRecords
from hpcwaas.engines.orchestrated import answers
from hpcwaas.engines.orchestrated.engine import OrchestratedEngine
from hpcwaas.engines.orchestrated.kept_listing import KeptListing
from hpcwaas.engines.orchestrated.starting import Starter
from hpcwaas.engines.registry import EngineContext
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.documents import Line
from hpcwaas.engines.yorc.events import Events
from hpcwaas.engines.yorc.faults import Refusal
from hpcwaas.engines.yorc.followed_logs import FollowedLogs
from hpcwaas.engines.yorc.inputs import prepare_inputs
from hpcwaas.engines.yorc.publications import ENGINE, Publications
from hpcwaas.engines.yorc.published import PublishedWorkflows
from hpcwaas.engines.yorc.references import parse_reference, parse_workflow
from hpcwaas.engines.yorc.settings import YorcSettings
from hpcwaas.engines.yorc.starting import WorkflowStart
from hpcwaas.engines.yorc.tracking import TrackedExecutions
from hpcwaas.engines.yorc.transport import Transport
from hpcwaas.errors import Conflict, ServiceError


class YorcEngine(OrchestratedEngine):
    """Runs the workflows that the settings publish of what Yorc has deployed.

    Args:
        data_dir: of the service; the lines of logs are kept in it.
        starts: what was started.
        listings: where the list of workflows is kept.
    """

    _catalogue: PublishedWorkflows
    _executions: TrackedExecutions
    _events: Events
    _logs: FollowedLogs

    guarded = Level.DEBUG
    """Yorc's entries of this level hold remote command lines."""

    def __init__(self, settings: YorcSettings, data_dir: Path, starts: StartRecords, listings: ListingRecords) -> None:
        super().__init__(ENGINE)
        self._transport = Transport(settings)
        self._client = YorcClient(self._transport)
        self._published = Publications(settings.publish)
        kept = KeptListing(listings, f"{ENGINE} {settings.address}")
        self._catalogue = PublishedWorkflows(
            self._client, self._published, settings.cache_seconds, self._run, self._ahead, kept
        )
        self._executions = TrackedExecutions(
            self._client,
            self._run,
            self._ahead,
            lambda since: self._events.covered(since),
            lambda reference: self._logs.cancelling(reference),
            lambda reference: self._logs.ended(reference),
            lambda reference: self._logs.go_on(reference),
        )
        self._events = Events(self._client, self._executions.take)
        self._starter = Starter("Yorc", lambda: self._transport.clock_ahead, self._transport.time_left, starts)
        self._logs = FollowedLogs(
            self._client, self._executions, data_dir / ENGINE / "logs", self._run, self._is_wanted
        )

    def prepare(self, details: WorkflowDetails, inputs: Mapping[str, JSON], uploads: UploadLookup) -> Mapping[str, str]:
        """Checks inputs against the workflow completely. Yorc knows no files: an upload is of no use here.

        Raises:
            InvalidInputs: with all problems at once.
        """
        return prepare_inputs(details.inputs, inputs)

    @calls.one()
    def start(self, execution_id: str, details: WorkflowDetails, prepared: Mapping[str, str], owner: str = "") -> str:
        """See `Engine`. Nothing waits here."""
        self._events.start()
        whole = self._logs.start()
        start = WorkflowStart(self._client, parse_workflow(details.workflow.id), prepared)
        text = self._starter.start(execution_id, start)
        reference = parse_reference(text)
        self._logs.started(reference, whole=whole)
        self._executions.started(reference, details.steps)
        return text

    @calls.one()
    def cancel(self, reference: str) -> None:
        """See `Engine`. Jobs that the execution has submitted end only if its workflow has a step for that."""
        parsed = parse_reference(reference)
        if answers.is_ending(self._executions.state(reference)):
            return
        try:
            self._client.cancel(parsed.deployment, parsed.task)
        except Refusal as error:
            self._executions.refresh(parsed)
            if error.unknown:
                raise Conflict(
                    "Yorc has no trace of the execution any more: nothing of it is running there."
                ) from error
            if error.status != 400:
                raise
            if not answers.is_ending(self._executions.state(reference)):
                raise Conflict("Yorc refuses to cancel the execution in its present state. Try again.") from error
        else:
            self._logs.cancelled(parsed)
            self._executions.cancelling(parsed)

    @calls.one()
    def lost(self, reference: str) -> bool:
        parsed = parse_reference(reference)
        status = self._executions.state(reference).status
        if status is Status.UNKNOWN or status.over:
            return not status.over
        try:
            self._client.cancel(parsed.deployment, parsed.task)
        except Refusal as error:
            if error.status != 400 and not error.unknown:
                raise
            self._executions.refresh(parsed)
            return not self._executions.state(reference).status.over
        self._logs.cancelled(parsed)
        self._executions.cancelling(parsed)
        return False

    @calls.one()
    def resume(self, reference: str) -> None:
        parsed = parse_reference(reference)
        answers.require_failed(self._executions.state(reference))
        try:
            self._client.resume(parsed.deployment, parsed.task)
        except Refusal as error:
            self._executions.refresh(parsed)
            if error.status not in (400, 404):
                raise
            raise Conflict(
                "Yorc can't resume the execution. Check that nobody has resumed it already, and that its deployment "
                "is still there."
            ) from error
        self._executions.resumed(parsed)
        self._logs.go_on(parsed)

    def checks(self) -> Sequence[Check]:
        """Whether Yorc answers, whether its events and its log come, and what of the settings publishes nothing."""
        answered = answers.check(ENGINE, "Yorc", self._client.ping, self._pool)
        self._events.start()
        self._logs.start()
        self._run(self._look)
        missed = [problem for problem in (self._events.problem, self._logs.problem) if problem]
        return (
            answered,
            *(
                Check(f"{ENGINE}-{name}", "degraded" if problems else "ok", 0.0, problems)
                for name, problems in (("polls", missed), ("catalogue", self._catalogue.problems))
            ),
        )

    def _look(self) -> None:
        """Has the list read, unless it is fresh, so that it is known what isn't published."""
        with contextlib.suppress(ServiceError):  # which the check of Yorc itself tells
            self._catalogue.workflows()

    def _is_wanted(self, entry: Line) -> bool:
        return bool(entry.workflow and self._published.publication(entry.deployment, entry.workflow))


def make(settings: YorcSettings, context: EngineContext) -> YorcEngine:
    """The engine as the registry asks for it."""
    return YorcEngine(settings, context.data_dir, context.starts, context.listings)
