"""The sites on which the engine's executions live."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.models import WorkflowDetails
from hpcwaas.core.site_models import LOCAL, Placement, Point, PointStatus, Site
from hpcwaas.engines.cwl.containers import NONE, want
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.sites import points
from hpcwaas.engines.cwl.sites.around import Surroundings
from hpcwaas.engines.cwl.sites.base import ExecutionSite
from hpcwaas.engines.cwl.sites.connection import Connections
from hpcwaas.engines.cwl.sites.local import LocalSite
from hpcwaas.engines.cwl.sites.looking import NoScheduler, Scheduler
from hpcwaas.engines.cwl.sites.mirror import Mirror
from hpcwaas.engines.cwl.sites.remote import RemoteSite
from hpcwaas.engines.cwl.sites.resources import resources
from hpcwaas.engines.cwl.sites.slurm import Slurm
from hpcwaas.engines.cwl.sites.taking import FetchOutputs, Room, Untakable, fetch
from hpcwaas.engines.cwl.sites.transfer import Packages
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from hpcwaas.engines.cwl.storage.trash import Trash
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import BadRequest, Unavailable

_LOGGER = logging.getLogger(__name__)
_KEEPER_TICK = 1.0
_TIDY_AFTER, _TIDY_EVERY = 60.0, 3600.0


def _scheduler(settings: SiteSettings) -> Callable[[str], Scheduler]:
    return Slurm if settings.scheduler == "slurm" else lambda _user: NoScheduler()


def _failed(found: Sequence[Point]) -> bool:
    return any(point.status is PointStatus.FAILED for point in found)


class NoSite(Exception):
    """Why an execution can't be asked for: its site isn't there any more."""


class SiteDirectory:
    """The machine of the service, unless it doesn't execute, and the sites of the settings.

    Args:
        directory: of the engine.
        connections: to the sites; None where nothing opens accounts.
    """

    def __init__(
        self,
        directory: Path,
        settings: CWLSettings,
        sites: Mapping[str, SiteSettings],
        connections: Connections | None,
        local: Callable[[FetchOutputs], LocalSite],
    ) -> None:
        self._directory = directory
        self._trash = Trash(directory / "removed")
        self._settings = settings
        self._configured = sites
        self._connections = connections
        self.local = local(self._fetch) if settings.local else None
        self.remote: dict[str, RemoteSite] = {}
        if connections is not None:
            networks = Networks(settings.http_allowed, settings.http_denied) if settings.http_inputs else None
            packages = Packages(directory / "sites" / ".workflows")
            for site, given in sites.items():
                around = Surroundings(
                    site=site,
                    settings=given,
                    mirror=Mirror(directory / "sites" / site),
                    connections=connections,
                    packages=packages,
                    scheduler=_scheduler(given),
                    log=settings.limits.log,
                    networks=networks,
                    download=settings.limits.disk,
                    fetch=self._fetch,
                )
                self.remote[site] = RemoteSite(around)
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="cwl-sites-keeper", daemon=True)
        if self.remote:
            self._keeper.start()

    def _keep(self) -> None:
        tidying = time.monotonic() + _TIDY_AFTER
        while not self._closed.is_set():
            tidy = time.monotonic() >= tidying
            tidying = time.monotonic() + _TIDY_EVERY if tidy else tidying
            for name, site in self.remote.items():
                try:
                    site.look()
                    if tidy:
                        site.tidy()
                except Exception:
                    _LOGGER.exception("the accounts of the site %s can't be looked after", name)
            self._closed.wait(_KEEPER_TICK)

    def of(self, reference: str) -> tuple[ExecutionSite, str]:
        """The site of an execution, and its id there.

        Raises:
            NoSite: there is none any more.
        """
        name, colon, execution_id = reference.rpartition(":")
        site: ExecutionSite | None = self.remote.get(name) if colon else self.local
        if site is None and colon:
            raise NoSite(
                f"The site {name}, on which the execution runs or ran, isn't in the settings of the service any more. "
                "What runs there goes on; nothing can be told of it here."
            )
        if site is None:
            raise NoSite("The service runs nothing on its own machine any more (setting cwl.local).")
        return site, execution_id

    def remove(self, reference: str, part: Part, *, give_up: bool) -> Removal:
        """See `RemovingEngine.remove`."""
        try:
            site, execution_id = self.of(reference)
        except NoSite as error:
            said = f"{error} Its files can't be removed while that is so."
            if not give_up:
                return Removal(said)
            name, _, execution_id = reference.rpartition(":")
            here = self._directory / "sites" / name if name else self._directory
            if part is Part.ALL:
                self._trash.take(here / "executions" / execution_id)
            return Removal(left=said if name else None)
        return site.remove(execution_id, part, self._trash, give_up=give_up)

    def at(self, placement: Placement | None) -> tuple[ExecutionSite, str]:
        """The site on which something is to be started, and what its references begin with."""
        name = placement.site if placement else LOCAL
        site: ExecutionSite | None = self.local if name == LOCAL else self.remote.get(name)
        if site is None:
            raise Unavailable(f"Nothing can be started on the site {name} at present.", retry_after=60)
        return site, "" if name == LOCAL else f"{name}:"

    def all(self) -> list[Site]:
        """See `SiteEngine.sites`."""
        found = []
        if self.local is not None:
            title = "This service's machine"
            found.append(Site(id=LOCAL, title=title, accounts=False))
        for name, given in self._configured.items():
            remote = self.remote.get(name)
            silent_since = remote.silent_since() if remote else None
            state = "maintenance" if given.maintenance else "silent" if silent_since else "available"
            found.append(
                Site(
                    id=name,
                    title=given.title or name,
                    description=given.description,
                    host=given.host,
                    scheduler=given.scheduler,
                    state=state,
                    maintenance=given.maintenance,
                    silent_since=silent_since,
                    users=None if given.users is None else frozenset(given.users),
                    groups=None if given.groups is None else frozenset(given.groups),
                    keyless=given.logins is not None,
                    logins=given.logins if isinstance(given.logins, dict) else None,
                )
            )
        return found

    def place(self, job: Job, details: WorkflowDetails, placement: Placement) -> Job:
        """See `SiteEngine.place`."""
        name = placement.site
        permitted = details.workflow.sites
        if permitted is not None and name not in permitted:
            raise BadRequest(
                f"The workflow {details.workflow.id} may not run on the site {name}. It may on: "
                f"{', '.join(sorted(permitted))}."
            )
        if name == LOCAL:
            if self.local is None:
                raise BadRequest("There is no site local: the service runs nothing on its own machine.")
            if refusal := self.local.refusal(job):
                raise BadRequest(refusal)
            self._check_taken(job.taken)
            return replace(job, placement=None)
        given = self._configured.get(name)
        if given is None:
            raise BadRequest(f"There is no site {name}.")
        if given.maintenance:
            raise Unavailable(f"The site {given.title or name} is in maintenance: {given.maintenance}", retry_after=600)
        off = f"containers are turned off there (setting sites.{name}.containers)"
        if given.containers == NONE and (refusal := want(job.needs, off)):
            raise BadRequest(refusal)
        if self._connections is not None:
            self._connections.ready(placement)
        remote = self.remote.get(name)
        self._check_taken(each for each in job.taken if remote is None or not remote.has(each, placement))
        slurm, remarks = resources(given, given.title or name, job.slurm, job.needs, job.limits)
        return replace(job, placement=placement, slurm=slurm, remarks=remarks)

    def _check_taken(self, taken: Iterable[TakenOutput]) -> None:
        room = Room(self._settings.limits.disk)
        try:
            for each in taken:
                room.take(each.size)
        except Untakable as error:
            raise BadRequest(str(error)) from None

    def _fetch(self, outputs: Sequence[tuple[TakenOutput, Path]], room: Room, wanted: Callable[[], bool]) -> None:
        """See `FetchOutputs`."""
        for reference in dict.fromkeys(taken.reference for taken, _ in outputs):
            wished = [each for each in outputs if each[0].reference == reference]
            try:
                site, execution_id = self.of(reference)
            except NoSite as error:
                raise Untakable(f"{wished[0][0].words} can't be had. {error}") from error
            fetch(site, execution_id, wished, room, wanted)

    def check_account(self, placement: Placement) -> Sequence[Point]:
        """See `SiteEngine.check_account`."""
        given = self._configured.get(placement.site)
        if given is None or self._connections is None:
            return []
        found = points.check(self._connections.fresh, given, placement)
        if (remote := self.remote.get(placement.site)) and not _failed(found):
            remote.heard(placement)
        return found

    def problems(self) -> Iterator[tuple[str, str]]:
        """What keeps sites from executing: their ids, and a sentence each."""
        for name, site in self.remote.items():
            for problem in site.problems():
                yield name, problem

    def close(self) -> None:
        """Releases what this process holds."""
        self._closed.set()
        self._trash.close()
        if self._keeper.is_alive():
            self._keeper.join()
        for site in self.remote.values():
            site.stop()
        if self.local is not None:
            self.local.stop()
        if self._connections is not None:
            self._connections.close()
        for site in self.remote.values():
            site.close()
        if self.local is not None:
            self.local.close()
