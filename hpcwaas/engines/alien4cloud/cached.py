"""A value that is fetched from a slow place and kept for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

_FAILURE_COUNTS = 2.0
"""Seconds for which a failure answers for all who ask, so that they don't wait for a dead server one after another."""

Run = Callable[[Callable[[], None]], None]
"""Runs a function in another thread; may drop it when the engine is being closed."""


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A value and how old it is.

    Attributes:
        at: monotonic time at which its fetch began.
        failed: the last try to fetch a newer one failed.
    """

    value: T
    at: float
    failed: bool

    @property
    def age(self) -> float:
        """Seconds since the fetch began."""
        return time.monotonic() - self.at


class Cached(Generic[T]):
    """Fetches with one thread, however many ask.

    Args:
        fetch: gets the value; raises `ServiceError`.
        run: for fetching while the value at hand is still served.
    """

    def __init__(self, fetch: Callable[[], T], run: Run) -> None:
        self._fetch = fetch
        self._run = run
        self._lock = threading.Lock()
        self._held: tuple[T, float] | None = None
        self._failure: tuple[float, ServiceError] | None = None
        self._refreshing = threading.Lock()
        self._expired = float("-inf")

    def get(self, fresh: float, usable: float) -> Held[T]:
        """The value.

        Args:
            fresh: seconds for which it is given without a look.
            usable: seconds for which it is given while another thread fetches; beyond, the caller waits.

        Raises:
            ServiceError: there is none, and it can't be fetched. While there is one, an old one is given instead.
        """
        asked = time.monotonic()
        if self._held is not None:
            age = asked - self._held[1]
            if age <= fresh:
                return self._given(self._held, failed=self._failure is not None)
            if age <= usable:
                self._refresh()
                return self._given(self._held, failed=self._failure is not None)
        with self._lock:
            if self._held is None or self._held[1] < asked - fresh:
                if self._failure is None or self._failure[0] < asked - _FAILURE_COUNTS:
                    self._update()
                if self._held is None and self._failure is not None:
                    raise self._failure[1].with_traceback(None)  # it is raised many times, and would grow
            assert self._held is not None  # noqa: S101 - for the type checker; there is a value or a failure
            return self._given(self._held, failed=self._failure is not None)

    def peek(self) -> Held[T] | None:
        """The value at hand, however old."""
        held = self._held
        return None if held is None else self._given(held, failed=self._failure is not None)

    @property
    def failure(self) -> ServiceError | None:
        """Why the last fetch failed; None when it didn't."""
        return None if self._failure is None else self._failure[1]

    def expire(self, *, refresh: bool = False) -> None:
        """Makes the next one who asks fetch; with `refresh`, another thread begins at once."""
        self._failure = None
        self._expired = time.monotonic()
        if self._held is not None:
            self._held = (self._held[0], float("-inf"))
        if refresh:
            self._refresh()

    def _given(self, held: tuple[T, float], *, failed: bool) -> Held[T]:
        return Held(held[0], held[1], failed)

    def _update(self) -> None:
        began = time.monotonic()
        try:
            value = self._fetch()
            # What was under way when it expired is out of date too.
            self._held = (value, began if began > self._expired else float("-inf"))
            self._failure = None
        except ServiceError as error:
            self._failure = (time.monotonic(), error)

    def _refresh(self) -> None:
        if self._failure and time.monotonic() - self._failure[0] < _FAILURE_COUNTS:
            return
        if self._refreshing.acquire(blocking=False):
            self._run(self._refresh_now)

    def _refresh_now(self) -> None:
        try:
            with self._lock:
                self._update()
        except Exception:  # nobody waits for the result: a defect would vanish without a trace
            _LOGGER.exception("unexpected error while fetching")
        finally:
            self._refreshing.release()
