"""Users who sign in with a password."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cachetools import LRUCache

from hpcwaas.core.people import Principal, Proof
from hpcwaas.core.ports.sign_in_records import UserRecords
from hpcwaas.identity.directory import PasswordAccount, Users
from hpcwaas.identity.passwords import Verifier, hash_password, needs_rehash
from hpcwaas.identity.settings import AuthSettings
from hpcwaas.identity.throttle import Throttle

_REMEMBERED = 300.0
"""Seconds for which a password that was right isn't verified again."""

_MOST = 10_000
_MISSES = 10
"""Wrong passwords after which a remembered one is forgotten: the memory stands before the throttle, and mustn't become
a way to guess that nobody counts."""


class BasicIdentity:
    """Knows the accounts of `auth.basic_auth` and of the store.

    Whatever is presented and isn't remembered, the same is done: one look into the store, one verification by argon2,
    one comparison of digests. So time tells neither whether there is such an account nor how near the password is.

    Args:
        users: where accounts are found.
        records: where hashes are renewed.
    """

    def __init__(self, users: Users, records: UserRecords, throttle: Throttle) -> None:
        self._users, self._records, self._throttle = users, records, throttle
        self._verifier = Verifier()
        self._memory = _Memory()
        self._key = secrets.token_bytes(32)
        self._nobody = secrets.token_urlsafe()

    def basic(self, username: str, password: str, address: str) -> Principal | None:
        account = self._users.account(username)
        given = self._digest(password)
        stamp = account.hashed or "" if account else ""
        if account and self._memory.holds(username, address, given, stamp):
            return _just_now(account.principal)
        with self._verifier.turn():
            # Here and not before: of many who wait for their turn at the same time, no more may try than is allowed,
            # and those who brought the password that has just been verified needn't.
            if account and self._memory.holds(username, address, given, stamp):
                return _just_now(account.principal)
            self._memory.missed(username, address)
            self._throttle.check(username, address)
            if not self._fits(account, password, given) or account is None:
                self._throttle.failed(username, address)
                return None
            self._throttle.succeeded(username, address)
            if account.stored and account.hashed and needs_rehash(account.hashed):
                stamp = hash_password(password)
                self._records.rehash(account.principal.subject, account.hashed, stamp)
            self._memory.put(username, address, given, stamp)
        return _just_now(account.principal)

    def remembers(self, username: str, password: str, address: str) -> bool:
        """Whether `basic` needn't verify this password, unless the account has changed meanwhile."""
        return self._memory.holds(username, address, self._digest(password))

    def bearer(self, token: str, address: str) -> Principal | None:
        """Nobody: accounts with passwords have no tokens."""
        return None

    def _fits(self, account: PasswordAccount | None, password: str, given: bytes) -> bool:
        plain = account.plain.get_secret_value() if account and account.plain else self._nobody
        # Both are always done: which kind of account it is, or none, takes the same time.
        by_hash = self._verifier.verify(account.hashed if account else None, password)
        by_text = hmac.compare_digest(self._digest(plain), given)
        return by_hash or by_text

    def _digest(self, password: str) -> bytes:
        # surrogatepass: what isn't valid Unicode is a wrong password, not a failure.
        return hmac.digest(self._key, password.encode(errors="surrogatepass"), "sha256")


def _just_now(principal: Principal) -> Principal:
    """Whoever shows the password proves who they are by that."""
    return replace(principal, proof=Proof(at=datetime.now(UTC)))


@dataclass(slots=True)
class _Remembered:
    digest: bytes
    stamp: str
    until: float
    misses: int = 0


class _Memory:
    """Passwords that were right, as digests, by account and address: failures from elsewhere don't touch them, and
    elsewhere they are of no help."""

    def __init__(self) -> None:
        self._entries: LRUCache[tuple[str, str], _Remembered] = LRUCache(_MOST)
        self._lock = threading.Lock()

    def holds(self, username: str, address: str, digest: bytes, stamp: str | None = None) -> bool:
        """Whether this password was right a while ago, and the account's hash, `stamp`, is still the same; None leaves
        that open."""
        with self._lock:
            entry = self._entries.get((username, address))
        if entry is None or (stamp is not None and entry.stamp != stamp) or entry.until < time.monotonic():
            return False
        return hmac.compare_digest(entry.digest, digest)

    def missed(self, username: str, address: str) -> None:
        """Counts a password that isn't the remembered one."""
        with self._lock:
            if entry := self._entries.get((username, address)):
                entry.misses += 1
                if entry.misses >= _MISSES:
                    del self._entries[username, address]

    def put(self, username: str, address: str, digest: bytes, stamp: str) -> None:
        """Remembers a password that is right."""
        with self._lock:
            self._entries[username, address] = _Remembered(digest, stamp, time.monotonic() + _REMEMBERED)


def advice(auth: AuthSettings | None) -> Iterator[str]:
    """What the log should tell at the start about the passwords in the settings."""
    for index, account in enumerate(auth.basic_auth.accounts if auth else ()):
        key = f"auth.basic_auth.accounts[{index}]"
        if account.password is not None:
            hashed = hash_password(account.password.get_secret_value())
            yield f"{key}.password is plain text. Replace it by: password_hash: '{hashed}'"
        elif account.password_hash is not None and needs_rehash(account.password_hash.get_secret_value()):
            yield (
                f"{key}.password_hash was made with other parameters than those of today, which time may tell. "
                "Make a new one with `hpcwaas-api user hash`."
            )
