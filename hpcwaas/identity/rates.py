"""How often something may happen. Counted in the store, so that all processes and replicas agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hpcwaas.common.addresses import network
from hpcwaas.core.ports.sign_in_records import Counters
from hpcwaas.errors import TooManyRequests


def _now() -> datetime:
    return datetime.now(UTC)


class Rate:
    """A limit for each of those who may do something.

    Args:
        kind: tells it from others in the store.
        most: how many are let through in a window, which begins with the first.
        detail: what a refusal says; `{wait}` in it becomes the minutes until the window ends.
        now: the present moment.
    """

    def __init__(
        self,
        counters: Counters,
        kind: str,
        most: int,
        window: timedelta,
        detail: str,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._counters = counters
        self._kind = kind
        self._most = most
        self._window = window
        self._detail = detail
        self._now = now

    def check(self, who: str) -> None:
        """Looks whether another one may come.

        Raises:
            TooManyRequests: not now.
        """
        now = self._now()
        count, end = self._counters.count_of(self._key(who), now)
        if count >= self._most:
            seconds = max(1, math.ceil((end - now).total_seconds()))
            minutes = -(-seconds // 60)
            raise TooManyRequests(self._detail.format(wait=f"{minutes} minute{'s' if minutes > 1 else ''}"), seconds)

    def count(self, who: str) -> None:
        """Counts one."""
        self._counters.add(self._key(who), self._window, self._now())

    def take(self, who: str) -> None:
        """Counts one, if it may come. A refusal costs the store no writing.

        Raises:
            TooManyRequests: not now.
        """
        self.check(who)
        self.count(who)

    def clear(self, who: str) -> None:
        """Forgets what was counted."""
        if self._counters.count_of(self._key(who), self._now())[0]:  # most often there is nothing to write
            self._counters.clear(self._key(who))

    def _key(self, who: str) -> str:
        return f"{self._kind} {who}"


class AddressRate(Rate):
    """A limit for each network address."""

    def _key(self, who: str) -> str:
        return super()._key(network(who))
