"""The lines of an execution's log as this service numbers them: a file with one JSON array `[level, time, content]` a
line, so that a number never changes, whichever process serves it and however often the service is started again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from hpcwaas.core.models import Level, LogEntry
from hpcwaas.engines.log_index import LogIndex

KEPT = 30 * 24 * 3600
"""Seconds after which a log that nobody has read is removed. No orchestrator's server keeps its own for as long, or it
can be read there again."""


class LogFile:
    """The log of one execution, for those who read it.

    Args:
        directory: of all logs.
        execution: the server's id.

    Attributes:
        path: of the lines.
    """

    def __init__(self, directory: Path, execution: str) -> None:
        self.path = directory / f"{hashlib.sha256(execution.encode()).hexdigest()[:32]}.log"
        self._index = LogIndex(self._read)

    def catch_up(self) -> None:
        """Takes in the lines that are kept, whoever wrote them."""
        if self.grown:  # each page asks, and a look at the size costs less than to open it
            self._index.extend()

    @property
    def grown(self) -> bool:
        """Whether there is more than what was taken in."""
        try:
            return self.path.stat().st_size > self.size
        except FileNotFoundError:
            return False

    @property
    def size(self) -> int:
        """Bytes of what has been taken in."""
        return self._index.size

    def __len__(self) -> int:
        return len(self._index)

    def total(self, levels: Level) -> int:
        """Entries of these levels."""
        return self._index.total(levels)

    def entries(self, levels: Level, start: int, limit: int | None) -> tuple[LogEntry, ...]:
        """Entries of these levels; `start` and `limit` count these only."""
        return self._index.entries(levels, start, limit)

    def remove(self) -> None:
        """Removes the lines, and all that stands beside them."""
        for path in self.path.parent.glob(f"{self.path.stem}.*"):
            path.unlink(missing_ok=True)

    def _read(self, offset: int, size: int) -> bytes:
        try:
            with self.path.open("rb", buffering=0) as file:
                return os.pread(file.fileno(), size, offset)
        except FileNotFoundError:
            return b""


def remove_old(directory: Path, suffix: str, kept: float = KEPT) -> None:
    """Removes the logs beside which a file with this suffix hasn't been touched for so many seconds."""
    limit = time.time() - kept
    for beside in directory.glob(f"*{suffix}"):
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            if beside.stat().st_mtime < limit:
                beside.with_suffix(".log").unlink(missing_ok=True)
                beside.unlink()
