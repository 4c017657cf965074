"""The embedded engine: workflows in CWL, run on this machine and on sites."""

from __future__ import annotations

import mimetypes
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcwaas.core.companions import Companions
from hpcwaas.core.endings import Part, Removal, Retention
from hpcwaas.core.models import JSON, Check, ExecutionState, Level, LogPage, Status, Workflow, WorkflowDetails
from hpcwaas.core.outputs import Output, OutputArchive, OutputFile, OutputValue
from hpcwaas.core.ports.engine import ExecutionLookup, Permitted, Queue, UploadLookup, everything
from hpcwaas.core.publication_models import Access
from hpcwaas.core.site_models import LOCAL, Placement, Point, Site
from hpcwaas.engines.cwl.inputs.archive_checks import ArchiveChecks
from hpcwaas.engines.cwl.inputs.checks import prepare_job
from hpcwaas.engines.cwl.inputs.companions import companions
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.inputs.sources import Sources, UnusableOutput
from hpcwaas.engines.cwl.run.runner import kept_environment
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.sites.base import Stamp
from hpcwaas.engines.cwl.sites.connection import Connections
from hpcwaas.engines.cwl.sites.directory import NoSite, SiteDirectory
from hpcwaas.engines.cwl.sites.local import LocalSite
from hpcwaas.engines.cwl.sites.taking import FetchOutputs
from hpcwaas.engines.cwl.states import States
from hpcwaas.engines.cwl.storage import outputs, packing, spool
from hpcwaas.engines.cwl.storage.log import LogIndexes
from hpcwaas.engines.cwl.storage.machines import Machines
from hpcwaas.engines.cwl.watcher import Watcher
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.engines.cwl.workflows.repositories.updating import Updater
from hpcwaas.engines.registry import EngineContext
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import Conflict, NotFound, Unavailable

_CHECKSUM = re.compile(r"[A-Za-z0-9]+\$[0-9A-Fa-f]+")
_UNKNOWN = "The engine has no trace of this execution."


class CWLEngine:
    """Publishes the documents of a directory and runs them with a CWL runner. The reference of an execution is its id,
    behind the name of its site unless that is this machine: `mare:ID`.

    Args:
        data_dir: of the service; the engine keeps its own things in `cwl` there.
        shared_dir: where it keeps in `cwl` what all machines need, where there are several.
        machine: the name of this one then.
        secrets: files that no execution can read, wherever they are.
        sites: their settings, by their ids.
        connections: to them; None where nothing opens accounts.
    """

    name = "cwl"

    def __init__(
        self,
        settings: CWLSettings,
        data_dir: Path,
        secrets: Sequence[Path] = (),
        sites: Mapping[str, SiteSettings] | None = None,
        connections: Connections | None = None,
        shared_dir: Path | None = None,
        machine: str | None = None,
    ) -> None:
        directory = (shared_dir or data_dir).absolute() / "cwl"
        place = spool.Spool(directory, machine, data_dir.absolute() / "cwl")
        self._machines = Machines(place, settings.catalogue) if machine else None
        self._networks = Networks(settings.http_allowed, settings.http_denied) if settings.http_inputs else None
        self._archives = ArchiveChecks(settings.limits.disk)

        def make_local(fetch: FetchOutputs) -> LocalSite:
            return LocalSite(place, settings, fetch, [directory.parent, data_dir, *secrets], self._machines)

        self._sites = SiteDirectory(directory, settings, sites or {}, connections, make_local)
        self._catalogue = Catalogue(
            settings.catalogue,
            directory / "catalogue",
            settings.without_metadata,
            {LOCAL, *(sites or {})},
            settings.limits,
        )
        every = settings.update_every
        self._updater = Updater(settings.catalogue.absolute(), directory / "catalogue", every) if every else None
        self._logs = LogIndexes(lambda reference, offset, size: self._read(reference, spool.LOG, offset, size))
        self._watcher = Watcher(self._watched, self._news)
        self._states = States(self._sites, shared=machine is not None)

    def workflows(self) -> Sequence[Workflow]:
        """All workflows that are published, in order of their ids."""
        return self._catalogue.workflows()

    def retentions(self) -> Mapping[str, Retention]:
        """For how long each workflow that has been read has its executions kept. Never waits."""
        return self._catalogue.retentions()

    def unread(self) -> Sequence[Workflow]:
        """Workflows that are still being read."""
        return self._catalogue.unread()

    def problems(self) -> Sequence[Access]:
        """What isn't published and why, and what has warnings."""
        return self._catalogue.problems()

    def queue(self) -> Queue | None:
        """Where the executions on this machine stand."""
        return self._sites.local.queue() if self._sites.local else None

    def stale_since(self) -> datetime | None:
        """The catalogue is on this machine: never stale."""
        return None

    def workflow(
        self, workflow_id: str, permitted: Permitted = everything, *, current: bool = False
    ) -> WorkflowDetails:
        """The details of one workflow that is permitted. They are a second old at most."""
        return self._catalogue.details(workflow_id, permitted)

    def prepare(
        self,
        details: WorkflowDetails,
        inputs: Mapping[str, JSON],
        uploads: UploadLookup,
        executions: ExecutionLookup = lambda _: None,
        *,
        announced: bool = False,
    ) -> Job:
        """Checks inputs against the workflow completely, without side effects."""
        with self._archives.session() as look:
            sources = Sources(
                uploads, look, self._networks, executions, self._kept_for_others, announced, self._kind_of
            )
            job = prepare_job(self._catalogue.snapshot(details), inputs, sources)
        entry = self._catalogue.entry(details.workflow.id)
        return replace(job, time=entry.time_limit, slurm=entry.slurm, limits=entry.limits) if entry else job

    def companions(self, details: WorkflowDetails, inputs: Mapping[str, JSON]) -> Sequence[Companions]:
        """What the workflow wants beside the files that inputs name."""
        return companions(self._catalogue.snapshot(details), inputs, kept_environment(()))

    def start(self, execution_id: str, details: WorkflowDetails, prepared: Job, owner: str = "") -> str:
        """Starts an execution, or leaves alone what has been started under this id."""
        site, prefix = self._sites.at(prepared.placement)
        site.submit(execution_id, prepared, owner)
        return f"{prefix}{execution_id}"

    def recall(self, execution_id: str, placement: Placement | None) -> str | None:
        """See `RecallingEngine.recall`."""
        site, prefix = self._sites.at(placement)
        return f"{prefix}{execution_id}" if site.recall(execution_id) else None

    def state(self, reference: str) -> ExecutionState:
        """What is known now. UNKNOWN when there is no trace of it."""
        try:
            site, execution_id = self._sites.of(reference)
        except NoSite as error:
            return ExecutionState(Status.UNKNOWN, reason=str(error))
        stamp = self._states.stamp(reference)
        state = site.unbegun(execution_id) if stamp is None else self._states.begun(reference, stamp)
        if state is None:
            return ExecutionState(Status.UNKNOWN, reason=_UNKNOWN)
        if state.status.over:
            return state
        state = site.told(execution_id, state)
        if site.stamp(execution_id, spool.CANCEL):
            return replace(state, status=Status.CANCELLING, reason=state.reason if state.stale_since else None)
        return state

    def _read(self, reference: str, name: str, offset: int = 0, size: int = -1) -> bytes:
        site, execution_id = self._sites.of(reference)
        return site.read(execution_id, name, offset, size)

    def _stamp(self, reference: str, name: str) -> Stamp | None:
        site, execution_id = self._sites.of(reference)
        return site.stamp(execution_id, name)

    def _watched(self, reference: str) -> object:
        """What changes when there may be news of an execution that somebody follows."""
        try:
            site, execution_id = self._sites.of(reference)
        except NoSite:
            return None
        site.follow(execution_id)
        return [site.stamp(execution_id, name) for name in (spool.STATE, spool.LOG)]

    def _kept_for_others(self, reference: str) -> Mapping[str, JSON]:
        """See `KeptOutputs`."""
        try:
            return self._states.outputs(reference)
        except NoSite as error:
            raise UnusableOutput(str(error).rstrip(".")) from error

    def _kind_of(self, reference: str, path: str) -> str | None:
        """See `KindOfOutput`."""
        site, execution_id = self._sites.of(reference)
        try:
            return site.kind_of(execution_id, path)
        except NotFound as error:
            raise UnusableOutput(error.detail.rstrip(".")) from error

    def _news(self, reference: str) -> tuple[bool, Callable[[Level], int]]:
        try:
            stamp = self._stamp(reference, spool.STATE)
        except NoSite:  # nothing will come
            return True, lambda _levels: 0
        over = stamp is not None and self._states.begun(reference, stamp).status.over
        return over, self._logs.get(reference).total

    def log(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        """Entries of the given levels; `start` and `limit` count entries of these levels only."""
        state = self.state(reference)  # asked before the log is read, which is complete when the execution is over
        if state.status is Status.UNKNOWN:
            return LogPage((), 0, over=False, state=state)
        if not state.status.over:
            self._watched(reference)
        index = self._logs.get(reference)
        return LogPage(index.entries(levels, start, limit), index.total(levels), state.status.over, state=state)

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` when the log has an entry of these levels at `start` or the execution is over."""
        return self._watcher.watch(reference, levels, start, wake)

    def cancel(self, reference: str) -> None:
        """Asks for the end of an execution and returns at once. Harmless when repeated.

        Raises:
            Conflict: it has ended by itself.
            NotFound: there is no trace of it.
        """
        state = self.state(reference)
        if state.status is Status.UNKNOWN:
            raise NotFound(state.reason or _UNKNOWN)
        if state.status is Status.CANCELLED:
            return
        if state.status.over:
            raise Conflict(f"The execution has ended already: {state.status}.")
        site, execution_id = self._sites.of(reference)
        site.cancel(execution_id)

    def lost(self, reference: str) -> bool:
        """Whether there is no trace of an execution."""
        return self.state(reference).status is Status.UNKNOWN

    def silent_since(self) -> None:
        """Always None: it is in this process."""
        return

    def resume(self, reference: str) -> None:
        """Lets a failed execution go on where it failed, where its site and its runner can."""
        if (state := self.state(reference)).status is not Status.FAILED:
            raise Conflict(f"The execution is {state.status}; only one that has FAILED can be resumed.")
        site, execution_id = self._sites.of(reference)
        site.resume(execution_id)

    def output(self, reference: str, name: str, path: str | None, archive: str) -> Output:
        """An output of an ended execution, or a part of it.

        Raises:
            NotFound: no such output or part, or the execution has not ended.
        """
        if not self._states.steadily(lambda: self.state(reference).status.over, bool):
            if self._machines is not None:  # who asks has seen it end, on another machine
                raise Unavailable("That the execution has ended isn't seen on this machine yet.", retry_after=1)
            raise NotFound("The execution has not ended. Its outputs can be fetched when it has.")
        kept = self._states.outputs(reference)
        if name not in kept:
            known = ", ".join(sorted(kept)) or "none"
            raise NotFound(f"The execution has no output {name!r}. Its outputs: {known}.")
        try:
            found = outputs.find(kept[name], path)
            if isinstance(found, outputs.Place):
                return self._open(reference, found, archive)
        except (LookupError, outputs.OutsideError):
            raise NotFound(f"The output {name!r} has no part {path!r}.") from None
        return OutputValue(outputs.show(found, f"{name}/{path}" if path else name))

    def _open(self, reference: str, place: outputs.Place, archive: str) -> Output:
        declared: Mapping[str, Any] = place.declared or {}
        name = declared.get("basename") or place.path.rpartition("/")[2]
        site, execution_id = self._sites.of(reference)
        opened = site.open_output(execution_id, place.path)
        if opened is None:
            chunks = site.pack_output(execution_id, place.path, archive)
            return OutputArchive(f"{name}.{archive}", packing.MEDIA_TYPES[archive], chunks)
        checksum = str(declared.get("checksum"))
        if not _CHECKSUM.fullmatch(checksum):  # a tool may say anything of its files
            checksum = f"{opened.size:x}-{opened.modified_at.timestamp():.6f}"
        return OutputFile(
            name=name,
            media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            size=opened.size,
            etag=checksum.replace("$", "-"),
            modified_at=opened.modified_at,
            stream=opened.stream,
        )

    def remove(self, reference: str, part: Part, *, give_up: bool = False) -> Removal:
        """Removes one part, or all, of an execution that has ended, here and on its site."""
        removal = self._sites.remove(reference, part, give_up=give_up)
        self._states.forget(reference)
        return removal

    def sites(self) -> Sequence[Site]:
        """All sites, this machine first. Asks none."""
        return self._sites.all()

    def place(self, prepared: Job, details: WorkflowDetails, placement: Placement) -> Job:
        """Checks what was prepared against a site, and says where it is to be started."""
        return self._sites.place(prepared, details, placement)

    def check_account(self, placement: Placement) -> Sequence[Point]:
        """Tries everything on a site that an execution by this account will need."""
        return self._sites.check_account(placement)

    def checks(self) -> Sequence[Check]:
        """State of the catalogue, whether executions can run on this machine, and what is wrong with sites."""
        found = [self._catalogue.check()]
        if self._sites.local is not None:
            begin = time.perf_counter()
            found.append(_check("cwl-executions", begin, self._sites.local.problems()))
        if self._machines is not None:
            begin = time.perf_counter()
            found.append(_check("cwl-machines", begin, [*self._machines.problems()]))
        if self._sites.remote:
            begin = time.perf_counter()
            found.append(_check("cwl-sites", begin, [problem for _, problem in self._sites.problems()]))
        return found

    def close(self) -> None:
        """Releases what this process holds. Executions go on."""
        self._catalogue.close()
        if self._updater:
            self._updater.close()
        self._sites.close()
        if self._machines is not None:
            self._machines.close()


def _check(name: str, begin: float, problems: Sequence[str]) -> Check:
    return Check(name, "degraded" if problems else "ok", time.perf_counter() - begin, tuple(problems))


def make(settings: CWLSettings, context: EngineContext) -> CWLEngine:
    """The engine as the registry asks for it."""
    connections = None
    if context.sites and context.credentials is not None:
        from hpcwaas.engines.cwl.sites.ssh import SSHConnections

        connections = SSHConnections(context.sites, context.credentials)
    shared = (context.shared_dir, context.machine)
    return CWLEngine(settings, context.data_dir, context.secrets, context.sites, connections, *shared)
