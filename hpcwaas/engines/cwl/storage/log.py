"""Writes an execution's log, and finds entries in it; `LogIndex` says what it looks like."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from cachetools import LRUCache

from hpcwaas.core.models import Level
from hpcwaas.engines.log_index import LogIndex
from hpcwaas.engines.log_text import MAX_LINE

_CHUNK = 1 << 20


class LogWriter:
    """Appends to a log. There is one writer at a time.

    Args:
        path: of the log, made when missing. A last line that a killed writer left half-written is cut off.
        limit: bytes after which nothing more is kept.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._file = path.open("ab+", buffering=0)
        self._limit = limit
        self._size = self._cut()
        self.full = False

    def _cut(self) -> int:
        end = size = self._file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _CHUNK)
            self._file.seek(start)
            position = self._file.read(end - start).rfind(b"\n")
            if position >= 0:
                end = start + position + 1
                break
            end = start
        if end != size:
            self._file.truncate(end)
        return end

    def write(self, entries: Iterable[tuple[Level, str]]) -> None:
        """Appends entries with the present time. What doesn't fit any more is dropped, and `full` is set."""
        now = json.dumps(datetime.now(UTC).isoformat(timespec="milliseconds"))
        lines = []
        for level, content in entries:
            line = f"[{int(level)},{now},{json.dumps(content, ensure_ascii=False)}]\n".encode(errors="replace")
            if self.full or self._size + len(line) > self._limit:
                self.full = True
                break
            self._size += len(line)
            lines.append(line)
        self._append(lines)

    def end(self, level: Level, content: str) -> None:
        """Appends a last entry, which always fits."""
        self._limit += MAX_LINE * 4
        self.full = False
        self.write([(level, content)])

    def _append(self, lines: list[bytes]) -> None:
        rest = memoryview(b"".join(lines))
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Waits until the log is on the disk."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


class LogIndexes:
    """The indexes of the logs that were read last.

    Args:
        read: as in `LogIndex`, with the execution's id before it.
        capacity: logs whose index is kept.
    """

    def __init__(self, read: Callable[[str, int, int], bytes], capacity: int = 32) -> None:
        self._read = read
        self._indexes: LRUCache[str, LogIndex] = LRUCache(capacity)
        self._lock = threading.Lock()

    def get(self, execution_id: str) -> LogIndex:
        """The index of a log, up to date."""
        with self._lock:
            index = self._indexes.get(execution_id)
            if index is None:
                index = LogIndex(lambda offset, size: self._read(execution_id, offset, size))
                self._indexes[execution_id] = index
        index.extend()
        return index
