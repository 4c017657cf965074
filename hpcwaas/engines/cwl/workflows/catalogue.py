"""The published workflows: the files and folders of one directory, read again when they change."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from hpcwaas.core.endings import Retention
from hpcwaas.core.models import Check, Workflow, WorkflowDetails
from hpcwaas.core.ports.engine import Permitted, everything
from hpcwaas.core.publication_models import Access
from hpcwaas.core.site_models import LOCAL
from hpcwaas.engines.cwl.settings import LimitSettings
from hpcwaas.engines.cwl.workflows.entries import permitted_by
from hpcwaas.engines.cwl.workflows.findings import warnings_of
from hpcwaas.engines.cwl.workflows.index import Index, IndexFile, Published
from hpcwaas.engines.cwl.workflows.metadata import EVERYBODY, Entry
from hpcwaas.engines.cwl.workflows.reader import PATIENCE, Reader
from hpcwaas.engines.cwl.workflows.repositories.published import Repositories
from hpcwaas.engines.cwl.workflows.schema import inputs_schema, output_declaration
from hpcwaas.engines.cwl.workflows.scripts import CheckedScripts
from hpcwaas.engines.cwl.workflows.snapshot import SNAPSHOTS, Snapshot, SnapshotStore
from hpcwaas.errors import NotFound, Unavailable

LOOK_EVERY = 1.0
"""Seconds between two looks at the directory."""

RETRY_EVERY = 10.0
"""Seconds until documents are read again after cwltool itself failed."""


class Catalogue:
    """Publishes each `*.cwl` file of a directory, and each folder in it that holds CWL, as one workflow.

    May be used by any number of threads, and by any number of processes with the same state directory.

    Args:
        directory: of the documents.
        state_dir: where descriptions and snapshots are kept; made when missing.
        without_metadata: who may run what doesn't say who: `everybody` or `nobody`.
        sites: ids of all sites.
        limits: of executions on this machine.
    """

    def __init__(
        self,
        directory: Path,
        state_dir: Path,
        without_metadata: str = EVERYBODY,
        sites: Collection[str] = frozenset({LOCAL}),
        limits: LimitSettings | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._without_metadata = without_metadata
        self._sites = sites
        self._limits = limits or LimitSettings()
        self._snapshots = SnapshotStore(state_dir / SNAPSHOTS)
        self._scripts = CheckedScripts(self._snapshots)
        self._load = lru_cache(maxsize=256)(self._snapshots.load)
        self._reader = Reader(
            self._directory, Repositories(self._directory, state_dir), IndexFile(state_dir), self._snapshots
        )
        self._looking = threading.Lock()
        self._next_look = 0.0
        self._looked = False
        self._known: Mapping[str, tuple[Published, Workflow]] = {}

    def workflows(self) -> list[Workflow]:
        """All published workflows in order of their ids.

        Raises:
            Unavailable: the catalogue can't be read.
        """
        before, known = self._known, {}
        for item in self._current().published:
            listed = before.get(item.entry.id)
            known[item.entry.id] = listed if listed and listed[0] == item else (item, self._workflow(item))
        self._known = known
        return [workflow for _, workflow in known.values()]

    def unread(self) -> list[Workflow]:
        """What isn't among `workflows` yet, since it is still being read."""
        index = self._reader.index
        return [self._bare(item.entry) for item in index.unread] if index else []

    def retentions(self) -> dict[str, Retention]:
        """For how long what is published and has been read has its executions kept. Never waits."""
        index = self._reader.index
        return {item.entry.id: item.entry.retention for item in index.published} if index else {}

    def details(self, workflow_id: str, permitted: Permitted = everything) -> WorkflowDetails:
        """One workflow that is permitted with its inputs and outputs.

        Raises:
            NotFound: no such one is published under this id.
            Unavailable: the catalogue can't be read, or this one hasn't been read yet.
        """
        index = self._current()
        if (unread := index.unread_by_id.get(workflow_id)) and permitted(self._bare(unread.entry)):
            self._reader.wait_for(workflow_id)
            index = self._current()
            if workflow_id in index.unread_by_id:
                raise Unavailable(f"The workflow {workflow_id!r} is still being read. Try again in a moment.", 2)
        item = index.by_id.get(workflow_id)
        if item is None or not permitted(workflow := self._workflow(item)):
            raise NotFound(f"There is no workflow {workflow_id!r}.")
        snapshot = self._load(item.version)
        return WorkflowDetails(
            workflow=workflow,
            inputs=inputs_schema(snapshot.inputs, item.entry.ssh_keys),
            outputs=tuple(output_declaration(output) for output in snapshot.outputs),
            steps=snapshot.steps,
            version=item.version,
        )

    def snapshot(self, details: WorkflowDetails) -> Snapshot:
        """The copy of exactly the version that `details` describes, whatever has been published since.

        Raises:
            Unavailable: somebody removed it.
        """
        try:
            return self._load(details.version)
        except FileNotFoundError as error:
            raise Unavailable("The workflow was changed while the request was checked. Try again.") from error

    def entry(self, workflow_id: str) -> Entry | None:
        """What the metadata of a workflow say; None when it isn't published any more."""
        item = self._current().by_id.get(workflow_id)
        return item.entry if item else None

    def check(self) -> Check:
        """State of the catalogue: `degraded` with a problem for each broken file, `failed` when nothing can be read."""
        start = time.perf_counter()
        try:
            index = self._current()
        except Unavailable as error:
            status, problems = "failed", [self._reader.failure or error.detail]
        else:
            failure = self._reader.failure
            problems = [*([failure] if failure else []), *index.problems, *self._unknown_sites(index)]
            status = "failed" if failure else "degraded" if problems else "ok"
        return Check("catalogue", status, time.perf_counter() - start, problems)

    def problems(self) -> list[Access]:
        """What isn't published and why, and what publishers should know of what is: all that `checking.py` finds.

        Raises:
            Unavailable: the catalogue can't be read.
        """
        index = self._current()
        odd = [*index.odd, *([self._reader.failure] if self._reader.failure else []), *self._unknown_sites(index)]
        found = [Access(None, published=False, problem=problem) for problem in odd]
        found += [Access(item.id, published=False, problem=item.reason) for item in index.withheld]
        if index.ignored:
            ignored = tuple(f"{item.path}: {item.reason}" for item in index.ignored)
            found.append(Access(None, published=False, ignored=ignored))
        descriptions = {item.version: self._snapshots.description(item.version) for item in index.published}
        javascript = self._scripts.of(descriptions)
        for item in index.published:
            described = descriptions[item.version]
            wrong = warnings_of(item.entry, described, self._limits, javascript[item.version])
            warnings = (*item.entry.notices, *wrong)
            if item.broken or warnings:
                users, groups = permitted_by(item.entry, self._without_metadata)
                found.append(Access(item.entry.id, users, groups, problem=item.broken, warnings=warnings))
        return sorted(found, key=lambda item: item.id or "")

    def close(self) -> None:
        """Ends what reads in the background."""
        self._reader.close()

    def _unknown_sites(self, index: Index) -> Iterator[str]:
        """What metadata name as a site that isn't one."""
        for item in index.published:
            for site in sorted({*(item.entry.sites or ())} - {*self._sites}):
                near = get_close_matches(site, self._sites, n=1)
                meant = f"; did they mean {near[0]}?" if near else ""
                yield f"{item.entry.id}: its metadata name the site {site}, which isn't in the settings{meant}"

    def _workflow(self, item: Published) -> Workflow:
        snapshot = self._load(item.version)
        return replace(self._bare(item.entry), label=snapshot.label, description=snapshot.doc)

    def _bare(self, entry: Entry) -> Workflow:
        users, groups = permitted_by(entry, self._without_metadata)
        return Workflow(
            id=entry.id,
            name=entry.name or entry.id,
            engine="cwl",
            application_id=entry.id,
            environment_id="local",
            environment_name="local",
            authorized_users=users,
            authorized_groups=groups,
            sites=None if entry.sites is None else frozenset(entry.sites),
            commit=entry.commit,
            retention=entry.retention,
        )

    def _current(self) -> Index:
        """The catalogue as it is, or as it was a second ago; while much of it is being read, as far as it is known."""
        # The first look is waited for, whoever does it: there is an index before anything is in it.
        if (not self._looked or time.monotonic() >= self._next_look) and self._looking.acquire(timeout=PATIENCE):
            try:
                if time.monotonic() >= self._next_look:
                    self._next_look = time.monotonic() + LOOK_EVERY
                    self._reader.look()
                    self._looked = True
                    if self._reader.failure and self._reader.index:
                        self._next_look = time.monotonic() + RETRY_EVERY
            finally:
                self._looking.release()
        index = self._reader.index
        if index is None:
            raise Unavailable("The catalogue of workflows can't be read at the moment.")
        return index
