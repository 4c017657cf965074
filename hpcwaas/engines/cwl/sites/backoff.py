"""When to try again after a failure."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable

from hpcwaas.engines.cwl.sites.connection import NotSignedIn, SiteFailed
from hpcwaas.errors import ServiceError, Unavailable, UpstreamTimeout

_UNREACHED = 5.0, 300.0
_SIGN_IN = 120.0, 300.0
_LASTING = 300.0, 600.0
"""Seconds of the first pause and of the longest: of what the site may not even have noticed; of what it may count as a
failed attempt to sign in; of what lasts until somebody does something. Centres bar addresses from which attempts fail
too often: fail2ban does after five within ten minutes.
"""
_VAULT = 2.0, 10.0
"""The same for a vault that is sealed or away: it may be asked often, and bars nobody."""


def of_vault(error: Exception) -> bool:
    """Whether an account can't be opened because the vault gives nothing now."""
    return isinstance(error, (Unavailable, UpstreamTimeout)) and not isinstance(error, SiteFailed)


class Backoff:
    """Pauses that double with each failure.

    Args:
        clock: seconds.
        jitter: of two bounds a number between them: many that failed together shan't try again together.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._until = 0.0
        self._error: ServiceError | None = None

    def check(self) -> None:
        """Raises the last failure again, as long as it is too early for another try."""
        if self._error is not None and self.due():
            raise copy.copy(self._error)

    def due(self) -> float:
        """Seconds until the next try; 0 when it isn't too early for one."""
        return max(self._until - self._clock(), 0.0) if self._error is not None else 0.0

    def failed(self, error: ServiceError) -> None:
        """Notes a failure."""
        first, longest = _pauses(error)
        pause = min(first * 2 ** min(self._failures, 16), longest)
        self._failures += 1
        self._until = self._clock() + self._jitter(pause * 0.75, pause * 1.25)
        # Without its traceback, which holds on to whatever was at hand.
        self._error = (
            SiteFailed(error.detail, lasting=error.lasting) if isinstance(error, SiteFailed) else copy.copy(error)
        )

    def succeeded(self) -> None:
        """Forgets the failures."""
        self._failures, self._error = 0, None


def _pauses(error: ServiceError) -> tuple[float, float]:
    if of_vault(error):
        return _VAULT
    if isinstance(error, SiteFailed) and error.lasting:
        return _LASTING
    return _SIGN_IN if isinstance(error, NotSignedIn) and error.point == "sign_in" else _UNREACHED
