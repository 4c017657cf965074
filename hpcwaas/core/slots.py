"""Limits what may go on at the same time, in all and for each user."""

from __future__ import annotations

import threading
from collections import Counter

from hpcwaas.errors import TooManyRequests, Unavailable

_RETRY_AFTER = 5
"""Seconds after which a refused request may find a place."""


class Slots:
    """Places for something that takes long.

    Args:
        total: places in this process.
        each: places for one user.
        what: what takes one, as in "you have 32 … open".
    """

    def __init__(self, total: int, each: int, what: str) -> None:
        self._total = total
        self._each = each
        self._what = what
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, subject: str) -> None:
        """Takes a place for a user; `give` gives it back.

        Raises:
            TooManyRequests: the user has all of theirs.
            Unavailable: there is none left for anybody.
        """
        with self._lock:
            if self._taken[subject] >= self._each:
                raise TooManyRequests(f"You have {self._each} {self._what} open, which is the limit.", _RETRY_AFTER)
            if self._taken.total() >= self._total:
                raise Unavailable(f"Too many {self._what} are open just now.", _RETRY_AFTER)
            self._taken[subject] += 1

    def give(self, subject: str) -> None:
        """Gives back a place."""
        with self._lock:
            self._taken[subject] -= 1
            if not self._taken[subject]:
                del self._taken[subject]
