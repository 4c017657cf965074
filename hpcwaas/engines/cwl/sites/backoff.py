"""When to try again after a failure."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable

from hpcwaas.engines.cwl.sites.connection import SiteFailed
from hpcwaas.errors import ServiceError

_FIRST, _LONGEST = 5.0, 300.0
_LASTING = 120.0, 600.0
"""Seconds of the first pause and of the longest; for what lasts until somebody does something."""


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
        if self._error is not None and self._clock() < self._until:
            raise copy.copy(self._error)

    def failed(self, error: ServiceError) -> None:
        """Notes a failure."""
        first, longest = _LASTING if isinstance(error, SiteFailed) and error.lasting else (_FIRST, _LONGEST)
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
