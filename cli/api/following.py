"""Following an execution, whoever sends the requests."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import Unreachable
from ..retry import pause
from . import answers, calls

_POLL_SECONDS = 30.0
_PATIENCE_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 60.0


class Following:
    """What to ask next, and what is new in the answer. It outlasts a restart of the service, once that has answered.

    Args:
        start: index of the first entry.
        levels: sum of the wanted levels, 0 for all but DEBUG.
        entries: whether entries are wanted, and not just the end.
        timeout: seconds after which following is given up; None for never.

    Attributes:
        over: whether the execution has ended, and all of its log was given.
    """

    def __init__(
        self,
        execution_id: str,
        *,
        start: int = 0,
        levels: int = 0,
        entries: bool = True,
        timeout: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._id = execution_id
        self._next = start
        self._levels = levels
        self._entries = entries
        self._clock = clock
        self._ends = None if timeout is None else clock() + timeout
        self._answered = False
        self._lost: float | None = None
        self._attempt = 0
        self.over = False

    def call(self) -> calls.Call[answers.Logs]:
        """The next request.

        Raises:
            TimeoutError: it has taken too long.
        """
        wait = _POLL_SECONDS if self._answered else 0.0
        if self._ends is not None:
            left = self._ends - self._clock()
            if left <= 0 and self._answered:
                raise TimeoutError(f"The execution {self._id} hasn't ended yet.")
            wait = min(wait, max(left, 0.0))
        size = None if self._entries else 1
        return calls.get_execution_logs(self._id, self._next, size=size, wait=round(wait, 3), levels=self._levels)

    def take(self, page: answers.Logs) -> list[answers.LogEntry]:
        """The entries in an answer to it."""
        self._answered, self._lost, self._attempt = True, None, 0
        entries = page["logs"]
        self._next = self._next + len(entries) if self._entries else max(self._next, page["total_results"])
        self.over = page["over"] and self._next >= page["total_results"]
        return entries if self._entries else []

    def pause(self, failure: Unreachable) -> float:
        """Seconds to wait after a request without an answer.

        Raises:
            Unreachable: there is no hope.
        """
        now = self._clock()
        self._lost = now if self._lost is None else self._lost
        if not self._answered or now - self._lost > _PATIENCE_SECONDS:
            raise failure
        self._attempt += 1
        return min(max(pause(self._attempt), failure.retry_after or 0.0), _LONGEST_PAUSE_SECONDS)
