"""What one user may have and do, and how much of it is used."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from hpcwaas.core.ports.records import ExecutionRecords, UploadRecords
from hpcwaas.core.settings import LimitsPerUser
from hpcwaas.errors import TooManyRequests

_MINUTE = 60.0
_WITHOUT_LIMIT = 10**9
"""Requests per minute that no process ever sees."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is used. A `limit` of None means that there is none."""

    used: int
    limit: int | None


class Limits:
    """The limits of each user.

    Args:
        settings: the limits.
        executions: where executions are recorded.
        uploads: where uploads are recorded.
    """

    def __init__(self, settings: LimitsPerUser, executions: ExecutionRecords, uploads: UploadRecords) -> None:
        self._settings = settings
        self._executions = executions
        self._uploads = uploads
        self._requests = RateLimitItemPerMinute(settings.requests or _WITHOUT_LIMIT)
        self._counter = SlidingWindowCounterRateLimiter(_Memory())

    def count_request(self, subject: str) -> None:
        """Counts a request to this process. Takes microseconds; called in one thread only.

        Raises:
            TooManyRequests: it is one too many for this minute.
        """
        if not self._counter.hit(self._requests, subject):
            free = self._counter.get_window_stats(self._requests, subject).reset_time
            wait = max(1, math.ceil(free - time.time()))
            raise TooManyRequests(
                f"You have sent {self._settings.requests} requests in the last minute, which is the limit: "
                f"wait {wait} second{'s' if wait > 1 else ''}.",
                wait,
            )

    def usage(self, subject: str) -> Mapping[str, Usage]:
        """How much a user has used: `executions` that haven't ended, `stored` bytes, `requests` of the last minute."""
        remaining = self._counter.get_window_stats(self._requests, subject).remaining
        return {
            "executions": Usage(self._executions.count_unfinished(subject), self._settings.executions),
            "stored": Usage(self._uploads.stored(subject), self._settings.stored),
            "requests": Usage(self._requests.amount - remaining, self._settings.requests),
        }


class _Memory(MemoryStorage):
    """Counts in memory, without a thread: the library's own starts one for nearly every request, which costs ten times
    as much as the counting."""

    def __init__(self) -> None:
        super().__init__()
        self._sweep_at = time.time() + _MINUTE

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """See `limits.storage.Storage`."""
        if self.get(key) == 0:
            now = time.time()
            self.expirations[key] = now + expiry
            if now >= self._sweep_at:
                self._sweep_at = now + _MINUTE
                for old in list(self.expirations):
                    self.get(old)  # drops it when its time is over
        self.storage[key] += amount
        return self.storage[key]
