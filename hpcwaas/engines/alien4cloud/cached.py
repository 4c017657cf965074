"""A value that is fetched from a slow place and kept for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hpcwaas.common import calls
from hpcwaas.errors import ServiceError, UpstreamTimeout

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

_FAILURE_COUNTS = 2.0
"""Seconds for which a failure answers for all who ask, so that they don't wait for a dead server one after another."""

Run = Callable[[Callable[[], None]], None]
"""Runs a function in another thread; may drop it when the engine is being closed."""


PATIENCE = 1.0
"""Seconds for which news are waited for where something is known already."""


class Once:
    """Work that one thread does at a time, and that others wait for as long as they like.

    Args:
        run: for doing it in another thread.
        work: raises nothing that anybody expects.
    """

    def __init__(self, run: Run, work: Callable[[], None]) -> None:
        self._run = run
        self._work = work
        self._lock = threading.Lock()
        self._ended: threading.Event | None = None

    def within(self, seconds: float) -> bool:
        """Begins the work unless it is under way. Whether it has ended in this time."""
        with self._lock:
            ended = self._ended
            if ended is None:
                ended = self._ended = threading.Event()
                self._run(self._do)
        return ended.wait(seconds)

    def _do(self) -> None:
        try:
            self._work()
        except Exception:  # nobody waits for the result: a defect would vanish without a trace
            _LOGGER.exception("unexpected error while fetching")
        finally:
            with self._lock:
                ended, self._ended = self._ended, None
            if ended is not None:
                ended.set()


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A value and how old it is.

    Attributes:
        at: monotonic time at which its fetch began.
        failed: the last try to fetch a newer one failed, or takes long.
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
        self._lock = threading.Lock()
        self._held: tuple[T, float] | None = None
        self._failure: tuple[float, ServiceError] | None = None
        self._refreshing = Once(run, self._refresh_now)
        self._expired = float("-inf")

    def put(self, value: T, age: float) -> None:
        """Holds a value that is so many seconds old, unless there is one."""
        if self._held is None:
            self._held = (value, time.monotonic() - age)

    def get(self, fresh: float, usable: float, patience: float | None = None) -> Held[T]:
        """The value.

        Args:
            fresh: seconds for which it is given without a look.
            usable: seconds for which it is given while another thread fetches; beyond, the caller waits: `PATIENCE`
                for something newer than what there is, and as long as it takes when there is nothing.
            patience: seconds to wait when there is nothing.

        Raises:
            ServiceError: there is none, and it can't be fetched. While there is one, an old one is given instead.
        """
        asked = time.monotonic()
        held = self._held
        if held is not None:
            age = asked - held[1]
            late = False
            if age > max(fresh, usable):
                late = not self._refresh(PATIENCE)
            elif age > fresh:
                self._refresh(0.0)
            return Held(*(self._held or held), late or self._failure is not None)
        if patience is not None:
            self._refresh(patience)
            if self._held is None and self._failure is None:
                error = UpstreamTimeout("The answer takes too long.")
                error.logged = True
                raise error
        with self._lock:
            if self._held is None and (self._failure is None or self._failure[0] < asked - _FAILURE_COUNTS):
                self._update()
            if self._held is None:
                assert self._failure is not None  # noqa: S101 - for the type checker; there is a value or a failure
                raise self._failure[1].with_traceback(None)  # it is raised many times, and would grow
            return Held(*self._held, self._failure is not None)

    def peek(self) -> Held[T] | None:
        """The value at hand, however old."""
        held = self._held
        return None if held is None else Held(*held, self._failure is not None)

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
            self._refresh(0.0)

    def _update(self) -> None:
        began = time.monotonic()
        try:
            with calls.one():
                value = self._fetch()
            # What was under way when it expired is out of date too.
            self._held = (value, began if began > self._expired else float("-inf"))
            self._failure = None
        except ServiceError as error:
            self._failure = (time.monotonic(), error)

    def _refresh(self, patience: float) -> bool:
        """Fetches in another thread, unless that has just failed. Whether that has ended in this time."""
        failed = self._failure is not None and time.monotonic() - self._failure[0] < _FAILURE_COUNTS
        return failed or self._refreshing.within(patience)

    def _refresh_now(self) -> None:
        with self._lock:
            self._update()
