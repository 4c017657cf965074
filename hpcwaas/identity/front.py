"""Asks the ways to sign in one after another, and remembers the answer for a moment."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from cachetools import FIFOCache

from hpcwaas.common.cached import LOOKUPS
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.identity import Method
from hpcwaas.errors import Unauthorized
from hpcwaas.identity.throttle import Throttle

REFUSED = "Credentials are missing or wrong."

CACHE = "credentials"
"""The name of what is remembered, in metrics."""

_MOMENT = 2.0
"""Seconds for which credentials are remembered. So long other processes may take them after they were revoked."""

_MOST = 10_000
_LONGEST = 16 * 1024
"""Characters of the longest credentials: JSON Web Tokens with many claims reach some thousand."""


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    until: float
    generation: int


class Front:
    """The service's `Identity`.

    Args:
        methods: the first one that knows the credentials counts.
        throttle: what counts unknown tokens; None in local mode, where nobody else is to be kept out.
        has_accepted: whether a user has accepted the terms of use; None when there are none.
        remembers: whether a name and password were right a while ago at an address.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        throttle: Throttle | None = None,
        has_accepted: Callable[[str], bool] | None = None,
        remembers: Callable[[str, str, str], bool] = lambda *_: False,
    ) -> None:
        self._methods = methods
        self._remembers = remembers
        self._throttle = throttle
        self._has_accepted = has_accepted
        self._key = secrets.token_bytes(32)
        # In the order in which they were asked about, which a look doesn't change: so looking takes no lock, for which
        # the event loop would have to wait.
        self._known: FIFOCache[bytes, _Known] = FIFOCache(_MOST)
        self._lock = threading.Lock()
        self._generation = 0

    def known(self, scheme: str, credentials: str, address: str) -> Principal | None:
        found = self._known.get(self._digest(scheme, credentials, address))
        if found is None or found.generation != self._generation or found.until < time.monotonic():
            LOOKUPS.add(CACHE, "miss")
            return None
        LOOKUPS.add(CACHE, "hit")
        return found.principal

    def remembers(self, credentials: str, address: str) -> bool:
        pair = _pair(credentials) if len(credentials) <= _LONGEST else None
        return pair is not None and self._remembers(*pair, address)

    def check(self, scheme: str, credentials: str, address: str) -> Principal:
        generation = self._generation  # as it was before anybody was asked: a change meanwhile counts
        digest = self._digest(scheme, credentials, address)
        principal = self._ask(scheme, credentials, address, digest) if len(credentials) <= _LONGEST else None
        if principal is None:
            raise Unauthorized(REFUSED)
        if self._has_accepted is not None:
            principal = replace(principal, accepted=self._has_accepted(principal.subject))
        with self._lock:
            self._known[digest] = _Known(principal, time.monotonic() + _MOMENT, generation)
        return principal

    def forget(self) -> None:
        with self._lock:
            self._generation += 1

    def _ask(self, scheme: str, credentials: str, address: str, digest: bytes) -> Principal | None:
        if scheme == "bearer":
            return self._ask_token(credentials, address, digest)
        pair = _pair(credentials)
        return pair and _first(method.basic(*pair, address) for method in self._methods)

    def _ask_token(self, token: str, address: str, digest: bytes) -> Principal | None:
        # One that was good before isn't kept out by what others at the same address send.
        if self._throttle and digest not in self._known:
            self._throttle.tokens.check(address)
        principal = _first(method.bearer(token, address) for method in self._methods)
        if self._throttle and principal is None:
            with self._lock:
                self._known.pop(digest, None)
            self._throttle.tokens.count(address)
        return principal

    def _digest(self, scheme: str, credentials: str, address: str) -> bytes:
        # A password may be guessed, and guesses are counted by whom this leads to: what is remembered of one address
        # must be of no help at another. A token's bearer may come from anywhere.
        text = f"{scheme} {credentials}" if scheme == "bearer" else f"{scheme} {credentials} {address}"
        # surrogatepass: what isn't valid Unicode is wrong, not a failure.
        return hmac.digest(self._key, text.encode(errors="surrogatepass"), "sha256")


def _first(found: Iterable[Principal | None]) -> Principal | None:
    return next((principal for principal in found if principal is not None), None)


def _pair(credentials: str) -> tuple[str, str] | None:
    try:
        # The padding may be missing: the service that this one replaces took that.
        pair = base64.b64decode(credentials + "=" * (-len(credentials) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, separator, password = pair.partition(":")
    return (username, password) if separator else None
