"""The published workflows: the files and folders of one directory, read again when they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from hpcwaas.core.models import Check, Workflow, WorkflowDetails
from hpcwaas.core.ports.engine import Permitted, everything
from hpcwaas.core.site_models import LOCAL
from hpcwaas.engines.cwl.workflows.describer import DescriberFailed
from hpcwaas.engines.cwl.workflows.entries import Stamps, permitted_by, read_stamps
from hpcwaas.engines.cwl.workflows.index import PATIENCE, Busy, Index, IndexFile, Published, fingerprint_of, made_by
from hpcwaas.engines.cwl.workflows.metadata import EVERYBODY, Entry, root_of_entry
from hpcwaas.engines.cwl.workflows.reading import Reading
from hpcwaas.engines.cwl.workflows.schema import inputs_schema, output_declaration
from hpcwaas.engines.cwl.workflows.snapshot import SNAPSHOTS, Snapshot, SnapshotStore
from hpcwaas.errors import NotFound, Unavailable

LOOK_EVERY = 1.0
"""Seconds between two looks at the directory."""

RETRY_EVERY = 10.0
"""Seconds until documents are read again after cwltool itself failed."""

_log = logging.getLogger(__name__)


class Catalogue:
    """Publishes each `*.cwl` file of a directory, and each folder in it that holds CWL, as one workflow.

    May be used by any number of threads, and by any number of processes with the same state directory.

    Args:
        directory: of the documents.
        state_dir: where descriptions and snapshots are kept; made when missing.
        without_metadata: who may run what doesn't say who: `everybody` or `nobody`.
        sites: ids of all sites.
    """

    def __init__(
        self,
        directory: Path,
        state_dir: Path,
        without_metadata: str = EVERYBODY,
        sites: Collection[str] = frozenset({LOCAL}),
    ) -> None:
        self._directory = directory.absolute()
        self._without_metadata = without_metadata
        self._sites = sites
        self._file = IndexFile(state_dir)
        self._snapshots = SnapshotStore(state_dir / SNAPSHOTS)
        self._load = lru_cache(maxsize=256)(self._snapshots.load)
        self._reading = threading.Lock()
        self._index: Index | None = None
        self._failure: str | None = None
        self._next_look = 0.0

    def workflows(self) -> list[Workflow]:
        """All published workflows in order of their ids.

        Raises:
            Unavailable: the catalogue can't be read.
        """
        return [self._workflow(item) for item in self._current().published]

    def details(self, workflow_id: str, permitted: Permitted = everything) -> WorkflowDetails:
        """One workflow that is permitted with its inputs and outputs.

        Raises:
            NotFound: no such one is published under this id.
            Unavailable: the catalogue can't be read.
        """
        item = self._current().by_id.get(workflow_id)
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
            status, problems = "failed", [self._failure or error.detail]
        else:
            problems = [*([self._failure] if self._failure else []), *index.problems, *self._unknown_sites(index)]
            status = "failed" if self._failure else "degraded" if problems else "ok"
        return Check("catalogue", status, time.perf_counter() - start, problems)

    def _unknown_sites(self, index: Index) -> Iterator[str]:
        """What metadata name as a site that isn't one."""
        for item in index.published:
            for site in sorted({*(item.entry.sites or ())} - {*self._sites}):
                near = get_close_matches(site, self._sites, n=1)
                meant = f"; did they mean {near[0]}?" if near else ""
                yield f"{item.entry.id}: its metadata name the site {site}, which isn't in the settings{meant}"

    def _workflow(self, item: Published) -> Workflow:
        snapshot, entry = self._load(item.version), item.entry
        users, groups = permitted_by(entry, self._without_metadata)
        return Workflow(
            id=entry.id,
            name=entry.name or entry.id,
            engine="cwl",
            application_id=entry.id,
            environment_id="local",
            environment_name="local",
            label=snapshot.label,
            description=snapshot.doc,
            authorized_users=users,
            authorized_groups=groups,
            sites=None if entry.sites is None else frozenset(entry.sites),
        )

    def _current(self) -> Index:
        """The catalogue as it is, or as it was a second ago."""
        index = self._index
        if index and time.monotonic() < self._next_look:
            return index
        if not self._reading.acquire(timeout=PATIENCE):
            return self._old_or_unavailable()
        try:
            now = time.monotonic()
            if now >= self._next_look:
                self._next_look = now + LOOK_EVERY
                self._look()
        finally:
            self._reading.release()
        return self._old_or_unavailable()

    def _old_or_unavailable(self) -> Index:
        if self._index is None:
            raise Unavailable("The catalogue of workflows can't be read at the moment.")
        return self._index

    def _look(self) -> None:
        try:
            fingerprint = fingerprint_of(self._directory, read_stamps(self._directory))
            if self._index is None or self._failure or not self._index.fresh(fingerprint, time.time()):
                with self._file.locked():
                    self._index, failure = self._read(read_stamps(self._directory))
                if failure:
                    raise failure
            self._failure = None
        except Busy:
            _log.info("another process is still reading the catalogue: the list of workflows stays as it was")
        except OSError as error:
            # A list of what was there once would offer workflows that an operator may have withdrawn.
            self._index = None
            self._fail(f"{self._directory}: {error.strerror or error}")
        except DescriberFailed as error:
            self._next_look = time.monotonic() + RETRY_EVERY
            self._fail(str(error))

    def _fail(self, failure: str) -> None:
        if failure != self._failure:
            _log.error("the catalogue can't be read: %s", failure)
        self._failure = failure

    def _read(self, stamps: Stamps) -> tuple[Index, DescriberFailed | None]:
        """Reads what changed, unless another process just did."""
        fingerprint = fingerprint_of(self._directory, stamps)
        old = self._file.load()
        if old.fresh(fingerprint, time.time()) and all(item.version in self._snapshots for item in old.published):
            return old, None
        reading = Reading(
            directory=self._directory,
            stamps=stamps,
            fingerprint=fingerprint,
            old=old,
            snapshots=self._snapshots,
            save=lambda entry, description: self._snapshots.save(
                root_of_entry(self._directory, entry), description, made_by()
            ),
            now=time.time(),
        )
        index = reading.index()
        for warning in reading.warnings:
            _log.info("catalogue: %s", warning)
        for problem in sorted({*index.problems} - {*old.problems}):
            _log.warning("catalogue: %s", problem)
        for notice in sorted({*index.notices} - {*old.notices}):
            _log.warning("catalogue: %s", notice)
        self._file.save(index)
        return index, reading.failure
