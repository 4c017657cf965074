"""Those who follow logs: none of them costs a call or a thread."""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from hpcwaas.core.models import Level

_TICK = 0.03
_KEPT = 1024

BEING_LOOKED_AT = float("inf")
"""As the time at which a log is due."""


@dataclass(frozen=True, eq=False, slots=True)
class Watcher:
    """Somebody who waits for a line of these levels at `start`."""

    levels: Level
    start: int
    wake: Callable[[], None]


class Reader(abc.ABC):
    """The log of one execution, and those who wait for more of it.

    Attributes:
        reference: of the execution.
        due: monotonic time of the next look at it, while somebody follows it.
    """

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.watchers: frozenset[Watcher] = frozenset()
        self.due = 0.0

    @abc.abstractmethod
    def has(self, watcher: Watcher) -> bool:
        """Whether what somebody waits for is there, or never will be."""

    def wake(self) -> None:
        """Wakes those who have what they wait for."""
        for watcher in self.watchers:
            if self.has(watcher):
                watcher.wake()


R = TypeVar("R", bound=Reader)


class Following(abc.ABC, Generic[R]):
    """The logs that somebody asked for lately.

    Args:
        name: of the thread that looks at those which somebody follows.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._readers: LRUCache[str, R] = LRUCache(_KEPT)
        self._followed: set[R] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` when there is an entry of these levels at `start`, or the execution is over.

        Returns:
            what ends the watch.
        """
        reader = self._reader(reference)
        watcher = Watcher(levels, start, wake)
        self._follow(reader, watcher)
        if reader.has(watcher):  # after it was added: what comes from here on, the thread tells
            wake()
        return lambda: self._unfollow(reader, watcher)

    def close(self) -> None:
        """Lets all who wait go."""
        with self._changed:
            self._closing = True
            watchers, thread = [watcher for reader in self._followed for watcher in reader.watchers], self._thread
            self._changed.notify_all()
        for watcher in watchers:
            watcher.wake()
        if thread is not None:
            thread.join(timeout=5)

    @abc.abstractmethod
    def _made(self, reference: str) -> R:
        """The reader of a log; raises `NotFound` when this can't be a reference."""

    @abc.abstractmethod
    def _first_look(self, reader: R) -> float:
        """The monotonic time of the first look at a log that somebody begins to follow."""

    @abc.abstractmethod
    def _round(self, readers: Iterable[R]) -> None:
        """Looks at followed logs, many times a second; waits for nothing."""

    def _is_last(self, _reader: R) -> bool:
        """Whether nothing more is told by a reader, so that a log which goes on needs another one."""
        return False

    def _reader(self, reference: str) -> R:
        with self._changed:
            reader = self._readers.get(reference)
            if reader is None:  # one that is followed has to be the only one, however long nobody asked for it
                followed = (it for it in self._followed if it.reference == reference and not self._is_last(it))
                reader = next(followed, None) or self._made(reference)
            self._readers[reference] = reader
            return reader

    def _follow(self, reader: R, watcher: Watcher) -> None:
        with self._changed:
            reader.watchers = reader.watchers | {watcher}
            if reader not in self._followed:
                reader.due = self._first_look(reader)
                self._followed.add(reader)
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._look_round, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _unfollow(self, reader: R, watcher: Watcher) -> None:
        with self._changed:
            reader.watchers = reader.watchers - {watcher}
            if not reader.watchers:
                self._followed.discard(reader)

    def _look_round(self) -> None:
        while True:
            with self._changed:
                while not self._followed and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                readers = list(self._followed)
            self._round(readers)
            time.sleep(_TICK)
