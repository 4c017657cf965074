"""What the identity provider has said of access tokens, remembered for a while."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from cachetools import LRUCache

from hpcwaas.core.ports.identity import Vouched
from hpcwaas.errors import ServiceError, Unavailable
from hpcwaas.identity.oidc.claims import Untrusted

_GOOD = 300.0
"""Seconds for which a token counts without asking again. So long it outlives its end at the provider."""
_BAD = 30.0
"""Seconds for which a refused token isn't asked about again."""
_GRACE = 3600.0
"""Seconds for which a known token goes on to count while the provider can't be asked."""
_AGAIN = 5.0
"""Seconds between two tries to ask about a known one then."""
_AT_ONCE = 8
"""Threads that may wait for the provider. There are more that check credentials: a slow one must not stop those who
sign in otherwise."""
_WAIT = 0.25
"""Seconds to wait for a place among them."""
_MOST = 10_000
"""Tokens of each kind that are remembered. Refused ones can't push out good ones."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """`vouched` is None for a refused one; it doesn't hold the token."""

    vouched: Vouched | None
    fresh_until: float
    grace_until: float


class Answers:
    """Remembers by the digests of tokens, never the tokens. Those who ask about the same one at the same time share one
    question.

    Args:
        clock: gives seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._good: LRUCache[bytes, _Answer] = LRUCache(_MOST)
        self._bad: LRUCache[bytes, _Answer] = LRUCache(_MOST)
        self._asking: dict[bytes, Future[_Answer]] = {}

    def about(self, token: str, ask: Callable[[], tuple[Vouched, float]]) -> Vouched | None:
        """Whose a token is; None when it doesn't count.

        Args:
            ask: finds it out, with the time at which the token ends; raises `Untrusted` or a `ServiceError`.

        Raises:
            Unavailable: `ask` raised a `ServiceError`, and the token isn't known well enough.
        """
        digest = hashlib.sha256(token.encode()).digest()
        with self._lock:
            answer = self._remembered(digest)
        if answer is None:
            if self._slots.acquire(timeout=_WAIT):
                try:
                    answer = self._find_out(digest, ask)
                finally:
                    self._slots.release()
            else:
                answer = self._go_on(
                    digest, Unavailable("The identity provider is busy with other tokens. Try again in a second.", 1)
                )
        return answer.vouched and replace(answer.vouched, access_token=token)

    def _find_out(self, digest: bytes, ask: Callable[[], tuple[Vouched, float]]) -> _Answer:
        mine: Future[_Answer] = Future()
        with self._lock:
            answer = self._remembered(digest)
            if answer is not None:
                return answer
            asked = self._asking.setdefault(digest, mine)
        if asked is not mine:
            return asked.result()
        try:
            answer = self._ask(digest, ask)
        except BaseException as error:  # whatever it is, the others mustn't wait for ever
            with self._lock:
                del self._asking[digest]
            mine.set_exception(error)
            raise
        with self._lock:
            self._keep(digest, answer)
            del self._asking[digest]
        mine.set_result(answer)
        return answer

    def _ask(self, digest: bytes, ask: Callable[[], tuple[Vouched, float]]) -> _Answer:
        try:
            vouched, ends = ask()
        except Untrusted:
            return _Answer(None, self._clock() + _BAD, 0)
        except ServiceError as error:
            return self._go_on(digest, error)
        now = self._clock()
        return _Answer(replace(vouched, access_token=""), min(now + _GOOD, ends), min(now + _GRACE, ends))

    def _go_on(self, digest: bytes, failure: ServiceError) -> _Answer:
        """What counts although nobody can be asked.

        Raises:
            Unavailable: nothing.
        """
        with self._lock:
            known = self._good.get(digest)
        now = self._clock()
        if known is None or now >= known.grace_until:
            raise Unavailable(failure.detail, getattr(failure, "retry_after", 5)) from failure
        return replace(known, fresh_until=min(now + _AGAIN, known.grace_until))

    def _remembered(self, digest: bytes) -> _Answer | None:
        """An answer that needs no asking. While another thread asks already, a known one needn't wait for that."""
        answer = self._good.get(digest) or self._bad.get(digest)
        if answer is None:
            return None
        until = max(answer.fresh_until, answer.grace_until if digest in self._asking else 0)
        return answer if self._clock() < until else None

    def _keep(self, digest: bytes, answer: _Answer) -> None:
        self._good.pop(digest, None)
        self._bad.pop(digest, None)
        (self._bad if answer.vouched is None else self._good)[digest] = answer
