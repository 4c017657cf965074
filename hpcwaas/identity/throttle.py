"""How many attempts to sign in may fail. Counted in the store, so that all processes and replicas agree."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from hpcwaas.common.addresses import network
from hpcwaas.core.ports.sign_in_records import Counters
from hpcwaas.errors import TooManyRequests

_MINUTES = 15
_USER = RateLimitItemPerMinute(10, _MINUTES, "sign-in")
# From wherever. Ten would do against guessing, but let anybody lock out whoever they like.
_ACCOUNT = RateLimitItemPerMinute(100, _MINUTES, "sign-in")
_ADDRESS = RateLimitItemPerMinute(50, _MINUTES, "sign-in")
# A token can't be guessed, but asking an identity provider about unknown ones costs. Many users may share an address,
# and clients that go on with an expired token aren't attackers.
_TOKENS = RateLimitItemPerMinute(1000, _MINUTES, "sign-in")
_KNOWN = timedelta(days=30)
"""For how long a user who has signed in from an address isn't locked out there by failures elsewhere."""


class Throttle:
    """Counts failures by account, by address, and by both together, in windows that begin with the first one.

    Names count whether there is such an account or not. Every method may raise `Unavailable`.

    Args:
        now: the present moment.
    """

    def __init__(self, counters: Counters, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._counters = counters
        self._limiter = FixedWindowRateLimiter(_CounterStorage(counters, now))

    def check(self, username: str, address: str) -> None:
        """Refuses a further attempt with a password.

        Raises:
            TooManyRequests: too many have failed.
        """
        user = _user(username, address)
        self._refuse(_USER, user, "as this user")
        if not self._counters.get(f"known {user}", self._now())[0]:
            self._refuse(_ACCOUNT, _account(username), "as this user")
        self._refuse(_ADDRESS, f"address {network(address)}", "from this address")

    def failed(self, username: str, address: str) -> None:
        """Counts an attempt with a wrong password or name."""
        self._limiter.hit(_USER, _user(username, address))
        self._limiter.hit(_ACCOUNT, _account(username))
        self._limiter.hit(_ADDRESS, f"address {network(address)}")

    def succeeded(self, username: str, address: str) -> None:
        """Forgets the failures of a user at an address; those of either alone stay, or anybody with an account could
        clear them, and every sign-in of a robot would let others guess on."""
        user = _user(username, address)
        if not self._limiter.test(_USER, user, cost=_USER.amount):  # most often nothing to write
            self._limiter.clear(_USER, user)
        if not self._counters.get(f"known {user}", self._now())[0]:
            self._counters.add(f"known {user}", _KNOWN, self._now())

    def reopen(self, username: str) -> None:
        """Forgets all failures of an account."""
        self._counters.clear_all(f"{_ACCOUNT.namespace}/{_account(username)}")

    def check_token(self, address: str) -> None:
        """Refuses a further attempt with a token.

        Raises:
            TooManyRequests: too many unknown ones came from this address.
        """
        self._refuse(_TOKENS, f"token {network(address)}", "from this address")

    def token_failed(self, address: str) -> None:
        """Counts an unknown token."""
        self._limiter.hit(_TOKENS, f"token {network(address)}")

    def _refuse(self, limit: RateLimitItem, key: str, what: str) -> None:
        if self._limiter.test(limit, key):
            return
        ends = self._limiter.get_window_stats(limit, key).reset_time
        seconds = max(1, math.ceil(ends - self._now().timestamp()))
        minutes = -(-seconds // 60)
        raise TooManyRequests(
            f"Too many attempts to sign in {what} have failed: wait {minutes} minute{'s' if minutes > 1 else ''}.",
            seconds,
        )


def _account(username: str) -> str:
    # A digest, because somebody may have typed the password there.
    return f"account {hashlib.sha256(username.encode(errors='surrogatepass')).hexdigest()}"


def _user(username: str, address: str) -> str:
    return f"{_account(username)} {network(address)}"


class _CounterStorage(Storage):
    """Lets the library count in the store."""

    STORAGE_SCHEME = None

    def __init__(self, counters: Counters, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._counters, self._now = counters, now

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()  # the store's errors are ours already

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self._counters.add(key, timedelta(seconds=expiry), self._now(), amount)

    def get(self, key: str) -> int:
        return self._counters.get(key, self._now())[0]

    def get_expiry(self, key: str) -> float:
        return self._counters.get(key, self._now())[1].timestamp()

    def clear(self, key: str) -> None:
        self._counters.clear(key)

    def check(self) -> bool:
        return True

    def reset(self) -> None:
        raise NotImplementedError("counts are forgotten one by one")
