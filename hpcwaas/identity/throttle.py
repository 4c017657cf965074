"""How many attempts to sign in may fail. Counted in the store, so that all processes and replicas agree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hpcwaas.common.addresses import network
from hpcwaas.core.ports.sign_in_records import Counters
from hpcwaas.identity.rates import AddressRate, Rate

_WINDOW = timedelta(minutes=15)
_TOKENS = 1000
_KNOWN = timedelta(days=30)
"""For how long a user who has signed in from an address isn't locked out there by failures elsewhere."""

_USER = "Too many attempts to sign in as this user have failed: wait {wait}."
_ADDRESS = "Too many attempts to sign in from this address have failed: wait {wait}."


class Throttle:
    """Counts failures by account, by address, and by both together, in windows that begin with the first one.

    Names count whether there is such an account or not. Every method may raise `Unavailable`.

    Args:
        now: the present moment.

    Attributes:
        tokens: attempts with unknown tokens, by address.
    """

    def __init__(self, counters: Counters, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._counters = counters
        self._users = Rate(counters, "sign-in", 10, _WINDOW, _USER, now)
        # From wherever. Ten would do against guessing, but let anybody lock out whoever they like.
        self._accounts = Rate(counters, "sign-in", 100, _WINDOW, _USER, now)
        self._addresses = AddressRate(counters, "sign-in from", 50, _WINDOW, _ADDRESS, now)
        # A token can't be guessed, but asking an identity provider about unknown ones costs. Many users may share an
        # address, and clients that go on with an expired token aren't attackers.
        self.tokens = AddressRate(counters, "token from", _TOKENS, _WINDOW, _ADDRESS, now)

    def check(self, username: str, address: str) -> None:
        """Refuses a further attempt with a password.

        Raises:
            TooManyRequests: too many have failed.
        """
        user = _user(username, address)
        self._users.check(user)
        if not self._counters.count_of(f"known {user}", self._now())[0]:
            self._accounts.check(_account(username))
        self._addresses.check(address)

    def failed(self, username: str, address: str) -> None:
        """Counts an attempt with a wrong password or name."""
        self._users.count(_user(username, address))
        self._accounts.count(_account(username))
        self._addresses.count(address)

    def succeeded(self, username: str, address: str) -> None:
        """Forgets the failures of a user at an address; those of either alone stay, or anybody with an account could
        clear them, and every sign-in of a robot would let others guess on."""
        user = _user(username, address)
        self._users.clear(user)
        if not self._counters.count_of(f"known {user}", self._now())[0]:
            self._counters.add(f"known {user}", _KNOWN, self._now())

    def reopen(self, username: str) -> None:
        """Forgets all failures of an account."""
        self._counters.clear_all(f"sign-in {_account(username)}")


def _account(username: str) -> str:
    # A digest, because somebody may have typed the password there.
    return f"account {hashlib.sha256(username.encode(errors='surrogatepass')).hexdigest()}"


def _user(username: str, address: str) -> str:
    return f"{_account(username)} {network(address)}"
