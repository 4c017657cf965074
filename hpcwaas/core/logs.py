"""Reading and following the logs of executions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeAlias

from hpcwaas.core import policy
from hpcwaas.core.endings import Part, check_there
from hpcwaas.core.engines import Engines
from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Level, LogPage, Status
from hpcwaas.core.people import Principal
from hpcwaas.core.slots import Slots

Watch: TypeAlias = Callable[[Callable[[], None]], Callable[[], None]]
"""`Engine.watch` for one execution and place in its log."""


@dataclass(frozen=True, slots=True)
class LogView:
    """A page of a log and how the execution stood when it was read.

    Attributes:
        watch: has something called when there is more; None when there is nothing to wait for.
        stale_since: since when the engine doesn't answer, if it doesn't: there may be more.
    """

    page: LogPage
    status: Status
    watch: Watch | None
    stale_since: datetime | None = None


class Follow:
    """Somebody waits for news of a log, without a thread. Ends with `close`."""

    def __init__(self, end: Callable[[Follow], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._woken = False
        self._wake: Callable[[], None] | None = None
        self.cancel: Callable[[], None] | None = None

    def news(self) -> None:
        """There is news. May be called from any thread."""
        with self._lock:
            self._woken = True
            wake = self._wake
        if wake is not None:
            wake()

    def on_news(self, wake: Callable[[], None]) -> None:
        """Calls `wake` as soon as there is news; at once when there is already."""
        with self._lock:
            self._wake = wake
            woken = self._woken
        if woken:
            wake()

    def close(self) -> None:
        """Ends it."""
        if self.cancel is not None:
            self.cancel()
            self.cancel = None  # it holds on to this, and they would wait for the garbage collection together
        self._end(self)


class Logs:
    """The logs of executions.

    Args:
        slots: places for those who wait.
    """

    def __init__(self, engines: Engines, executions: Executions, slots: Slots) -> None:
        self._engines = engines
        self._executions = executions
        self._slots = slots
        self._follows: set[Follow] = set()
        self._closing = False

    def read(self, principal: Principal, execution_id: str, levels: Level, start: int, size: int) -> LogView:
        """A part of a log as it is now.

        Args:
            levels: which levels to show, of those that the user may read; `start` and `size` count entries of these.
            size: at most so many; negative for all.

        Raises:
            NotFound: unknown, or somebody else's.
            Gone: it was removed.
        """
        execution = self._executions.find(principal, execution_id)
        check_there(execution.removed, Part.LOG)
        if execution.reference is None:
            status = self._executions.refresh(execution).state.status
            return LogView(LogPage((), 0, status.over), status, None)
        engine = self._engines.of(execution)
        levels = policy.readable(principal, levels, self._engines.guarded.get(engine.name, Level(0)))
        page = engine.log(execution.reference, levels, start, None if size < 0 else size)
        state = self._executions.refresh(execution, page.state).state
        if execution.closed is not None:  # nobody need wait for what its engine may still say
            page = replace(page, over=True)
        waits = not page.over and page.total <= start
        watch = partial(engine.watch, execution.reference, levels, start)
        return LogView(page, state.status, watch if waits else None, page.stale_since or state.stale_since)

    def follow(self, principal: Principal, watch: Watch) -> Follow | None:
        """Waits for more of a log, or the end of the execution. None when the service is about to end.

        Raises:
            TooManyRequests: the user waits for too many logs at the same time.
            Unavailable: too many users do.
        """
        if self._closing:
            return None
        follow = self._wait(principal)
        try:
            follow.cancel = watch(follow.news)
        except BaseException:
            follow.close()
            raise
        if self._closing:
            follow.news()
        return follow

    def hold(self, principal: Principal) -> Callable[[], None]:
        """Takes a place among those who wait for news, for as long as somebody reads a stream.

        Returns:
            what gives it back; to be called once.

        Raises:
            TooManyRequests: the user waits for too much at the same time.
            Unavailable: too many users do.
        """
        self._slots.take(principal.subject)
        return partial(self._slots.give, principal.subject)

    def rest(self, principal: Principal) -> Follow | None:
        """Waits for nothing. None when the service is about to end.

        Raises:
            TooManyRequests: the user waits for too many logs at the same time.
            Unavailable: too many users do.
        """
        return None if self._closing else self._wait(principal)

    def _wait(self, principal: Principal) -> Follow:
        self._slots.take(principal.subject)
        follow = Follow(partial(self._end, principal.subject))
        self._follows.add(follow)
        return follow

    def _end(self, subject: str, follow: Follow) -> None:
        self._follows.discard(follow)
        self._slots.give(subject)

    def close(self) -> None:
        """Lets everybody who waits go."""
        self._closing = True
        for follow in tuple(self._follows):
            follow.news()
