"""A document of the identity provider that is kept, because it seldom changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hpcwaas.errors import ServiceError, Unavailable

_T = TypeVar("_T")

_FRESH = 3600.0
"""Seconds for which it counts without a further look."""
_STALE = 2 * 3600.0
"""Seconds for which it goes on to count while no newer one can be had."""
_PAUSE = 5.0
"""Seconds between a try that failed and the next."""
_BETWEEN = 30.0
"""Seconds between two renewals that were asked for: whoever asks for them may be an attacker."""
_LOOK = 60.0
"""Seconds after which the health check wants to see it anew."""


class Kept(Generic[_T]):
    """A document, fetched when it is first needed and then again in the background.

    Args:
        fetch: gets it; raises `ServiceError`.
        clock: gives seconds that nobody sets back.
    """

    def __init__(self, fetch: Callable[[], _T], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._fetching = threading.Lock()
        self._kept: tuple[_T, float] | None = None
        self._failure: ServiceError | None = None
        self._tried = self._renewed = float("-inf")

    def get(self) -> _T:
        """The document.

        Raises:
            Unavailable: it can't be had. After a failure the next seconds' callers are told so at once.
        """
        kept, now = self._kept, self._clock()
        if kept is not None and now < kept[1] + _STALE:
            if now >= kept[1] + _FRESH:
                self._begin()
            return kept[0]
        with self._fetching:
            kept = self._kept
            if kept is None or self._clock() >= kept[1] + _STALE:  # else another thread has just fetched it
                if self._failure is None or self._clock() >= self._tried + _PAUSE:
                    self._load()
                return self._current()
            return kept[0]

    def renewed(self, seen: _T) -> _T:
        """The document after it may have changed; seldom fetched anew, however often this is asked.

        Args:
            seen: the one in which something was missing.

        Returns:
            a newer one, or the same.

        Raises:
            Unavailable: it should be fetched and can't be had.
        """
        with self._fetching:
            kept = self._kept
            if kept is not None and kept[0] is not seen:
                return kept[0]  # another thread has just fetched it
            if self._clock() >= self._renewed + _BETWEEN:
                self._renewed = self._clock()
                self._load()
            return self._current()

    def problem(self, patience: float) -> str | None:
        """Why it can't be had, if so. Looks again in the background, at most once a minute.

        Args:
            patience: seconds to wait when nothing is known yet.
        """
        kept = self._kept
        if kept is None or self._failure is not None or self._clock() >= kept[1] + _LOOK:
            self._begin()
        if kept is None and self._failure is None:
            if not self._fetching.acquire(timeout=patience):
                return "The identity provider hasn't answered yet."
            self._fetching.release()
        failure = self._failure
        return None if failure is None else failure.detail

    def _begin(self) -> None:
        if self._clock() >= self._tried + _PAUSE and self._fetching.acquire(blocking=False):
            try:
                threading.Thread(target=self._load_and_release, name="identity provider", daemon=True).start()
            except RuntimeError:  # no more threads: the next one tries again
                self._fetching.release()

    def _load_and_release(self) -> None:
        try:
            self._load()
        finally:
            self._fetching.release()

    def _load(self) -> None:
        try:
            found = self._fetch()
        except ServiceError as error:
            self._failure = error
        else:
            self._kept, self._failure = (found, self._clock()), None
        self._tried = self._clock()

    def _current(self) -> _T:
        """What `_load` has got: an old document isn't given where it failed."""
        if self._kept is None or self._failure is not None:
            failure = self._failure
            detail = failure.detail if failure else "The identity provider hasn't answered yet."
            # A new one each time: an exception that is raised often grows.
            raise Unavailable(detail, getattr(failure, "retry_after", 5))
        return self._kept[0]
