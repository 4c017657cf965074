"""The index of an execution's log: a file with one JSON array `[level, time, content]` a line. The index of an entry is
the number of its line."""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from hpcwaas.core.models import Level, LogEntry

_BLOCK = 4096
_CHUNK = 1 << 20
_LEVELS = frozenset(map(int, Level))
_SHOWN = 200
_SHARED = 50
"""Entries of a page that is kept for who asks next."""
_UNKNOWN = datetime.fromtimestamp(0, UTC)


class LogIndex:
    """Where the entries of a log stand and which levels they have; extended as the log grows.

    Args:
        read: reads up to so many bytes (second argument) of the log from an offset (first argument).
    """

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._offsets = array("Q", [0])
        self._levels = bytearray()
        self._counts = dict.fromkeys(Level, 0)
        self._lock = threading.Lock()
        self._last: tuple[tuple[int, Level, int, int | None], tuple[LogEntry, ...]] | None = None

    def __len__(self) -> int:
        return len(self._levels)

    @property
    def size(self) -> int:
        """Bytes of what has been taken in."""
        return self._offsets[-1]

    def extend(self) -> None:
        """Takes in what was written since the last time. A half-written last line is left for later."""
        with self._lock:
            while chunk := self._read(self._offsets[-1], _CHUNK):
                lines = chunk.split(b"\n")[:-1]
                if not lines:
                    return
                offset = self._offsets[-1]
                levels = _levels(lines)
                for line in lines:
                    offset += len(line) + 1
                    self._offsets.append(offset)
                self._levels += levels
                for level in Level:
                    self._counts[level] += levels.count(level)

    def total(self, mask: Level) -> int:
        """Entries of the given levels."""
        return sum(self._counts[level] for level in mask)

    def entries(self, mask: Level, start: int, limit: int | None) -> tuple[LogEntry, ...]:
        """Entries of the given levels; `start` and `limit` count these only. What several followers ask for one after
        the other is read once."""
        asked = (self.size, mask, start, limit)
        last = self._last
        if last is not None and last[0] == asked:
            return last[1]
        found = self._entries(mask, start, limit)
        if asked[0] == self.size and len(found) <= _SHARED:
            self._last = asked, found
        return found

    def _entries(self, mask: Level, start: int, limit: int | None) -> tuple[LogEntry, ...]:
        with self._lock:
            positions = self._positions(mask, start, limit)
            offsets = [(self._offsets[position], self._offsets[position + 1]) for position in positions]
        if not offsets:
            return ()
        if offsets[-1][1] - offsets[0][0] <= _CHUNK + 2 * sum(end - begin for begin, end in offsets):
            base = offsets[0][0]
            content = self._read(base, offsets[-1][1] - base)
            lines = [content[begin - base : end - base] for begin, end in offsets]
        else:  # few entries far apart
            lines = [self._read(begin, end - begin) for begin, end in offsets]
        return tuple(
            _entry(position, self._levels[position], line) for position, line in zip(positions, lines, strict=True)
        )

    def _positions(self, mask: Level, start: int, limit: int | None) -> list[int]:
        wanted = {level.value for level in mask}
        if len(wanted) == len(Level):
            end = len(self._levels)
            return list(range(min(start, end), end if limit is None else min(start + limit, end)))
        positions: list[int] = []
        for base in range(0, len(self._levels), _BLOCK):
            if limit is not None and len(positions) >= limit:
                break
            block = self._levels[base : base + _BLOCK]
            hits = sum(block.count(level) for level in wanted)
            if hits <= start:  # whole blocks are passed over without looking at their entries
                start -= hits
                continue
            found = [base + place for place, level in enumerate(block) if level in wanted]
            positions += found[start:]
            start = 0
        return positions[:limit]


def _levels(lines: Sequence[bytes]) -> bytes:
    """The levels of lines: each starts with `[` and one digit, unless something else has written there."""
    with suppress(IndexError):
        levels = bytes(line[1] & 0x0F for line in lines)
        if _LEVELS.issuperset(levels):
            return levels
    levels = bytes(line[1] & 0x0F if len(line) > 1 else 0 for line in lines)
    return bytes(level if level in _LEVELS else Level.INFO for level in levels)


def _entry(index: int, level: int, line: bytes) -> LogEntry:
    with suppress(ValueError, TypeError, RecursionError):
        _level, time, content = json.loads(line)
        moment = datetime.fromisoformat(time)
        if isinstance(content, str) and moment.tzinfo is not None:
            return LogEntry(index, Level(level), moment, content)
    return LogEntry(index, Level(level), _UNKNOWN, f"(A damaged line of the log.) {line[:_SHOWN]!r}")
