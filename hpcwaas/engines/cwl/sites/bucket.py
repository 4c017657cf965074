"""How many commands a login node is asked to run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Bucket:
    """Lets so many things be done in a time, however many there are to do.

    Args:
        rate: on average, in a second.
        burst: at once, after a quiet time.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._left = float(burst)
        self._clock = clock
        self._then = clock()
        self._lock = threading.Lock()

    def due(self) -> float:
        """Takes one. Seconds to wait until it may be used: every caller has a turn of its own."""
        with self._lock:
            self._fill()
            self._left -= 1
            return max(0.0, -self._left / self._rate)

    def take(self) -> float:
        """Takes one, and gives 0, if there is one. Otherwise seconds until there is."""
        with self._lock:
            self._fill()
            if self._left < 1:
                return (1 - self._left) / self._rate
            self._left -= 1
            return 0.0

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._then) * self._rate)
        self._then = now
