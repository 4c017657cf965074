"""Signing in by a personal access token."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hpcwaas.core.people import AccessToken, Principal
from hpcwaas.core.ports.identity import Directory
from hpcwaas.core.ports.sign_in_records import TokenRecords

_PREFIX = "hpcwaas_pat_"
_PRECISION = timedelta(minutes=1)
"""How exactly it is known when a token was used last."""


class TokenMethod:
    """Knows the personal access tokens.

    Args:
        records: where they are recorded.
        directory: knows their owners.
    """

    def __init__(self, records: TokenRecords, directory: Directory) -> None:
        self._records = records
        self._directory = directory
        self._notes = ThreadPoolExecutor(1, thread_name_prefix="token-use")

    def basic(self, username: str, password: str, address: str) -> Principal | None:
        """The owner, when the token is the password, so that `curl -u` works. See `Method`."""
        # Basic ends a name at its first colon. A subject may hold some, and a token holds none.
        owner, _, token = f"{username}:{password}".rpartition(":")
        return self._find(token, owner)

    def bearer(self, token: str, address: str) -> Principal | None:
        """The owner. The token is accepted as it is and in base64, with or without padding. See `Method`."""
        return self._find(token, None)

    def close(self) -> None:
        """Waits until all uses are noted."""
        self._notes.shutdown()

    def _find(self, given: str, owner: str | None) -> Principal | None:
        secret = _plain(given)
        if secret is None:
            return None
        now = datetime.now(UTC)
        token = self._records.find(hashlib.sha256(secret.encode()).hexdigest(), now)
        if token is None or owner not in (None, token.owner):
            return None
        principal = self._directory.find(token.owner)
        if principal is None:
            return None
        if token.last_used_at is None or token.last_used_at < now - _PRECISION:
            # Later, and if it fails, never: the store has logged why, and the next use is noted again.
            with contextlib.suppress(RuntimeError):  # the service is stopping
                self._notes.submit(self._records.used, token.id, now)
        return replace(
            principal, roles=_roles(principal, token), scopes=token.scopes, session=token.id, proof=token.proof
        )


def _roles(principal: Principal, token: AccessToken) -> frozenset[str]:
    return principal.roles if "admin" in token.scopes else principal.roles - {"operator"}


def _plain(given: str) -> str | None:
    """The token, when it is one or base64 of one."""
    if not given.startswith(_PREFIX):
        try:
            given = base64.b64decode(given + "=" * (-len(given) % 4), validate=True).decode()
        except (binascii.Error, ValueError):
            return None
    return given if given.startswith(_PREFIX) and given.isascii() else None
