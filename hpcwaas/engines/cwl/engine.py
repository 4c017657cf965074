"""The embedded engine: workflows in CWL, run on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from hpcwaas.common.resources import resource
from hpcwaas.core.models import (
    JSON,
    Check,
    ExecutionState,
    Level,
    LogPage,
    Output,
    Status,
    Workflow,
    WorkflowDetails,
)
from hpcwaas.core.ports.engine import Permitted, UploadLookup, everything
from hpcwaas.engines.cwl.executions import Executions
from hpcwaas.engines.cwl.inputs.checks import prepare_job
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.inputs.looks import Looks
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.site import LocalSite
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.errors import Conflict


class CWLEngine:
    """Publishes the documents of a directory and runs them with a CWL runner.

    Args:
        data_dir: of the service; the engine keeps its own things in `cwl` there.
        secrets: files that no execution can read, wherever they are.
    """

    name = "cwl"

    def __init__(self, settings: CWLSettings, data_dir: Path, secrets: Sequence[Path] = ()) -> None:
        directory = data_dir / "cwl"
        self._networks = Networks(settings.http_allowed, settings.http_denied) if settings.http_inputs else None
        self._looks = Looks(settings.limits.disk)
        self._executions = Executions(LocalSite(directory, settings, [data_dir, *secrets]), settings)
        self._catalogue = Catalogue(
            settings.catalogue or resource("examples"), directory / "catalogue", settings.without_metadata
        )

    def workflows(self) -> Sequence[Workflow]:
        """All workflows that are published, in order of their ids."""
        return self._catalogue.workflows()

    def stale_since(self) -> datetime | None:
        """The catalogue is on this machine: never stale."""
        return None

    def workflow(
        self, workflow_id: str, permitted: Permitted = everything, *, current: bool = False
    ) -> WorkflowDetails:
        """The details of one workflow that is permitted. They are a second old at most.

        Raises:
            NotFound: no such one is published under this id.
        """
        return self._catalogue.details(workflow_id, permitted)

    def prepare(self, details: WorkflowDetails, inputs: Mapping[str, JSON], uploads: UploadLookup) -> Job:
        """Checks inputs against the workflow completely, without side effects.

        Raises:
            InvalidInputs: with all problems at once.
        """
        with self._looks.session() as look:
            job = prepare_job(details, self._catalogue.snapshot(details), inputs, uploads, look, self._networks)
        return replace(job, time=self._catalogue.time_limit(details.workflow.id))

    def start(self, execution_id: str, details: WorkflowDetails, prepared: Job, owner: str = "") -> str:
        """Starts an execution, or finds that it has been started before under this id and leaves it alone."""
        return self._executions.start(execution_id, prepared, owner)

    def state(self, reference: str) -> ExecutionState:
        """What is known now. UNKNOWN when there is no trace of it."""
        return self._executions.state(reference)

    def log(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        """Entries of the given levels; `start` and `limit` count entries of these levels only."""
        return self._executions.log(reference, levels, start, limit)

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` when the log has an entry of these levels at `start` or the execution is over."""
        return self._executions.watch(reference, levels, start, wake)

    def cancel(self, reference: str) -> None:
        """Asks for the end of an execution and returns at once.

        Raises:
            Conflict: it has ended by itself.
            NotFound: there is no trace of it.
        """
        self._executions.cancel(reference)

    def lost(self, reference: str) -> bool:
        """Whether there is no trace of an execution."""
        return self._executions.state(reference).status is Status.UNKNOWN

    def silent_since(self) -> None:
        """Always None: it is in this process."""
        return

    def resume(self, reference: str) -> None:
        """Runners of CWL can't.

        Raises:
            Conflict: always.
        """
        raise Conflict("Executions of this engine can't be resumed. Trigger a new one.")

    def output(self, reference: str, name: str, path: str | None, archive: str) -> Output:
        """An output of an ended execution, or a part of it.

        Raises:
            NotFound: no such output or part.
        """
        return self._executions.output(reference, name, path, archive)

    def checks(self) -> Sequence[Check]:
        """State of the catalogue, and whether executions can run."""
        return [self._catalogue.check(), self._executions.check()]

    def close(self) -> None:
        """Releases what this process holds. Executions go on."""
        self._executions.close()
