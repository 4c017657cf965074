"""What one user may have and do, and how much of it is used."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hpcwaas.core.ports.records import ExecutionRecords, UploadRecords
from hpcwaas.core.settings import LimitsPerUser
from hpcwaas.errors import TooManyRequests

_MINUTE = 60.0


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
        self._requests = _Requests()

    def count_request(self, subject: str) -> None:
        """Counts a request to this process. Takes microseconds; called in one thread only.

        Raises:
            TooManyRequests: it is one too many for this minute.
        """
        most = self._settings.requests
        if most is not None and self._requests.used(subject) >= most:
            wait = self._requests.wait(subject, most)
            raise TooManyRequests(
                f"You have sent {most} requests in the last minute, which is the limit: "
                f"wait {wait} second{'s' if wait > 1 else ''}.",
                wait,
            )
        self._requests.add(subject)

    def usage(self, subject: str) -> Mapping[str, Usage]:
        """How much a user has used: `executions` that haven't ended, `stored` bytes, `requests` of the last minute."""
        return {
            "executions": Usage(self._executions.count_unfinished(subject), self._settings.executions),
            "stored": Usage(self._uploads.stored(subject), self._settings.stored),
            "requests": Usage(self._requests.used(subject), self._settings.requests),
        }


class _Minute(NamedTuple):
    """Counts by user: of a minute of the clock, and of the one before it."""

    number: int
    now: dict[str, int]
    before: dict[str, int]


class _Requests:
    """Counts in a minute that moves: of the minute before, the part counts that still lies in it."""

    def __init__(self) -> None:
        self._state = _Minute(0, {}, {})

    def used(self, subject: str) -> int:
        """How many there were."""
        state, left = self._present()
        return state.now.get(subject, 0) + int(state.before.get(subject, 0) * left / _MINUTE)

    def add(self, subject: str) -> None:
        """Counts one."""
        now = self._present()[0].now
        now[subject] = now.get(subject, 0) + 1

    def wait(self, subject: str, most: int) -> int:
        """Whole seconds, one at least, after which fewer than `most` count if none is added."""
        state, left = self._present()
        now, before = state.now.get(subject, 0), state.before.get(subject, 0)
        free = left - (most - now) * _MINUTE / before if before and now < most else left
        return max(1, math.ceil(free))

    def _present(self) -> tuple[_Minute, float]:
        """The counts, and the seconds until the minute ends. What is older than the one before it is forgotten."""
        number, passed = divmod(time.time(), _MINUTE)
        state = self._state
        if number != state.number:
            self._state = state = _Minute(int(number), {}, state.now if number == state.number + 1 else {})
        return state, _MINUTE - passed
