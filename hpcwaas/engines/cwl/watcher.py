"""Looks for news of executions: one thread of this process looks at all that somebody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from hpcwaas.core.models import Level

_TICK = 0.1


@dataclass(eq=False, slots=True)
class _Waiter:
    levels: Level
    start: int
    wake: Callable[[], None]


class Watcher:
    """Wakes any number of followers when there is news of their execution.

    Args:
        stamp: something that changes when there may be news of an execution; cheap.
        news: whether an execution is over, and a function that counts its log entries of some levels.
    """

    def __init__(
        self, stamp: Callable[[str], object], news: Callable[[str], tuple[bool, Callable[[Level], int]]]
    ) -> None:
        self._stamp = stamp
        self._news = news
        self._waiters: dict[str, set[_Waiter]] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def watch(self, execution_id: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` when the log has an entry of these levels at `start` or the execution is over.

        Returns:
            what ends the watch.
        """
        waiter = _Waiter(levels, start, wake)
        with self._lock:
            self._waiters.setdefault(execution_id, set()).add(waiter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="cwl-watcher", daemon=True)
                self._thread.start()
        # After the registration: what happens from here on, the thread sees.
        over, total = self._news(execution_id)
        if over or total(levels) > start:
            wake()
        return lambda: self._end(execution_id, waiter)

    def _end(self, execution_id: str, waiter: _Waiter) -> None:
        with self._lock:
            waiters = self._waiters.get(execution_id, set())
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(execution_id, None)

    def _watch(self) -> None:
        stamps: dict[str, object] = {}
        pause = threading.Event()
        while True:
            with self._lock:
                if not self._waiters:
                    self._thread = None
                    return
                watched = {execution_id: tuple(waiters) for execution_id, waiters in self._waiters.items()}
            stamps = {execution_id: stamps.get(execution_id) for execution_id in watched}
            for execution_id, waiters in watched.items():
                try:
                    stamp = self._stamp(execution_id)
                    if stamp == stamps[execution_id]:
                        continue
                    over, total = self._news(execution_id)
                except OSError:  # too many open files, for instance: the next tick looks again
                    continue
                stamps[execution_id] = stamp
                for waiter in waiters:
                    if over or total(waiter.levels) > waiter.start:
                        waiter.wake()
            pause.wait(_TICK)
