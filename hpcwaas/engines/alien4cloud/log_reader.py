"""Reads the log of one execution: all of it, each line once, in order."""

from __future__ import annotations

import logging
import threading
import time

from hpcwaas.common import calls
from hpcwaas.common.cached import Once, Run
from hpcwaas.core.models import Status
from hpcwaas.engines.alien4cloud import mapper
from hpcwaas.engines.alien4cloud.client import PAGE, WINDOW, Alien4CloudClient
from hpcwaas.engines.alien4cloud.faults import reading
from hpcwaas.engines.alien4cloud.log_file import LogFile
from hpcwaas.engines.alien4cloud.references import parse_reference
from hpcwaas.engines.alien4cloud.tracking import TrackedExecutions
from hpcwaas.engines.orchestrated.following import Reader, Watcher
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

_OVERLAP = 2000
"""Milliseconds before the newest line from which on lines are read again: they don't always come in order."""

_SECOND = 1_000_000_000

_COUNT_EVERY = 20.0
"""Seconds between two looks whether Alien4Cloud has more lines than were read: some may have come very late."""

_SETTLED = 2.0
"""Seconds after the end of an execution for which lines may still come in."""


class LogReader(Reader):
    """The log of one execution, and those who wait for more of it.

    Lines are numbered in the order of their stamps, as far as they are there when they are read. One that comes after
    a later one has been numbered gets the next number: what was served never changes its place.

    Args:
        reference: of the execution.
    """

    def __init__(
        self, client: Alien4CloudClient, executions: TrackedExecutions, reference: str, file: LogFile, run: Run
    ) -> None:
        super().__init__(reference)
        self.read_at = float("-inf")
        """Monotonic time of the last look."""
        self.complete = False
        """Whether the execution has ended and all its lines are here."""
        self.lost = False
        """Whether Alien4Cloud has no trace of the execution: nobody need wait for more."""
        self._client = client
        self._executions = executions
        self._execution = parse_reference(reference).execution
        self._file = file
        self._counted_at = float("-inf")
        self._pause = 0.0
        self._well = True
        self._seen = 0.0
        self._lock = threading.Lock()
        self._looking = Once(run, self._look)

    def look_within(self, pause: float, seconds: float) -> bool:
        """As `look`, in another thread. Whether it has been done in this time, and well."""
        self._pause = pause
        return self._looking.within(seconds) and self._well

    def _look(self) -> None:
        self._well = False
        try:
            self.look(self._pause)
            self._well = True
        except ServiceError as error:
            if not error.logged:
                _LOGGER.warning("Alien4Cloud doesn't give the log of %s: %s", self.reference, error.detail)

    @property
    def behind(self) -> bool:
        """Whether another process has read more."""
        return not self.complete and self._file.touched() != self._seen

    @property
    def age(self) -> float:
        """Seconds since some process read Alien4Cloud's log the last time, as far as is known here."""
        return max(0.0, time.time() - self._seen)

    @property
    def file(self) -> LogFile:
        """The lines that are here."""
        return self._file

    def look(self, pause: float) -> None:
        """Takes in what is new. One thread does it, however many ask; Alien4Cloud is asked when no process has read the
        log for `pause` seconds.

        Raises:
            ServiceError: Alien4Cloud doesn't answer.
        """
        asked = time.monotonic()
        with self._lock, calls.one():
            if self.complete or self.read_at >= asked:
                return
            self._seen = self._file.touched()
            with self._file.writing() as age:
                self.lost = self._executions.state(self.reference).status is Status.UNKNOWN
                ended_for = self._executions.ended_for(self.reference)
                settled = ended_for is not None and ended_for >= _SETTLED
                if age is not None and (age >= pause or age < 0 or settled):
                    self._read(settled)
                    self._seen = self._file.touched()
            self.read_at = time.monotonic()
        self.wake()

    def has(self, watcher: Watcher) -> bool:
        return self.complete or self.lost or self._file.total(watcher.levels) > watcher.start

    def _read(self, settled: bool) -> None:
        began = time.monotonic()
        whole = self._file.newest < 0
        total = self._fetch(None if whole else self._file.newest - _OVERLAP)
        if settled or began - self._counted_at >= _COUNT_EVERY:
            if not whole:
                total = self._client.log_lines(self._execution, size=1)[1]
            if total > len(self._file):
                self._file.remember_all()
                total = self._fetch(None)
            self._counted_at = began
            self.complete = settled
            if settled and total > len(self._file):
                _LOGGER.warning(
                    "Alien4Cloud counts %s log lines of %s and gives %s", total, self.reference, len(self._file)
                )
        self._file.touch()
        self._file.forget_before(self._file.newest - 2 * _OVERLAP)

    def _fetch(self, since: int | None) -> int:
        """Adds the lines from a time on.

        Returns:
            how many Alien4Cloud counts in the first window.
        """
        start, first_total = 0, None
        waiting: list[mapper.Line] = []
        while True:
            page, total = self._client.log_lines(self._execution, start=start, since=since)
            first_total = total if first_total is None else first_total
            with reading("a log"):
                lines = [mapper.line(item) for item in page]
            waiting = sorted({line.id: line for line in waiting + lines}.values(), key=lambda line: line.time)
            if len(page) < PAGE:
                self._file.add(waiting)
                return first_total
            # Alien4Cloud sorts stamps as texts, which is wrong within a second.
            limit = max(line.time for line in lines) - _SECOND
            self._file.add([line for line in waiting if line.time <= limit])
            waiting = [line for line in waiting if line.time > limit]
            start += PAGE
            if start + PAGE > WINDOW:
                since, start = self._next_window(since, lines), 0

    def _next_window(self, since: int | None, lines: list[mapper.Line]) -> int:
        newest = max(line.search_time for line in lines)
        if since is None or newest - _OVERLAP > since:
            return newest - _OVERLAP
        _LOGGER.warning("more than %s log lines of %s within moments: some may be missing", WINDOW, self.reference)
        return max(newest, since + 1)
