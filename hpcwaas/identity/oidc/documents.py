"""Documents of the identity provider that seldom change: its endpoints and its keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hpcwaas.common.cached import Cached
from hpcwaas.errors import ServiceError, Unavailable

_T = TypeVar("_T")

_FRESH = 3600.0
"""Seconds for which a document counts without a further look."""
_STALE = 2 * 3600.0
"""Seconds for which it goes on to count while no newer one can be had."""
_BETWEEN = 30.0
"""Seconds between two renewals that a token asks for."""
_LOOK = 60.0
"""Seconds after which the health check wants to see it anew."""


class Document(Generic[_T]):
    """A document, fetched when it is first needed and then again in the background.

    Args:
        fetch: gets it; raises `ServiceError`.
        clock: gives seconds that nobody sets back.
    """

    def __init__(self, fetch: Callable[[], _T], clock: Callable[[], float] = time.monotonic) -> None:
        self._cached = Cached("The identity provider", fetch, longest=_STALE, clock=clock)

    def get(self) -> _T:
        """The document.

        Raises:
            Unavailable: it can't be had. After a failure the next seconds' callers are told so at once.
        """
        try:
            return self._cached.get(_FRESH, _STALE).value
        except ServiceError as error:
            raise _unavailable(error) from error

    def renewed(self, seen: _T) -> _T:
        """The document after it may have changed; seldom fetched anew, however often this is asked.

        Args:
            seen: the one in which something was missing.

        Returns:
            a newer one, or the same.

        Raises:
            Unavailable: it should be fetched and can't be had.
        """
        try:
            return self._cached.newer(seen, _BETWEEN)
        except ServiceError as error:
            raise _unavailable(error) from error

    def problem(self, patience: float) -> str | None:
        """Why it can't be had, if so. Looks again in the background, at most once a minute while all is well.

        Args:
            patience: seconds to wait when nothing is known yet.
        """
        try:
            self._cached.get(0.0 if self._cached.failure else _LOOK, _STALE, patience)
        except ServiceError as error:
            return error.detail
        failure = self._cached.failure
        return None if failure is None else failure.detail


def _unavailable(error: ServiceError) -> Unavailable:
    return Unavailable(error.detail, getattr(error, "retry_after", 5))
