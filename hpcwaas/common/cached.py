"""A value that is fetched from a slow place, kept for a while, and fetched anew while it is still served."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hpcwaas.common import calls
from hpcwaas.common.metrics import Counter
from hpcwaas.errors import ServiceError, UpstreamTimeout

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

LOOKUPS = Counter(
    "cache_lookups",
    "Looks for what was fetched before. hit: it is there; old: it is given while a newer one is fetched, or can't be; "
    "miss: it has to be fetched first.",
    cache=None,
    result=("hit", "old", "miss"),
)

_FAILURE_COUNTS = 2.0
"""Seconds for which a failure answers for all who ask, so that they don't wait for a dead server one after another."""

Run = Callable[[Callable[[], None]], None]
"""Runs a function in another thread; `RuntimeError` when that isn't possible."""


PATIENCE = 1.0
"""Seconds to wait for a newer value where there is an old one."""


def in_a_thread(function: Callable[[], None]) -> None:
    """Runs a function in a thread of its own. A `Run`."""
    threading.Thread(target=function, name="cached value", daemon=True).start()


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
                try:
                    self._run(self._do)
                except RuntimeError:  # no more threads, or the service is stopping: the next one tries again
                    self._ended = None
                    return False
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
        age: seconds since its fetch began.
        at: the moment of that, by the cache's clock.
        failed: the last try to fetch a newer one failed, or takes long.
    """

    value: T
    age: float
    at: float
    failed: bool


class Cached(Generic[T]):
    """Fetches with one thread, however many ask.

    Args:
        whose: what the value is fetched from, as a message begins with it.
        fetch: gets the value; raises `ServiceError`.
        run: for fetching while the value at hand is still served.
        longest: seconds for which a value counts at all.
        clock: gives seconds that nobody sets back.
    """

    def __init__(
        self,
        whose: str,
        fetch: Callable[[], T],
        run: Run = in_a_thread,
        *,
        longest: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._whose = whose
        self._name = whose.removeprefix("The ").lower()
        self._fetch = fetch
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()
        self._value: tuple[T, float] | None = None
        self._failure: tuple[float, ServiceError] | None = None
        self._refreshing = Once(run, self._refresh_now)
        self._expired = self._renewed = float("-inf")

    def put(self, value: T, age: float) -> None:
        """Holds a value that is so many seconds old, unless there is one."""
        if self._value is None:
            self._value = (value, self._clock() - age)

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
        asked = self._clock()
        held = self._value
        if held is not None and asked - held[1] <= self._longest:
            age, late = asked - held[1], False
            LOOKUPS.add(self._name, "hit" if age <= fresh else "old")
            if age > max(fresh, usable):
                late = not self._refresh(PATIENCE)
            elif age > fresh:
                self._refresh(0.0)
            return self._made(self._value or held, late=late)
        LOOKUPS.add(self._name, "miss")
        if patience is not None and not self._refresh(patience):
            if self._failure is not None:
                raise self._failure[1].with_traceback(None)
            error = UpstreamTimeout(f"{self._whose} hasn't answered yet.")
            error.logged = True
            raise error
        with self._lock:
            if self.peek() is None and not self._just_failed(asked):
                self._update()
            return self._settled()

    def newer(self, than: T, every: float) -> T:
        """A value that is newer than one in which something was missing, or the same.

        Args:
            every: seconds between two fetches that are asked for like this: whoever makes one ask may be an attacker.

        Raises:
            ServiceError: it should be fetched, and can't be.
        """
        with self._lock:
            if self._value is not None and self._value[0] is not than:
                return self._value[0]  # another thread has just fetched it
            if self._clock() >= self._renewed + every:
                self._renewed = self._clock()
                self._update()
            if self._failure is not None:
                raise self._failure[1].with_traceback(None)
            return self._settled().value

    def peek(self) -> Held[T] | None:
        """The value at hand; None when there is none that counts."""
        held = self._value
        return None if held is None or self._clock() - held[1] > self._longest else self._made(held)

    @property
    def failure(self) -> ServiceError | None:
        """Why the last fetch failed; None when it didn't."""
        return None if self._failure is None else self._failure[1]

    def expire(self, *, refresh: bool = False) -> None:
        """Makes the next one who asks fetch; with `refresh`, another thread begins at once."""
        self._failure = None
        self._expired = self._clock()
        if self._value is not None:
            self._value = (self._value[0], float("-inf"))
        if refresh:
            self._refresh(0.0)

    def _made(self, held: tuple[T, float], *, late: bool = False) -> Held[T]:
        return Held(held[0], self._clock() - held[1], held[1], late or self._failure is not None)

    def _settled(self) -> Held[T]:
        held = self.peek()
        if held is None:
            assert self._failure is not None  # noqa: S101 - for the type checker; there is a value or a failure
            raise self._failure[1].with_traceback(None)  # it is raised many times, and would grow
        return held

    def _update(self) -> None:
        began = self._clock()
        try:
            with calls.one():
                value = self._fetch()
            # What was under way when it expired is out of date too.
            self._value = (value, began if began > self._expired else float("-inf"))
            self._failure = None
        except ServiceError as error:
            self._failure = (self._clock(), error)

    def _just_failed(self, now: float) -> bool:
        return self._failure is not None and now - self._failure[0] < _FAILURE_COUNTS

    def _refresh(self, patience: float) -> bool:
        """Fetches in another thread, unless that has just failed. Whether that has ended in this time."""
        return self._just_failed(self._clock()) or self._refreshing.within(patience)

    def _refresh_now(self) -> None:
        with self._lock:
            self._update()
