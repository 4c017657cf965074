"""Reads the catalogue in the background, so that nobody has to wait for all of it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.describer import DescriberFailed, Describers
from hpcwaas.engines.cwl.workflows.entries import Stamps, read_stamps
from hpcwaas.engines.cwl.workflows.index import Index, IndexFile, fingerprint_of, made_by
from hpcwaas.engines.cwl.workflows.metadata import Entry, root_of_entry
from hpcwaas.engines.cwl.workflows.reading import Done, Reading, done
from hpcwaas.engines.cwl.workflows.repositories.published import Repositories
from hpcwaas.engines.cwl.workflows.snapshot import SnapshotStore

ROUND = 1.0
"""Seconds for which entries are described at least, until what is known is published and the catalogue looked at."""

PATIENCE = 30.0
"""Seconds for which a caller waits for a few workflows that are being read: so long only on a very busy machine."""

PATIENCE_FOR_ONE = 10.0
"""Seconds for which a caller waits for a workflow while many are being read."""

PATIENCE_WITH_MANY = 2.0
"""Seconds for which a caller waits when many are being read."""

FEW = 25
"""Workflows whose reading is waited for."""

_SHARE = 10
"""How many times longer entries are described than making the index of what is known took: it is of all of them."""

_FOLLOW_EVERY = 0.1
"""Seconds between two looks at what another process has read."""

_WRITERS = 8
"""Snapshots that are written beside each other: most of the time each waits for the disk, which serves many at once."""

_log = logging.getLogger(__name__)


class Reader:
    """Keeps an index of a catalogue. Of all processes with the same index file one reads at a time, and others follow.

    Args:
        directory: of the documents.
        repositories: that its catalogue file names.
        file: of the index.
        snapshots: of what is published.

    Attributes:
        index: what is known; None when nothing is, or when the catalogue can't be read.
        failure: why it can't be read, or described.
    """

    def __init__(self, directory: Path, repositories: Repositories, file: IndexFile, snapshots: SnapshotStore) -> None:
        self._directory = directory
        self._repositories = repositories
        self._file = file
        self._snapshots = snapshots
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._describers: Describers[Stamps] | None = None
        self._began = 0.0
        self._wanted = 0
        self._pause = ROUND
        self.index: Index | None = None
        self.failure: str | None = None

    def look(self) -> None:
        """Looks whether something is to be read, has it read, and waits for it, but not for long."""
        try:
            fingerprint = self._fingerprint(read_stamps(self._directory))
        except OSError as error:
            # A list of what was there once would offer workflows that an operator may have withdrawn.
            self._tell(None, f"{self._directory}: {error.strerror or error}")
            return
        index = self.index
        if index is not None and self.failure is None and index.fresh(fingerprint, time.time()):
            return
        with self._news:
            if self._thread is None and not self._closed.is_set():
                self._began = time.monotonic()
                self._wanted = 0
                self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
                self._thread.start()
            while self._thread is not None and (left := self._patience()) > 0:
                self._news.wait(left)

    def wait_for(self, workflow_id: str) -> None:
        """Has an entry read before others, and waits for it, but not for long."""
        if describers := self._describers:
            describers.prefer(workflow_id)
        deadline = time.monotonic() + PATIENCE_FOR_ONE
        with self._news:
            while self._thread is not None and self.index is not None and workflow_id in self.index.unread_by_id:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._news.wait(left)

    def close(self) -> None:
        """Ends a reading; what has been read is kept."""
        self._closed.set()
        if thread := self._thread:
            thread.join()
        self._end_describers()

    def _end_describers(self) -> None:
        describers, self._describers = self._describers, None
        if describers:
            describers.close()

    def _patience(self) -> float:
        return self._began + (PATIENCE if self._wanted <= FEW else PATIENCE_WITH_MANY) - time.monotonic()

    def _tell(self, index: Index | None, failure: str | None = None) -> None:
        if failure and failure != self.failure:
            _log.error("the catalogue can't be read: %s", failure)
        with self._news:
            self.index, self.failure = index, failure
            self._news.notify_all()

    def _run(self) -> None:
        try:
            self._read_or_follow()
        except OSError as error:
            self._tell(None, f"{error.filename or self._directory}: {error.strerror or error}")
        except Exception:  # whoever waits has to learn of it
            _log.exception("the catalogue can't be read")
            self._tell(None, "it failed unexpectedly; the service's log says how")
        finally:
            with self._news:
                self._thread = None
                self._news.notify_all()

    def _read_or_follow(self) -> None:
        known = None
        while not self._closed.is_set():
            with self._file.locked() as locked:
                if locked:
                    self._read()
                    return
            before, known = known, self._file.stamp()
            # What a service of another version keeps there isn't understood.
            if known != before and (index := self._file.load()).made_by:
                self._wanted = max(self._wanted, len(index.unread))
                self._tell(index)
            self._closed.wait(_FOLLOW_EVERY)

    def _read(self) -> None:
        """Reads what has changed, unless another process just did."""
        stamps = read_stamps(self._directory)
        index = self._file.load()
        if index.fresh(self._fingerprint(stamps), time.time()) and self._complete(index):
            self._tell(index)
            return
        nothing = not index.fingerprint and not index.published
        self._snapshots.clean()
        describers = self._describers = self._describers or Describers(self._directory)
        rest = False
        try:
            with ThreadPoolExecutor(_WRITERS) as writers:
                index, reading = self._round(index, stamps, [])
                while reading.wanted and not self._closed.is_set():
                    describers.want(reading.wanted, stamps)
                    answers = self._answers(describers, writers)
                    stamps = read_stamps(self._directory)
                    if answers or self._fingerprint(stamps) != reading.fingerprint or not index.holds(time.time()):
                        index, reading = self._round(index, stamps, answers)
            rest = not describers.left
        except DescriberFailed as error:
            index, _ = self._round(index, stamps, [], error)
            self._tell(None if nothing and not index.published else index, str(error))
        finally:
            if rest:
                describers.rest()
            else:
                self._end_describers()

    def _round(
        self, old: Index, stamps: Stamps, answers: list[Done], failure: DescriberFailed | None = None
    ) -> tuple[Index, Reading]:
        reading = Reading(
            directory=self._directory,
            repositories=self._repositories,
            stamps=stamps,
            fingerprint=self._fingerprint(stamps),
            old=old,
            snapshots=self._snapshots,
            now=time.time(),
            answers=answers,
            failure=failure,
        )
        began = time.monotonic()
        index = reading.index()
        self._pause = max(ROUND, _SHARE * (time.monotonic() - began))
        for warning in reading.warnings:
            _log.info("catalogue: %s", warning)
        for problem in sorted({*index.problems} - {*old.problems}):
            _log.warning("catalogue: %s", problem)
        for notice in sorted({*index.notices} - {*old.notices}):
            _log.warning("catalogue: %s", notice)
        self._file.save(index)
        self._wanted = max(self._wanted, len(reading.wanted))  # the last of many aren't waited for longer
        if failure is None:
            self._tell(index)
        return index, reading

    def _answers(self, describers: Describers[Stamps], writers: ThreadPoolExecutor) -> list[Done]:
        """What is described within the time of a round."""
        found: list[Future[Done]] = []
        deadline = time.monotonic() + self._pause
        while describers.left and (left := deadline - time.monotonic()) > 0 and not self._closed.is_set():
            try:
                entry, answer, stamps = describers.answer(left)
            except queue.Empty:
                break
            found.append(writers.submit(done, self._directory, entry, answer, stamps, self._save))
        return [each.result() for each in found]

    def _fingerprint(self, stamps: Stamps) -> str:
        return fingerprint_of(self._directory, stamps, self._repositories.fingerprint)

    def _save(self, entry: Entry, description: Mapping[str, JSON]) -> str:
        return self._snapshots.save(root_of_entry(self._directory, entry), description, made_by())

    def _complete(self, index: Index) -> bool:
        return all(item.version in self._snapshots for item in index.published)
