"""What is known of executions on a server: asked for when somebody asks, and never asked twice at once."""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from cachetools import LRUCache

from hpcwaas.common.cached import Cached, Run
from hpcwaas.core.models import ExecutionState, Status

_FRESH_FAILED = 1.0
"""Seconds for which a failure is believed: another process may have resumed the execution. Nobody asks without reason,
for what has failed is on record."""

_CLOCKS = 10.0
"""Seconds by which clocks may differ."""

_KEPT = 4096


class Tracked(Protocol):
    """An execution as far as it is known.

    Attributes:
        final: the whole of it once it has ended.
        over_since: monotonic time from which on it is known to have ended.
        cached: asks the server.
    """

    final: ExecutionState | None
    over_since: float | None
    lock: threading.Lock
    cached: Cached[None]


K = TypeVar("K", bound=Tracked)


class Tracking(abc.ABC, Generic[K]):
    """The executions that somebody asked for lately.

    Args:
        server: its name at the beginning of a sentence.
        silent_since: since when the server hasn't answered; None when it does.
    """

    def __init__(self, server: str, run: Run, silent_since: Callable[[], datetime | None]) -> None:
        self._server = server
        self._run = run
        self._silent_since = silent_since
        self._known: LRUCache[str, K] = LRUCache(_KEPT)
        self._lock = threading.Lock()

    def state(self, text: str, patience: float | None = None) -> ExecutionState:
        """What is known now. It says so when the server doesn't answer.

        Args:
            patience: seconds to wait when nothing is known; as long as it takes when None.

        Raises:
            NotFound: this can't be a reference.
            ServiceError: nothing is known.
        """
        known = self._of(text)
        final = known.final
        if final is not None:
            if final.status is Status.FAILED:
                known.cached.get(_FRESH_FAILED, 0)
            return known.final or self._view(known)
        held = known.cached.get(self._fresh(known), self._usable(known), patience)
        with known.lock:
            state = known.final or self._view(known)
        if held.failed and not state.status.over:
            return replace(state, stale_since=self._silent_since() or datetime.now(UTC))
        return state

    def ended_for(self, text: str) -> float | None:
        """For at least how many seconds an execution has been over; None when it isn't."""
        state = self.state(text)
        if not state.status.over:
            return None
        over_since = self._of(text).over_since
        since = 0.0 if over_since is None else time.monotonic() - over_since
        if state.ended_at is not None:
            since = max(since, (datetime.now(UTC) - state.ended_at).total_seconds() - _CLOCKS)
        return since

    @abc.abstractmethod
    def _of(self, text: str) -> K:
        """The execution of a reference."""

    @abc.abstractmethod
    def _view(self, known: K) -> ExecutionState:
        """An execution that hasn't ended."""

    @abc.abstractmethod
    def _fresh(self, known: K) -> float:
        """Seconds for which what is known is believed."""

    @abc.abstractmethod
    def _usable(self, known: K) -> float:
        """Seconds for which it may be shown while something newer is fetched."""

    @abc.abstractmethod
    def _fetch(self, known: K) -> None:
        """Asks the server."""

    def _kept(self, key: str, fits: Callable[[K], bool], make: Callable[[], K]) -> K:
        """What is known under a key, made where there is nothing that fits."""
        with self._lock:
            known = self._known.get(key)
            if known is None or not fits(known):
                known = fresh = make()
                fresh.cached = Cached(self._server, lambda: self._fetch(fresh), self._run)
                self._known[key] = known
            return known
