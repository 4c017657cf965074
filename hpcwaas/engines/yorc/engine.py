"""The engine `yorc`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from hpcwaas.common import calls
from hpcwaas.common.cached import PATIENCE
from hpcwaas.core.models import JSON, Check, ExecutionState, Level, LogPage, Status, Workflow, WorkflowDetails
from hpcwaas.core.outputs import Output
from hpcwaas.core.ports.engine import Permitted, UploadLookup, everything
from hpcwaas.core.ports.records import ListingRecords, StartRecords
from hpcwaas.engines.orchestrated import answers
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
from hpcwaas.errors import Conflict, NotFound, ServiceError

_THREADS = 16


class YorcEngine:
    """Runs the workflows that the settings publish of what Yorc has deployed.

    Args:
        data_dir: of the service; the lines of logs are kept in it.
        starts: what was started.
        listings: where the list of workflows is kept.
    """

    name = ENGINE
    guarded = Level.DEBUG
    """Yorc's entries of this level hold remote command lines."""

    def __init__(self, settings: YorcSettings, data_dir: Path, starts: StartRecords, listings: ListingRecords) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=ENGINE)
        self._ahead = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"{ENGINE}-ahead")
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

    def workflows(self) -> Sequence[Workflow]:
        return self._catalogue.workflows()

    def stale_since(self) -> datetime | None:
        """When the list of workflows was read, if Yorc hasn't answered since."""
        return self._catalogue.stale_since()

    @calls.one()
    def workflow(
        self, workflow_id: str, permitted: Permitted = everything, *, current: bool = False
    ) -> WorkflowDetails:
        if current:
            return self._catalogue.details_now(workflow_id, permitted)
        return self._catalogue.details(workflow_id, permitted)

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

    def state(self, reference: str) -> ExecutionState:
        self._events.start()
        try:
            return self._executions.state(reference, PATIENCE)
        except NotFound as error:  # another engine's, for instance
            return ExecutionState(Status.UNKNOWN, reason=error.detail)

    def log(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        return self._logs.page(reference, levels, start, limit)

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        self._events.start()
        return self._logs.watch(reference, levels, start, wake)

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

    def silent_since(self) -> datetime | None:
        return self._transport.silent_since

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

    def output(self, reference: str, name: str, path: str | None, archive: str) -> Output:
        """See `Engine`. Yorc has values only, no files."""
        return answers.output(self._executions.state(reference, PATIENCE), name, path)

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

    def close(self) -> None:
        """Ends all threads and connections. Executions go on."""
        self._starter.close()
        self._logs.close()
        self._events.close()
        self._pool.shutdown(cancel_futures=True)
        self._ahead.shutdown(cancel_futures=True)
        self._transport.close()

    def _look(self) -> None:
        """Has the list read, unless it is fresh, so that it is known what isn't published."""
        with contextlib.suppress(ServiceError):  # which the check of Yorc itself tells
            self._catalogue.workflows()

    def _is_wanted(self, entry: Line) -> bool:
        return bool(entry.workflow and self._published.publication(entry.deployment, entry.workflow))

    def _run(self, function: Callable[[], None]) -> None:
        """Runs a function in another thread; drops it when the engine is being closed."""
        with contextlib.suppress(RuntimeError):
            self._pool.submit(function)


def make(settings: YorcSettings, context: EngineContext) -> YorcEngine:
    """The engine as the registry asks for it."""
    return YorcEngine(settings, context.data_dir, context.starts, context.listings)
