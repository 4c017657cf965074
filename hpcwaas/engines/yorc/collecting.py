"""Takes Yorc's log over: one long poll for all executions, by one process of all that share a directory."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection

from hpcwaas.common import durable
from hpcwaas.engines.yorc import polls
from hpcwaas.engines.yorc.client import AT_ONCE, YorcClient
from hpcwaas.engines.yorc.documents import Line
from hpcwaas.engines.yorc.faults import Refusal
from hpcwaas.engines.yorc.kept_logs import Cursor, KeptLog, KeptLogs
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

_LONG_AGO = 600.0
"""Seconds after which what was logged meanwhile is read of the deployments of unfinished executions alone."""

_LATE = 3 * polls.WAIT
"""Seconds without an answer to the process that reads, after which others don't rely on it."""

_SWEEP_EVERY = 3600.0


class Collector:
    """Reads Yorc's log, if no other process does.

    Args:
        wanted: whether an entry may be one of this service's executions. It isn't known at once which ones are.
    """

    def __init__(self, client: YorcClient, logs: KeptLogs, wanted: Callable[[Line], bool]) -> None:
        self._client = client
        self._logs = logs
        self._wanted = wanted
        self._poll = polls.Poll("log", self._ask)
        self._path = logs.directory / "collector"
        self._lock = threading.Lock()
        self._held: int | None = None
        self._swept_at = float("-inf")

    def start(self) -> None:
        """Begins to read, at the first call."""
        self._poll.start()

    @property
    def problem(self) -> str | None:
        """Why nothing comes just now."""
        return self._poll.problem

    @property
    def late(self) -> bool:
        """Whether nobody has read anything for long."""
        return self._age() > _LATE

    def close(self) -> None:
        """Ends reading: another process goes on at once."""
        self._poll.close()
        with self._lock:
            if self._held is not None:
                os.close(self._held)
                self._held = None

    def read_on(self, log: KeptLog) -> None:
        """Adds what came after the last answer.

        Raises:
            ServiceError: Yorc doesn't answer.
        """
        cursor = self._logs.cursor() if log.whole else None
        self._read(log.reference.deployment, [log], 0 if cursor is None else cursor.index)

    def read_whole(self, log: KeptLog) -> None:
        """Adds whatever is missing.

        Raises:
            ServiceError: Yorc doesn't answer.
        """
        self._read(log.reference.deployment, [log], 0)

    def _age(self) -> float:
        """Seconds since Yorc has answered the process that reads."""
        try:
            return time.time() - self._path.stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def _read(self, deployment: str, logs: Collection[KeptLog], index: int) -> None:
        tasks = {log.reference.task for log in logs}
        try:
            entries, _ = self._client.logs(index, AT_ONCE, deployment)
        except Refusal as error:
            if not error.unknown:
                raise
            entries = []  # the deployment is gone, and there is nothing that could be read
        self._logs.add(entry for entry in entries if entry.execution in tasks)
        if index == 0:
            for log in logs:
                log.whole = True

    def _ask(self, failed: bool) -> bool:
        with self._lock:
            begins = self._held is None and not self._poll.closing
            if begins:
                self._held = durable.lock(self._path)
            if self._held is None:
                return False
        self._read_new(look=begins or failed)
        return True

    def _read_new(self, *, look: bool) -> None:
        """Waits for new entries and takes them in.

        Args:
            look: whether time has passed in which the log's index may have changed in other ways.
        """
        cursor = self._logs.cursor()
        if look:
            highest = self._client.log_index()
            if cursor is None:
                self._logs.add((), Cursor(highest, guessed=True))
            elif highest < cursor.index:
                self._fell_back(cursor, Cursor(highest, guessed=True))
            elif self._age() > _LONG_AGO:
                self._skip(Cursor(highest, guessed=True))
            cursor = self._logs.cursor()
        assert cursor is not None  # noqa: S101 - for the type checker: the first look has made one
        os.utime(self._path)
        entries, index = self._client.logs(cursor.index, polls.WAIT)
        if self._poll.closing:  # another process reads them
            return
        if index < cursor.index and not cursor.guessed:
            self._fell_back(cursor, Cursor(index))
        else:
            self._logs.add((entry for entry in entries if self._wanted(entry) or self._logs.ours(entry)), Cursor(index))
        os.utime(self._path)
        if time.monotonic() - self._swept_at > _SWEEP_EVERY:
            self._swept_at = time.monotonic()
            self._logs.remove_old()

    def _fell_back(self, before: Cursor, now: Cursor) -> None:
        _LOGGER.warning(
            "the index of Yorc's log fell back from %s to %s: its store (Consul) was made anew, or something purged. "
            "The logs of executions that haven't ended are read again",
            before.index,
            now.index,
        )
        self._skip(now)

    def _skip(self, cursor: Cursor) -> None:
        """Goes on from somewhere else, and reads what may have been missed of the executions that haven't ended."""
        logs = self._logs.unfinished()
        for log in logs:
            log.whole = False
        self._logs.add((), cursor)
        for deployment in sorted({log.reference.deployment for log in logs}):
            try:
                self._read(deployment, [log for log in logs if log.reference.deployment == deployment], 0)
            except ServiceError as error:  # it isn't whole, and is read when somebody asks for it
                _LOGGER.warning("can't read the log of the deployment %s once more: %s", deployment, error.detail)
