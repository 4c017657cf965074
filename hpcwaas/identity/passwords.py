"""Passwords: hashed by argon2id, and verified so that time and memory tell nothing and don't run out."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from hpcwaas.errors import BadRequest, Unavailable

SHORTEST = 8
"""Characters of the shortest password that may be chosen."""

_LONGEST = 1024
_AT_ONCE = 2
"""Verifications at the same time in a process. Each takes a core and 19 MiB for some 30 ms."""

_PATIENCE = 5.0
"""Seconds to wait for a turn."""

_BUSY = "Too many users are signing in at the moment. Try again in a few seconds."

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""OWASP's least for argon2id."""


def hash_password(password: str) -> str:
    """The password's hash in argon2's own format, which has the salt and the parameters in it."""
    return _HASHER.hash(_encoded(password))


def needs_rehash(hashed: str) -> bool:
    """Whether a hash was made with other parameters than those of today."""
    return _HASHER.check_needs_rehash(hashed)


def is_hash(text: str) -> bool:
    """Whether it is a password's hash in argon2's own format."""
    try:
        return extract_parameters(text).hash_len > 0
    except InvalidHashError:
        return False


def check_choice(password: str) -> None:
    """Refuses what shouldn't become a password.

    Raises:
        BadRequest: it is too short, too long, or can't be sent by HTTP Basic (RFC 7617).
    """
    if len(password) < SHORTEST:
        raise BadRequest(f"A password has at least {SHORTEST} characters.")
    if len(password) > _LONGEST:
        raise BadRequest(f"A password has at most {_LONGEST} characters.")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in password):
        raise BadRequest("A password can't hold control characters: HTTP Basic doesn't carry them.")


class Verifier:
    """Verifies passwords, some at a time."""

    def __init__(self) -> None:
        self._nobody = hash_password(secrets.token_urlsafe())
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Lets as many verify at the same time as the machine can bear.

        Raises:
            Unavailable: too many wait.
        """
        if not self._turns.acquire(timeout=_PATIENCE):
            raise Unavailable(_BUSY)
        try:
            yield
        finally:
            self._turns.release()

    def verify(self, hashed: str | None, password: str) -> bool:
        """Whether a password is the one of a hash. Call it within a `turn`.

        Args:
            hashed: None takes the same time and fits no password.
        """
        try:
            return _HASHER.verify(hashed or self._nobody, _encoded(password)) and hashed is not None
        except (VerificationError, InvalidHashError):
            return False


def _encoded(password: str) -> bytes:
    # surrogatepass: what isn't valid Unicode is a wrong password, not a failure.
    return password.encode(errors="surrogatepass")
