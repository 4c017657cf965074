"""Reading and following the logs of executions."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Execution, Level, LogPage, Principal, Status
from hpcwaas.engines.base import Engine
from hpcwaas.errors import TooManyRequests, Unavailable

LONGEST_WAIT = 120.0
"""Seconds after which a follower is answered even without news: proxies cut longer silences."""

_SLICE = 2.0
"""Seconds of waiting after which a follower looks whether the service is about to stop."""

_RETRY_AFTER = 5


@dataclass(frozen=True, slots=True)
class LogView:
    """A page of a log and how the execution stood when it was read."""

    page: LogPage
    status: Status


class Logs:
    """The logs of executions.

    Args:
        followers: requests that may wait at the same time.
        followers_each: the same for one user.
    """

    def __init__(self, engine: Engine, executions: Executions, followers: int, followers_each: int) -> None:
        self._engine = engine
        self._executions = executions
        self._limit = followers
        self._limit_each = followers_each
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def read(
        self, principal: Principal, execution_id: str, levels: Level, start: int, size: int, timeout: float
    ) -> LogView:
        """A part of a log, as soon as there is one.

        Args:
            levels: which levels to show; `start` and `size` count entries of these.
            size: at most so many; negative for all.
            timeout: seconds to wait for an entry at `start`; it is answered earlier when the execution is over.

        Raises:
            NotFound: unknown, or somebody else's.
            TooManyRequests: the user waits for too many logs at the same time.
            Unavailable: too many users do.
        """
        execution = self._executions.get(principal, execution_id)
        if execution.reference is None:
            return LogView(LogPage((), 0, execution.state.status.over), execution.state.status)
        page = self._page(execution, levels, start, size)
        if page.total <= start and not page.over and timeout > 0:
            self._wait(principal, execution.reference, levels, start, min(timeout, LONGEST_WAIT))
            page = self._page(execution, levels, start, size)
        return LogView(page, self._executions.refresh(execution).state.status)

    def _page(self, execution: Execution, levels: Level, start: int, size: int) -> LogPage:
        assert execution.reference is not None  # noqa: S101 - for the type checker; `read` has looked
        return self._engine.log(execution.reference, levels, start, None if size < 0 else size)

    def _wait(self, principal: Principal, reference: str, levels: Level, start: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._slot(principal):
            while (left := deadline - time.monotonic()) > 0 and not self._closing.is_set():
                slice_end = time.monotonic() + min(left, _SLICE)
                self._engine.wait(reference, levels, start, min(left, _SLICE))
                if time.monotonic() < slice_end:
                    return

    @contextmanager
    def _slot(self, principal: Principal) -> Iterator[None]:
        with self._lock:
            if self._waiting.total() >= self._limit:
                raise Unavailable("Too many logs are being followed just now.", _RETRY_AFTER)
            if self._waiting[principal.subject] >= self._limit_each:
                raise TooManyRequests(
                    f"You wait for {self._limit_each} logs at the same time, which is the limit.", _RETRY_AFTER
                )
            self._waiting[principal.subject] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[principal.subject] -= 1
                if not self._waiting[principal.subject]:
                    del self._waiting[principal.subject]

    def close(self) -> None:
        """Lets everybody who waits go."""
        self._closing.set()
