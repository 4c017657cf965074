"""The logs of executions and those who follow them, none of whom costs a call or a thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.common import calls
from hpcwaas.common.cached import PATIENCE, Once, Run
from hpcwaas.core.models import Level, LogPage, Status
from hpcwaas.engines.orchestrated.following import BEING_LOOKED_AT, Following, Reader, Watcher
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

_LOOK_SELDOM = 10.0
"""Likewise, while Yorc's events tell of it."""


class _Reader(Reader):
    """The log of an execution, and those who wait for more of it.

    Attributes:
        lost: whether Yorc has no trace of the execution: nobody need wait for more.
    """

    def __init__(self, log: KeptLog, look: Callable[[_Reader], None], run: Run) -> None:
        super().__init__(str(log.reference))
        self.log = log
        self.lost = False
        self._look = look
        self._well = False
        self._looking = Once(run, self._look_quietly)

    def look_within(self, seconds: float) -> bool:
        """Looks in another thread. Whether that has been done in this time, and well."""
        return self._looking.within(seconds) and self._well

    def has(self, watcher: Watcher) -> bool:
        return self.lost or self.log.total(watcher.levels) > watcher.start or self.log.complete

    def _look_quietly(self) -> None:
        self._well = False
        try:
            self._look(self)
            self._well = True
        except ServiceError as error:
            if not error.logged:
                _LOGGER.warning("Yorc doesn't give the log of %s: %s", self.log.reference, error.detail)


class FollowedLogs(Following[_Reader]):
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
        super().__init__("yorc-followers")
        self._client = client
        self._executions = executions
        self._kept = KeptLogs(directory)
        self._kept.remove_old()
        self._collector = Collector(client, self._kept, wanted)
        self._run = run

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

    def page(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        """A part of a log.

        Raises:
            NotFound: this can't be a reference.
            ServiceError: Yorc doesn't answer, and the log was never read.
        """
        reader = self._reader(reference)
        log = reader.log
        log.catch_up()
        complete, late = log.complete, False
        if not complete:
            self._collector.start()
            known = len(log) > 0 or log.whole
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

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Following.watch`."""
        self._collector.start()
        return super().watch(reference, levels, start, wake)

    def ended(self, reference: Reference) -> None:
        """Looks at a log that somebody follows, for its execution has ended."""
        with self._changed:
            reader = self._readers.get(str(reference))
            if reader is not None:
                reader.due = 0.0

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
        super().close()

    def remove(self, reference: str) -> None:
        """Removes what is kept here of a log."""
        with self._changed:
            self._readers.pop(reference, None)
        KeptLog(self._kept.directory, parse_reference(reference)).remove()

    def _made(self, reference: str) -> _Reader:
        log = KeptLog(self._kept.directory, parse_reference(reference))
        log.claim(whole=False)
        log.use()
        return _Reader(log, self._look, self._run)

    def _first_look(self, _reader: _Reader) -> float:
        return 0.0

    def _round(self, readers: Iterable[_Reader]) -> None:
        now = time.monotonic()
        for reader in readers:
            if reader.log.grown:
                reader.log.catch_up()
                reader.wake()
            if reader.due <= now:
                reader.due = BEING_LOOKED_AT
                self._run(lambda reader=reader: self._look_again(reader))  # type: ignore[misc]

    def _look_again(self, reader: _Reader) -> None:
        try:
            reader.look_within(PATIENCE)
        except Exception:  # one log must not keep the others from being read
            _LOGGER.exception("unexpected error in the log of %s", reader.log.reference)
        reader.wake()
        with self._changed:
            if reader.due == BEING_LOOKED_AT:  # else it has ended meanwhile
                told = reader.log.whole and not self._collector.late and self._executions.told(reader.log.reference)
                reader.due = time.monotonic() + (_LOOK_SELDOM if told else _LOOK_EVERY)

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
