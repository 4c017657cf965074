"""The logs of executions and those who follow them, none of whom costs a call or a thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cachetools import LRUCache

from hpcwaas.common import calls
from hpcwaas.common.cached import PATIENCE, Once, Run
from hpcwaas.core.models import Level, LogPage, Status
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.collecting import Collector
from hpcwaas.engines.yorc.documents import Line
from hpcwaas.engines.yorc.kept_logs import KeptLog, KeptLogs
from hpcwaas.engines.yorc.references import Reference, parse_reference
from hpcwaas.engines.yorc.tracking import TrackedExecutions
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

_SETTLED = 2.0
"""Seconds after the end of an execution for which its last line is waited for."""

_LOOK_EVERY = 1.0
"""Seconds between two looks whether an execution has ended, where nothing tells of it."""

_TICK = 0.03
_KEPT = 1024
_USED_EVERY = 3600.0


@dataclass(frozen=True, eq=False, slots=True)
class Watcher:
    """Somebody who waits for a line of these levels at `start`."""

    levels: Level
    start: int
    wake: Callable[[], None]


class _Reader:
    """The log of an execution, and those who wait for more of it.

    Attributes:
        lost: whether Yorc has no trace of the execution: nobody need wait for more.
        looked_at: monotonic time of the last look whether it has ended.
        due: likewise, of the next one; infinite while one is under way.
    """

    def __init__(self, log: KeptLog, look: Callable[[_Reader], None], run: Run) -> None:
        self.log = log
        self.watchers: frozenset[Watcher] = frozenset()
        self.lost = False
        self.looked_at = float("-inf")
        self.due = 0.0
        self._look = look
        self._well = False
        self._looking = Once(run, self._look_quietly)

    def look_within(self, seconds: float) -> bool:
        """Looks in another thread. Whether that has been done in this time, and well."""
        return self._looking.within(seconds) and self._well

    def has(self, watcher: Watcher) -> bool:
        """Whether what somebody waits for is there, or never will be."""
        return self.lost or self.log.total(watcher.levels) > watcher.start or self.log.complete

    def wake(self) -> None:
        """Wakes those who have what they wait for."""
        for watcher in self.watchers:
            if self.has(watcher):
                watcher.wake()

    def _look_quietly(self) -> None:
        self._well = False
        try:
            self._look(self)
            self._well = True
        except ServiceError as error:
            if not error.logged:
                _LOGGER.warning("Yorc doesn't give the log of %s: %s", self.log.reference, error.detail)


class FollowedLogs:
    """The logs that somebody asked for lately.

    Args:
        directory: for the lines; made when missing.
        wanted: whether an entry may be one of this service's executions.
    """

    def __init__(
        self,
        client: YorcClient,
        executions: TrackedExecutions,
        directory: Path,
        run: Run,
        wanted: Callable[[Line], bool],
    ) -> None:
        self._client = client
        self._executions = executions
        self._kept = KeptLogs(directory)
        self._kept.remove_old()
        self._collector = Collector(client, self._kept, wanted)
        self._run = run
        self._readers: LRUCache[Reference, _Reader] = LRUCache(_KEPT)
        self._followed: set[_Reader] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str | None:
        """Why no lines come just now."""
        return self._collector.problem

    def start(self) -> bool:
        """Begins to read Yorc's log, at the first call. Whether it was read up to some place before."""
        self._collector.start()
        return self._kept.begun()

    def started(self, reference: Reference, *, whole: bool) -> None:
        """Notes an execution of this service.

        Args:
            whole: whether the log was read up to some place when it was started.
        """
        KeptLog(self._kept.directory, reference).claim(whole=whole)

    def page(self, text: str, levels: Level, start: int, limit: int | None) -> LogPage:
        """A part of a log.

        Raises:
            NotFound: this can't be a reference.
            ServiceError: Yorc doesn't answer, and the log was never read.
        """
        reader = self._reader(text)
        log = reader.log
        log.catch_up()
        complete, late = log.complete, False
        if not complete:
            self._collector.start()
            known = log.whole or len(log) > 0
            if reader not in self._followed or not known:
                if known:
                    late = not reader.look_within(PATIENCE)
                else:
                    self._look(reader)
        ended = log.complete or reader.lost  # before the entries are counted
        since = None
        if not complete:
            since = self._client.transport.silent_since or (datetime.now(UTC) if late else None)
        return LogPage(log.entries(levels, start, limit), log.total(levels), ended, since)

    def watch(self, text: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` when there is an entry of these levels at `start`, or the execution is over.

        Returns:
            what ends the watch.
        """
        reader = self._reader(text)
        watcher = Watcher(levels, start, wake)
        self._collector.start()
        self._follow(reader, watcher)
        if reader.has(watcher):  # after it was added: what comes from here on, the thread tells
            wake()
        return lambda: self._unfollow(reader, watcher)

    def ended(self, reference: Reference) -> None:
        """Looks at a log that somebody follows, for its execution has ended."""
        with self._changed:
            reader = self._readers.get(reference)
            if reader is not None and reader in self._followed:
                reader.due = min(reader.due, 0.0)

    def go_on(self, reference: Reference) -> None:
        """Takes a log that was complete for incomplete: the execution goes on."""
        KeptLog(self._kept.directory, reference).go_on()

    def cancelling(self, reference: Reference) -> bool:
        """Whether some process has asked for the end of an execution."""
        return KeptLog(self._kept.directory, reference).cancelling

    def cancelled(self, reference: Reference) -> None:
        """Notes that the end of an execution was asked for."""
        KeptLog(self._kept.directory, reference).cancelling = True

    def close(self) -> None:
        """Lets all who wait go."""
        self._collector.close()
        with self._changed:
            self._closing = True
            watchers, thread = [watcher for reader in self._followed for watcher in reader.watchers], self._thread
            self._changed.notify_all()
        for watcher in watchers:
            watcher.wake()
        if thread is not None:
            thread.join(timeout=5)

    def _reader(self, text: str) -> _Reader:
        reference = parse_reference(text)
        with self._changed:
            reader = self._readers.get(reference)
            if reader is None:  # one that is followed has to be the only one, however long nobody asked for it
                reader = next((it for it in self._followed if it.log.reference == reference), None)
            if reader is None:
                log = KeptLog(self._kept.directory, reference)
                log.claim(whole=False)
                log.use()
                reader = _Reader(log, self._look, self._run)
            self._readers[reference] = reader
            return reader

    def _follow(self, reader: _Reader, watcher: Watcher) -> None:
        with self._changed:
            reader.watchers = reader.watchers | {watcher}
            if reader not in self._followed:
                self._followed.add(reader)
                reader.due = 0.0
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._watch, name="yorc-followers", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _unfollow(self, reader: _Reader, watcher: Watcher) -> None:
        with self._changed:
            reader.watchers = reader.watchers - {watcher}
            if not reader.watchers:
                self._followed.discard(reader)

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._followed and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                readers = list(self._followed)
            now = time.monotonic()
            for reader in readers:
                if reader.log.grown:
                    reader.log.catch_up()
                    reader.wake()
                if reader.due <= now:
                    reader.due = float("inf")
                    self._run(lambda reader=reader: self._look_again(reader))  # type: ignore[misc]
            time.sleep(_TICK)

    def _look_again(self, reader: _Reader) -> None:
        try:
            reader.look_within(PATIENCE)
        except Exception:  # one log must not keep the others from being read
            _LOGGER.exception("unexpected error in the log of %s", reader.log.reference)
        reader.wake()
        reader.due = time.monotonic() + _LOOK_EVERY

    def _look(self, reader: _Reader) -> None:
        """Takes in what is missing, and finds out whether all lines are there.

        Raises:
            ServiceError: Yorc doesn't answer.
        """
        log = reader.log
        with calls.one():
            if not log.whole:
                self._collector.read_whole(log)
            reader.lost = self._executions.state(str(log.reference)).status is Status.UNKNOWN
            ended_for = self._executions.ended_for(str(log.reference))
            if ended_for is not None and not log.complete:
                self._settle(log, ended_for)
            elif ended_for is None and self._collector.late:
                self._collector.read_on(log)
            log.catch_up()
            reader.looked_at = time.monotonic()

    def _settle(self, log: KeptLog, ended_for: float) -> None:
        """Has all lines read of an execution that has ended."""
        self._collector.read_on(log)
        log.catch_up()
        if not log.ended:
            if ended_for < _SETTLED:
                return
            self._collector.read_whole(log)
            log.catch_up()
        log.done()
