"""Whether the service can serve, and what of all that it depends on is out of order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from hpcwaas.common.ending import ENDING
from hpcwaas.core.models import Check

_LOGGER = logging.getLogger(__name__)

Source = Callable[[], Sequence[Check]]
"""Gives the state of something; may take as long as it likes."""

_FRESH = 1.0
"""Seconds for which a state counts."""

_QUICK = 0.5
"""Seconds that an answer waits for a check. One that took longer last time isn't waited for."""

_FIRST = 3.0
"""Seconds that an answer waits for the first check of all."""

_LATE = 5.0
"""Seconds after which a check that hasn't ended counts as a failure."""

_TELL_EVERY = 60.0
"""Seconds between two entries of the log about the same thing."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is known about the service's state.

    Attributes:
        status: `ok`; `degraded` (serving, but something that it depends on is out of order); `failed` (it can't serve).
        checks: the state of each thing.
    """

    status: str
    checks: Sequence[Check]


class Health:
    """State of this process, and of everything that it depends on.

    Each source is asked in a thread of its own, when somebody wants to know and what is known is older than a second.
    So whatever hangs delays no answer, and however many ask, a source is asked once.

    Args:
        own: by name, what this process can't serve without; the service has failed when one of these has.
        others: by name, what it depends on. They fail without it: the service is degraded then.
    """

    def __init__(self, own: Mapping[str, Source], others: Mapping[str, Source]) -> None:
        self._watched = [
            *(_Watched(name, source, "failed") for name, source in own.items()),
            *(_Watched(name, source, "degraded") for name, source in others.items()),
        ]

    def look(self) -> tuple[list[Future[None]], float]:
        """Begins to check what hasn't been checked for a second.

        Returns:
            what is worth waiting for, which is all but what is known to take long; and for how many seconds.
        """
        found = [each for watched in self._watched if (each := watched.look()) is not None]
        return [ended for ended, _ in found], max((patience for _, patience in found), default=0.0)

    def report(self) -> Report:
        """What is known now. Never waits."""
        checks = [check for watched in self._watched for check in watched.checks()]
        if ENDING.told:
            checks.append(Check("server", "failed", 0.0, ("The service was told to stop.",)))
        states = {check.status for check in checks}
        return Report(next((state for state in ("failed", "degraded") if state in states), "ok"), checks)


class _Watched:
    """A source, and what it said last.

    Args:
        worst: the worst state that it can bring the service to.
    """

    def __init__(self, name: str, source: Source, worst: str) -> None:
        self._name, self._source, self._worst = name, source, worst
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._began = self._ended = -_FRESH
        self._took = 0.0
        self._known: Sequence[Check] | None = None
        self._told: dict[str, tuple[str, float]] = {}

    def look(self) -> tuple[Future[None], float] | None:
        """Begins a check unless one is going on or was a moment ago; gives it when it is worth waiting for."""
        now = time.monotonic()
        with self._lock:
            if self._running is None and now - self._ended >= _FRESH:
                self._running, self._began = Future(), now
                threading.Thread(
                    target=self._check, args=(self._running,), name=f"health-{self._name}", daemon=True
                ).start()
            patience = _FIRST if self._known is None else _QUICK
            left = patience - max(self._took, now - self._began)
            return (self._running, left) if self._running is not None and left > 0 else None

    def checks(self) -> Sequence[Check]:
        """What is known."""
        with self._lock:
            elapsed = time.monotonic() - self._began if self._running is not None else 0.0
            if self._known is None or elapsed >= _LATE:
                problem = (
                    f"It hasn't answered for {elapsed:.0f} seconds." if elapsed >= 1 else "It hasn't answered yet."
                )
                return [Check(self._name, self._worst, elapsed, (problem,))]
            return self._known

    def _check(self, ended: Future[None]) -> None:
        try:
            known = [self._bounded(check) for check in self._source()]
        except Exception:  # whoever waits for this check has to learn its end
            _LOGGER.exception("The state of %s is unknown", self._name)
            known = [Check(self._name, self._worst, 0.0, ("Its state is unknown; the service's log says why.",))]
        with self._lock:
            self._known, self._running, self._ended = known, None, time.monotonic()
            self._took = self._ended - self._began
        self._tell(known)
        ended.set_result(None)

    def _bounded(self, check: Check) -> Check:
        return replace(check, status=self._worst) if check.status == "failed" else check

    def _tell(self, checks: Sequence[Check]) -> None:
        """Logs what has changed: strangers who ask for the state aren't told the reasons."""
        now = time.monotonic()
        for check in checks:
            status, told = self._told.get(check.name, ("ok", -_TELL_EVERY))
            if check.status == status or now - told < _TELL_EVERY:
                continue
            self._told[check.name] = (check.status, now)
            if check.status == "ok":
                _LOGGER.info("%s is in order again", check.name)
            else:
                _LOGGER.warning("%s is %s: %s", check.name, check.status, " ".join(check.problems))
