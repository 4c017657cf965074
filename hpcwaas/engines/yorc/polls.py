"""Asks Yorc for what is new, again and again: one thread and one request that waits, however many want to know."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from hpcwaas.common.repeats import Repeats
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

WAIT = 10.0
"""Seconds for which Yorc may wait for lines of logs: an index that fell back is noticed when the time is over."""

_RATE = 1.0
"""Answers per second in the long run: each brings a single entry where many come one after another. By a lower rate the
lines of a script that writes one a second would wait for most of a second."""
_BURST = 3.0
"""Answers in a row without a pause for that."""
_GATHER = 0.2
"""Seconds after an answer in which more of the same comes, as a rule."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0


class Poll:
    """A thread that asks.

    Args:
        what: that it asks for, as in "Yorc gives no events".
        ask: asks once and takes the answer, and may wait for one. Raises `ServiceError`. It is told whether
            the try before failed. False when there is nothing to do for a while.
    """

    def __init__(self, what: str, ask: Callable[[bool], bool]) -> None:
        self._what = what
        self._ask = ask
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._problem: str | None = None
        self._repeats = Repeats()

    @property
    def closing(self) -> bool:
        """Whether it is to end."""
        return self._closing.is_set()

    def start(self) -> None:
        """Begins to ask, at the first call."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closing.is_set():
                    self._thread = threading.Thread(target=self._run, name=f"yorc-{self._what}", daemon=True)
                    self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why nothing comes just now, in a sentence."""
        return self._problem

    def close(self) -> None:
        """Asks no more. A request that waits is left to end by itself."""
        self._closing.set()

    def _run(self) -> None:
        pause, failed = _FIRST_PAUSE, False
        left, counted_at = _BURST, time.monotonic()
        while not self._closing.is_set():
            try:
                busy = self._ask(failed)
                pause, failed, self._problem = _FIRST_PAUSE, False, None
            except ServiceError as error:
                failed = True
                self._tell(error)
            except Exception:  # this thread must outlive a defect in what handles one answer
                failed = True
                _LOGGER.exception("unexpected error while asking Yorc for %s", self._what)
            if failed:
                self._closing.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                pause = min(pause * 2, _LONGEST_PAUSE)
            elif not busy:
                self._closing.wait(_FIRST_PAUSE)
            else:
                now = time.monotonic()
                left = min(_BURST, left + (now - counted_at) * _RATE) - 1
                counted_at = now
                self._closing.wait(max(_GATHER, -left / _RATE))

    def _tell(self, error: ServiceError) -> None:
        if self._closing.is_set():
            return
        self._problem = f"Yorc gives no {self._what}. {error.detail}"
        if not error.logged and self._repeats.due(error.detail) is not None:
            _LOGGER.warning("Yorc gives no %s: %s", self._what, error.detail)
