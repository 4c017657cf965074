"""The published workflows: the files and folders of one directory, read again when they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpcwaas.core.models import Check, Workflow, WorkflowDetails
from hpcwaas.engines.base import Permitted, everything
from hpcwaas.engines.cwl.describer import DescriberFailed, describe_entries
from hpcwaas.engines.cwl.entries import Entry, Stamps, find_entries, read_stamps
from hpcwaas.engines.cwl.index import PATIENCE, Busy, Index, IndexFile, Published, digest, made_by, signature
from hpcwaas.engines.cwl.schema import inputs_schema, output_declaration
from hpcwaas.engines.cwl.snapshot import Snapshot, SnapshotStore
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
    """

    def __init__(self, directory: Path, state_dir: Path) -> None:
        self._directory = directory.absolute()
        self._file = IndexFile(state_dir)
        self._snapshots = SnapshotStore(state_dir / "snapshots")
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
            raise Unavailable("The workflow was changed in this moment. Try again.") from error

    def check(self) -> Check:
        """State of the catalogue: `degraded` with a problem for each broken file, `failed` when nothing can be read."""
        start = time.perf_counter()
        try:
            index = self._current()
        except Unavailable as error:
            status, problems = "failed", [self._failure or error.detail]
        else:
            problems = [*([self._failure] if self._failure else []), *index.problems]
            status = "failed" if self._failure else "degraded" if problems else "ok"
        return Check("catalogue", status, time.perf_counter() - start, problems)

    def _workflow(self, item: Published) -> Workflow:
        snapshot, entry = self._load(item.version), item.entry
        return Workflow(
            id=entry.id,
            name=entry.name or entry.id,
            engine="cwl",
            application_id=entry.id,
            environment_id="local",
            environment_name="local",
            label=snapshot.label,
            description=snapshot.doc,
            authorized_users=None if entry.authorized_users is None else frozenset(entry.authorized_users),
            authorized_groups=None if entry.authorized_groups is None else frozenset(entry.authorized_groups),
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
            fingerprint = self._fingerprint(read_stamps(self._directory))
            if self._index is None or self._index.fingerprint != fingerprint or self._failure:
                with self._file.locked():
                    self._index = self._read(read_stamps(self._directory))
            self._failure = None
        except Busy:
            _log.info("another process is reading the catalogue; the list stays as it was")
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

    def _fingerprint(self, stamps: Stamps) -> str:
        return digest([str(self._directory), *sorted(stamps.items())])

    def _read(self, stamps: Stamps) -> Index:
        """Reads what changed, unless another process just did."""
        fingerprint = self._fingerprint(stamps)
        old = self._file.load()
        if old.fingerprint == fingerprint and all(item.version in self._snapshots for item in old.published):
            return old
        entries, problems = find_entries(self._directory, stamps)
        known = {(item.entry.id, item.entry.main, item.entry.fragment): item for item in old.published}
        published: list[Published] = []
        changed: list[Entry] = []
        for entry in entries:
            item = known.get((entry.id, entry.main, entry.fragment))
            if item and item.version in self._snapshots and item.signature == signature(item, stamps):
                published.append(replace(item, entry=entry))
            else:
                changed.append(entry)
        for entry, answer in describe_entries(self._directory, changed):
            if "error" in answer:
                problems.append(answer["error"])
            elif item := self._publish(entry, answer["description"], stamps, problems):
                published.append(item)
        for problem in sorted(set(problems) - set(old.problems)):
            _log.warning("catalogue: %s", problem)
        index = Index(fingerprint, tuple(sorted(published, key=lambda item: item.entry.id)), tuple(sorted(problems)))
        self._file.save(index)
        return index

    def _publish(
        self, entry: Entry, description: Mapping[str, Any], stamps: Stamps, problems: list[str]
    ) -> Published | None:
        for warning in description["warnings"]:
            _log.info("catalogue: %s: %s", entry.main, warning)
        try:
            saved = self._snapshots.save(self._directory, description, made_by())
        except OSError as error:
            problems.append(f"{entry.main}: {error.filename}: {error.strerror}")
            return None
        parts = {key: tuple(description[key]) for key in ("files", "directories", "missing")}
        item = Published(entry=entry, version=saved, signature="", **parts)
        return replace(item, signature=signature(item, stamps))
