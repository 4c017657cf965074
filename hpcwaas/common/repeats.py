"""Keeps what happens again and again from filling the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable

from cachetools import LRUCache

_EVERY = 60.0
"""Seconds between two lines about the same."""

_KEPT = 256


class Repeats:
    """Says when something that goes on is due to be logged once more. For any number of threads."""

    def __init__(self) -> None:
        self._logged: LRUCache[Hashable, tuple[float, int]] = LRUCache(_KEPT)
        self._lock = threading.Lock()

    def due(self, what: Hashable) -> int | None:
        """How often it has happened since it was logged the last time, this time included; None when that was less
        than a minute ago."""
        now = time.monotonic()
        with self._lock:
            at, count = self._logged.get(what, (float("-inf"), 0))
            if now - at < _EVERY:
                self._logged[what] = at, count + 1
                return None
            self._logged[what] = now, 0
        return count + 1
