"""Threads that take calls of a kind in turn, and what they hand back to the event loop.

One line of a log lets hundreds of requests go on at the same moment. A hand-over for each, to a thread and back, would
cost as much as what they do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

QUICK = 0.02
"""Seconds from which on a call takes long."""


class Handover:
    """Has calls made in an event loop, many at once when they come at once."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._lock = threading.Lock()
        self._due = False

    def call(self, loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
        """Has a call made soon; from any thread. All of the loops that run at the same time are the same one."""
        with self._lock:
            self._calls.append((function, arguments))
            due, self._due = self._due, True
        if not due:
            try:
                loop.call_soon_threadsafe(self._make)
            except RuntimeError:  # the loop has ended, and with it everything that waited
                self._take()

    def _make(self) -> None:
        for function, arguments in self._take():
            function(*arguments)

    def _take(self) -> Iterable[tuple[Callable[..., None], tuple[Any, ...]]]:
        with self._lock:
            calls, self._calls, self._due = self._calls, deque(), False
        return calls


@dataclass(eq=False, slots=True)
class _Turn:
    """A thread that takes one call after the other.

    Attributes:
        since: when it began with the present one.
        over: whether that takes long, so that another thread has taken the turn.
    """

    since: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Call:
    function: Callable[[], Any]
    future: asyncio.Future[Any]


class Lane:
    """Calls of a kind, of which few run at the same time. One that takes long makes way for the next.

    Args:
        turns: how many run.
    """

    def __init__(self, pool: Executor, turns: int) -> None:
        self._pool = pool
        self._most = turns
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._turns: set[_Turn] = set()
        self._handover = Handover()
        self._looks = False

    async def run(self, function: Callable[[], T]) -> T:
        """Calls a function in a thread, in turn."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            self._waiting.append(_Call(function, future))
        self._begin()
        if not self._looks:
            self._looks = True
            loop.call_later(QUICK, self._look, loop)
        return await future

    def _begin(self) -> None:
        """Lets a thread take what waits, if there is a turn."""
        with self._lock:
            if not self._waiting or len(self._turns) >= self._most:
                return
            turn = _Turn(time.monotonic())
            self._turns.add(turn)
        try:
            self._pool.submit(self._work, turn)
        except BaseException:
            with self._lock:
                self._turns.discard(turn)
            raise

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ends the turns of calls that take long."""
        late = time.monotonic() - QUICK
        with self._lock:
            for turn in [turn for turn in self._turns if turn.since <= late]:
                turn.over = True
                self._turns.discard(turn)
            self._looks = bool(self._turns or self._waiting)
            waiting = len(self._waiting)
        for _ in range(min(waiting, self._most)):
            self._begin()
        if self._looks:
            loop.call_later(QUICK, self._look, loop)

    def _work(self, turn: _Turn) -> None:
        while True:
            with self._lock:
                if turn.over:
                    return
                if not self._waiting:
                    self._turns.discard(turn)
                    return
                call = self._waiting.popleft()
                turn.since = time.monotonic()
            if call.future.cancelled():
                continue
            try:
                result, error = call.function(), None
            except BaseException as raised:  # it is whose call it is who has to know
                result, error = None, raised
            self._handover.call(call.future.get_loop(), _settle, call.future, result, error)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
