"""The logs of executions and their followers: one reader for each execution, however many follow."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cachetools import LRUCache

from hpcwaas.common.cached import PATIENCE, Run
from hpcwaas.core.models import Level, LogPage
from hpcwaas.engines.alien4cloud.client import Alien4CloudClient
from hpcwaas.engines.alien4cloud.log_file import IDS, LogFile
from hpcwaas.engines.alien4cloud.log_reader import LogReader, Watcher
from hpcwaas.engines.alien4cloud.references import parse_reference
from hpcwaas.engines.alien4cloud.tracking import TrackedExecutions
from hpcwaas.engines.orchestrated.log_file import remove_old
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

_FEW = 4
"""Logs up to which each is looked at more often."""
_FEW_PAUSE = 0.65
_SHORTEST_PAUSE = 1.2
_LONGEST_PAUSE = 1.6
"""Seconds between two looks of all processes together. With what else is asked for, that makes less than 2 calls per
second for one execution, and less than 1 for each of many."""
_TICK = 0.03
_BEING_LOOKED_AT = float("inf")
_KEPT = 1024


class FollowedLogs:
    """The logs that somebody asked for lately.

    Args:
        directory: for the lines; made when missing.
    """

    def __init__(self, client: Alien4CloudClient, executions: TrackedExecutions, directory: Path, run: Run) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_old(directory, IDS)
        self._client = client
        self._executions = executions
        self._directory = directory
        self._run = run
        self._readers: LRUCache[str, LogReader] = LRUCache(_KEPT)
        self._followed: dict[LogReader, float] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def page(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        """A part of a log.

        Raises:
            NotFound: this can't be a reference.
            ServiceError: Alien4Cloud doesn't answer, and the log was never read.
        """
        reader = self._reader(reference)
        # A log that was read and had no line yet is known, too. What is followed is looked at anyway.
        known, pause, late = len(reader.file) > 0 or reader.file.touched() > 0, self._pause(), False
        looked_at = reader in self._followed and known
        if not looked_at and not reader.complete and time.monotonic() - reader.read_at > pause:
            if known:
                late = not reader.look_within(pause, PATIENCE)
            else:
                reader.look(pause)
        ended = reader.complete or reader.lost  # before the entries are counted
        since = (
            None if reader.complete else self._client.transport.silent_since or (datetime.now(UTC) if late else None)
        )
        return LogPage(reader.file.entries(levels, start, limit), reader.file.total(levels), ended, since)

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` when there is an entry of these levels at `start`, or the execution is over.

        Returns:
            what ends the watch.
        """
        reader = self._reader(reference)
        watcher = Watcher(levels, start, wake)
        self._follow(reader, watcher)
        if reader.has(watcher):  # after it was added: what comes from here on, the readers tell
            wake()
        return lambda: self._unfollow(reader, watcher)

    def look_again(self, reference: str) -> None:
        """Takes a log that was complete for incomplete: the execution goes on."""
        with self._changed:
            self._readers.pop(reference, None)

    def close(self) -> None:
        """Lets all who wait go."""
        with self._changed:
            self._closing = True
            watchers, thread = [watcher for reader in self._followed for watcher in reader.watchers], self._thread
            self._changed.notify_all()
        for watcher in watchers:
            watcher.wake()
        if thread is not None:
            thread.join(timeout=5)

    def _reader(self, reference: str) -> LogReader:
        with self._changed:
            reader = self._readers.get(reference)
            if reader is None:  # one that is followed has to be the only one, however long nobody asked for it
                reader = next((it for it in self._followed if it.reference == reference and not it.complete), None)
            if reader is None:
                file = LogFile(self._directory, parse_reference(reference).execution)
                file.catch_up()
                reader = LogReader(self._client, self._executions, reference, file, self._run)
            self._readers[reference] = reader
            return reader

    def _follow(self, reader: LogReader, watcher: Watcher) -> None:
        with self._changed:
            reader.watchers = reader.watchers | {watcher}
            if reader not in self._followed:
                self._followed[reader] = max(time.monotonic(), reader.read_at + self._pause())
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._watch, name="alien4cloud-logs", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _unfollow(self, reader: LogReader, watcher: Watcher) -> None:
        with self._changed:
            reader.watchers = reader.watchers - {watcher}
            if not reader.watchers:
                self._followed.pop(reader, None)

    def _pause(self) -> float:
        """Seconds between two looks at a log: few are looked at more often than many."""
        count = len(self._followed)
        return _FEW_PAUSE if count <= _FEW else min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, count / 300))

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._followed and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                now = time.monotonic()
                waiting = [(reader, at) for reader, at in self._followed.items() if at < _BEING_LOOKED_AT]
            due = [reader for reader, at in waiting if at <= now or reader.behind]
            with self._changed:
                for reader in due:
                    if reader in self._followed:
                        self._followed[reader] = _BEING_LOOKED_AT
            for reader in due:
                self._run(lambda reader=reader: self._look(reader))  # type: ignore[misc]
            time.sleep(_TICK)

    def _look(self, reader: LogReader) -> None:
        pause = self._pause()
        left = pause * random.uniform(1, 1.05)  # noqa: S311 - no secret
        try:
            reader.look(pause)
            left -= reader.age
        except ServiceError as error:
            if not error.logged:
                _LOGGER.warning("Alien4Cloud doesn't give the log of %s: %s", reader.reference, error.detail)
            left *= 4
        except Exception:  # one log must not keep the others from being read
            _LOGGER.exception("unexpected error in the log of %s", reader.reference)
            left *= 4
        with self._changed:
            if reader in self._followed:
                self._followed[reader] = time.monotonic() + left
