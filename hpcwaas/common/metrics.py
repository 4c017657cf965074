"""Counts what happens, for all worker processes together.

A module declares what it counts, by `Counter`, `Gauge`, `Histogram` or, for what is read when somebody asks, `Reading`.
The figures stand in memory that the processes share: `share` makes it before they are forked, with a row for each of
them and a place in it for every combination of labels, and `begin` gives a process its row. Until then nothing is
counted, and counting costs nothing.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

PREFIX = "hpcwaas_"

OTHER = "other"
"""Stands for every value of a label that wasn't known when the memory was made."""

Words = Mapping[str, Sequence[str]]
"""The values of labels that only the settings tell, by the labels' names."""

_LOCK = threading.Lock()


class Family:
    """A figure, with a value for each combination of its labels.

    Args:
        name: without the prefix.
        text: what it is, for people.
        labels: their values, by their names; None for those that only the settings tell.
    """

    all: ClassVar[list[Family]] = []
    kind = ""
    width = 1

    def __init__(self, name: str, text: str, **labels: Sequence[str] | None) -> None:
        self.name = PREFIX + name
        self.text = text
        self.labels = labels
        self.at: dict[tuple[str, ...], int] = {}
        Family.all.append(self)

    def combinations(self, words: Words) -> Iterator[tuple[str, ...]]:
        """All combinations of its labels."""
        return itertools.product(
            *((*words.get(name, ()), OTHER) if known is None else known for name, known in self.labels.items())
        )

    def _place(self, labels: tuple[str, ...]) -> int | None:
        """Where the figure stands; None when nothing is counted, or not by this label."""
        place = self.at.get(labels)
        if place is None and self.at:
            ways = itertools.product(*((label, OTHER) for label in labels))
            place = next((self.at[way] for way in ways if way in self.at), None)
        return place


class Counter(Family):
    """How often something has happened. Its name says what, without `_total`."""

    kind = "counter"

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Counts."""
        if (place := self._place(labels)) is not None:
            with _LOCK:
                _book.own[place] += by


class Gauge(Family):
    """How much there is of something just now, in all processes together.

    Args:
        least: whether the least of all processes counts, in place of their sum; 0 is none then.
    """

    kind = "gauge"

    def __init__(self, name: str, text: str, *, least: bool = False, **labels: Sequence[str] | None) -> None:
        super().__init__(name, text, **labels)
        self.least = least

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Adds to what there is in this process."""
        if (place := self._place(labels)) is not None:
            with _LOCK:
                _book.own[place] += by

    def put(self, value: float, *labels: str) -> None:
        """Says how much there is in this process."""
        if (place := self._place(labels)) is not None:
            _book.own[place] = value


class Histogram(Family):
    """How long something took, in seconds.

    Args:
        bounds: of the counts, without the last one, which has none.
    """

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: Sequence[float], **labels: Sequence[str] | None) -> None:
        super().__init__(name, text, **labels)
        self.bounds = bounds
        self.width = len(bounds) + 2

    def observe(self, seconds: float, *labels: str) -> None:
        """Counts something that took so long."""
        if (place := self._place(labels)) is not None:
            bucket = place + bisect_left(self.bounds, seconds)
            with _LOCK:
                _book.own[bucket] += 1.0
                _book.own[place + self.width - 1] += seconds


class Reading(Family):
    """How much there is of something that any process can find out when somebody asks.

    Args:
        counter: whether it only grows, as long as a process lives.
    """

    def __init__(self, name: str, text: str, *, counter: bool = False, **labels: Sequence[str] | None) -> None:
        super().__init__(name, text, **labels)
        self.kind = "counter" if counter else "gauge"


Read = Callable[[], Iterable[tuple[Reading, tuple[str, ...], float]]]
"""Finds out readings: of which family, by which labels, how much."""


class _Book:
    """The memory. A row begins with the number of the process that writes it, 0 when there is none, and whether there
    has ever been one.

    Attributes:
        own: the row of this process.
    """

    def __init__(self, rows: int, width: int) -> None:
        self._width = width
        cells = memoryview(mmap.mmap(-1, max(rows * width, 1) * 8)).cast("d")
        self.rows = [cells[row * width : (row + 1) * width] for row in range(rows)]
        self.own = memoryview(bytearray(width * 8)).cast("d")  # for whoever has none: the process that forks


_book = _Book(0, 2)


def share(words: Words, rows: int, only: Mapping[Family, Iterable[tuple[str, ...]]] | None = None) -> None:
    """Makes the memory. Forgets what was counted before.

    Args:
        words: values of labels.
        rows: how many processes may count at the same time.
        only: the combinations of labels of families of which not all can occur.
    """
    global _book
    width = 2
    for family in Family.all:
        found = (only or {}).get(family) or family.combinations(words)
        family.at = {}
        for labels in () if isinstance(family, Reading) else found:
            family.at[labels] = width
            width += family.width
    _book = _Book(rows, width)


def begin(row: int) -> None:
    """Has this process count in a row. What an earlier one has counted there is gone on with."""
    if row < len(_book.rows):
        end(row)
        _book.own = _book.rows[row]
        _book.own[0], _book.own[1] = os.getpid(), 1.0


def end(row: int) -> None:
    """The process of a row is gone: there is nothing in it any more, but what it has counted stays."""
    if row < len(_book.rows):
        cells = _book.rows[row]
        cells[0] = 0.0
        for family in Family.all:
            if isinstance(family, Gauge):
                for place in family.at.values():
                    cells[place] = 0.0


def processes() -> Mapping[int, int]:
    """The processes that count, by their rows."""
    return {row: int(cells[0]) for row, cells in enumerate(_book.rows) if cells[0]}


def values(family: Family) -> Iterator[tuple[tuple[str, ...], Sequence[float]]]:
    """The figures of a family, added up over all processes, by labels. A histogram has its counts, and the sum of all
    that was observed; the others have one figure. A figure that no process has is left out."""
    rows = [cells for cells in _book.rows if cells[1]]
    for labels, place in family.at.items():
        found = [cells[place : place + family.width] for cells in rows]
        if isinstance(family, Gauge) and family.least:
            known = [cells[0] for cells in found if cells[0]]
            if known:
                yield labels, [min(known)]
        else:
            yield labels, [sum(column) for column in zip(*found, strict=True)]
