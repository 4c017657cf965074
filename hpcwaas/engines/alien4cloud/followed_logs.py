"""The logs of executions and their followers: one reader for each execution, however many follow."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.common.cached import PATIENCE, Run
from hpcwaas.core.models import Level, LogPage
from hpcwaas.engines.alien4cloud.client import Alien4CloudClient
from hpcwaas.engines.alien4cloud.log_file import IDS, LogFile
from hpcwaas.engines.alien4cloud.log_reader import LogReader
from hpcwaas.engines.alien4cloud.references import parse_reference
from hpcwaas.engines.alien4cloud.tracking import TrackedExecutions
from hpcwaas.engines.orchestrated.following import BEING_LOOKED_AT, Following
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


class FollowedLogs(Following[LogReader]):
    """The logs that somebody asked for lately.

    Args:
        directory: for the lines; made when missing.
    """

    def __init__(self, client: Alien4CloudClient, executions: TrackedExecutions, directory: Path, run: Run) -> None:
        super().__init__("alien4cloud-logs")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_old(directory, IDS)
        self._client = client
        self._executions = executions
        self._directory = directory
        self._run = run

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

    def look_again(self, reference: str) -> None:
        """Takes a log that was complete for incomplete: the execution goes on."""
        with self._changed:
            self._readers.pop(reference, None)

    def remove(self, reference: str) -> None:
        """Removes what is kept here of a log."""
        with self._changed:
            self._readers.pop(reference, None)
        LogFile(self._directory, parse_reference(reference).execution).remove()

    def _made(self, reference: str) -> LogReader:
        file = LogFile(self._directory, parse_reference(reference).execution)
        file.catch_up()
        return LogReader(self._client, self._executions, reference, file, self._run)

    def _first_look(self, reader: LogReader) -> float:
        return max(time.monotonic(), reader.read_at + self._pause())

    def _is_last(self, reader: LogReader) -> bool:
        return reader.complete

    def _pause(self) -> float:
        """Seconds between two looks at a log: few are looked at more often than many."""
        count = len(self._followed)
        return _FEW_PAUSE if count <= _FEW else min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, count / 300))

    def _round(self, readers: Iterable[LogReader]) -> None:
        now = time.monotonic()
        for reader in readers:
            if reader.due <= now or (reader.due < BEING_LOOKED_AT and reader.behind):
                reader.due = BEING_LOOKED_AT
                self._run(lambda reader=reader: self._look(reader))  # type: ignore[misc]

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
        reader.due = time.monotonic() + left
