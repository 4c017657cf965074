"""Requests of the last minute by user, in all worker processes of a machine together."""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Iterator

_MINUTE = 60.0
_WIDTH = 1 << 16
_DEPTH = 2
"""Cells that a user has in each row. Another user would have to share both of them to be counted as well."""

_CELL = 3
"""Numbers of a cell: a minute of the clock, the requests in it, and those in the one before."""


class SharedCounts:
    """Memory that is made before processes are forked, with a row for each. A process writes its own row and reads
    all, so that nobody waits for anybody.

    Args:
        rows: processes that there may be at the same time.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._cells = memoryview(mmap.mmap(-1, rows * _DEPTH * _WIDTH * _CELL * 4)).cast("I")

    def add(self, row: int, subject: str, minute: int) -> None:
        """Counts a request to the process with this row."""
        cells = self._cells
        for at in self._places(row, subject):
            if cells[at] != minute:
                cells[at + 2] = cells[at + 1] if cells[at] == minute - 1 else 0
                cells[at + 1] = 0
                cells[at] = minute
            cells[at + 1] += 1

    def of(self, subject: str, minute: int) -> tuple[int, int]:
        """Requests of a user in this minute, and in the one before."""
        cells = self._cells
        present = before = 0
        for row in range(self.rows):
            found = []
            for at in self._places(row, subject):
                since = minute - cells[at]
                found.append((cells[at + 1], cells[at + 2]) if since == 0 else (0, cells[at + 1] if since == 1 else 0))
            present += min(now for now, _ in found)
            before += min(earlier for _, earlier in found)
        return present, before

    @staticmethod
    def _places(row: int, subject: str) -> Iterator[int]:
        # Forked processes have the same hashes, which nobody outside can foresee.
        number = hash(subject)
        for depth in range(_DEPTH):
            yield ((row * _DEPTH + depth) * _WIDTH + (number >> 24 * depth) % _WIDTH) * _CELL


class RequestCounts:
    """Counts in a minute that moves: of the minute before, the part counts that still lies in it.

    Args:
        shared: where the other processes count, too. Default: this process counts alone.
        row: of this process in there. What another process with this row had counted goes on counting.
    """

    def __init__(self, shared: SharedCounts | None = None, row: int = 0) -> None:
        self._shared = shared or SharedCounts(1)
        self._row = row if shared else 0

    def used(self, subject: str) -> int:
        """How many there were."""
        minute, left = _present()
        now, before = self._shared.of(subject, minute)
        return now + int(before * left / _MINUTE)

    def add(self, subject: str) -> None:
        """Counts one. Called in one thread only."""
        self._shared.add(self._row, subject, _present()[0])

    def wait(self, subject: str, most: int) -> int:
        """Whole seconds, one at least, after which fewer than `most` count if none is added."""
        minute, left = _present()
        now, before = self._shared.of(subject, minute)
        free = left - (most - now) * _MINUTE / before if before and now < most else left
        return max(1, math.ceil(free))


def _present() -> tuple[int, float]:
    """The minute of the clock, and the seconds until it ends."""
    number, passed = divmod(time.time(), _MINUTE)
    return int(number), _MINUTE - passed
