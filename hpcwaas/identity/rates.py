"""How often something may come from one network address. Counted in the store, so that all processes agree."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hpcwaas.common.addresses import network
from hpcwaas.core.ports.sign_in_records import Counters
from hpcwaas.errors import TooManyRequests


class Rate:
    """A limit of one kind for each address.

    Args:
        kind: tells it from others in the store.
        most: how many are let through in a window, which begins with the first.
        detail: what to say to who is put off.
    """

    def __init__(self, counters: Counters, kind: str, most: int, window: timedelta, detail: str) -> None:
        self._counters = counters
        self._kind = kind
        self._most = most
        self._window = window
        self._detail = detail

    def check(self, address: str) -> None:
        """Looks whether another one may come.

        Raises:
            TooManyRequests: not now.
        """
        now = datetime.now(UTC)
        count, end = self._counters.get(self._key(address), now)
        if count >= self._most:
            raise TooManyRequests(self._detail, max(1, math.ceil((end - now).total_seconds())))

    def count(self, address: str) -> None:
        """Counts one."""
        self._counters.add(self._key(address), self._window, datetime.now(UTC))

    def take(self, address: str) -> None:
        """Counts one, if it may come. Who is put off costs the store no writing.

        Raises:
            TooManyRequests: not now.
        """
        self.check(address)
        self.count(address)

    def _key(self, address: str) -> str:
        return f"{self._kind} {network(address)}"
