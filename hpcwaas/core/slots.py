"""Limits what may go on at the same time, in all and for each of those who ask for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from hpcwaas.errors import TooManyRequests, Unavailable

_RETRY_AFTER = 5
"""Seconds after which a refused request may find a place."""


class Slots:
    """Places for something that takes long.

    Nobody gets more than are still free: however many come with all that they may have, places are left for others.

    Args:
        total: places in this process.
        each: places for one user.
        what: what takes one, as in "You have 32 … open".
        whose: who has them, as in "You have".
    """

    def __init__(self, total: int, each: int, what: str, whose: str = "You have") -> None:
        self._each = each
        self._what = what
        self._whose = whose
        self._free = total
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, subject: str) -> None:
        """Takes a place for a user; `give` gives it back.

        Raises:
            TooManyRequests: the user has all of theirs.
            Unavailable: there is none left for anybody.
        """
        with self._lock:
            taken = self._taken[subject]
            if taken >= self._each:
                raise TooManyRequests(f"{self._whose} {taken} {self._what} open, which is the limit.", _RETRY_AFTER)
            if self._free <= 0:
                raise Unavailable(f"Too many {self._what} are open at the moment.", _RETRY_AFTER)
            if taken >= self._free:
                raise TooManyRequests(
                    f"{self._whose} {taken} {self._what} open, and few places are left for others.", _RETRY_AFTER
                )
            self._taken[subject] = taken + 1
            self._free -= 1

    def give(self, subject: str) -> None:
        """Gives back a place."""
        with self._lock:
            self._free += 1
            self._taken[subject] -= 1
            if not self._taken[subject]:
                del self._taken[subject]

    @contextmanager
    def held(self, subject: str) -> Iterator[None]:
        """While inside, a place is taken. Raises as `take`."""
        self.take(subject)
        try:
            yield
        finally:
            self.give(subject)


class Holder(Protocol):
    """Who waits in a place."""

    def make_way(self) -> bool:
        """Gives the place up for somebody who comes new. False when it can't be given up at the moment."""


class Places:
    """Places in which something waits for who has begun it. When an address has more than are still free, or all are
    taken, who has waited longest makes way. So nobody's waiting keeps others out, neither those of other addresses nor
    of the same.

    Not for threads: all of it happens on the event loop.

    Args:
        total: how many there are.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._held: dict[str, dict[Holder, None]] = {}

    def enter(self, key: str, holder: Holder) -> bool:
        """Takes a place; `leave` gives it back.

        Args:
            key: whose it is: an address, for instance.

        Returns:
            False when there is none, and nobody can make way.
        """
        own = len(self._held.get(key, ()))
        if self._free <= 0 or own > self._free:
            crowded = key if own > self._free else max(self._held, key=lambda each: len(self._held[each]))
            first = next((held for held in self._held[crowded] if held.make_way()), None)
            if first is None:
                return False
            self.leave(crowded, first)
        self._held.setdefault(key, {})[holder] = None
        self._free -= 1
        return True

    def leave(self, key: str, holder: Holder) -> None:
        """Gives a place back, if it is still held."""
        held = self._held.get(key)
        if held is not None and holder in held:
            del held[holder]
            self._free += 1
            if not held:
                del self._held[key]
