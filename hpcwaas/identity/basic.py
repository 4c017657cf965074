"""Users with passwords that stand in the settings."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

from hpcwaas.core.models import Principal
from hpcwaas.settings import Account


class BasicIdentity:
    """Knows the accounts of `auth.basic_auth`.

    Args:
        accounts: each name once.
    """

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._salt = secrets.token_bytes(32)
        self._nobody = secrets.token_bytes(32)
        self._digests = {account.username: self._digest(account.password.get_secret_value()) for account in accounts}

    def basic(self, username: str, password: str) -> Principal | None:
        """See `Identity`."""
        # Digests are of equal length, and for an unknown name there is one too, so time tells nothing of either.
        expected = self._digests.get(username, self._nobody)
        return Principal(username, username) if hmac.compare_digest(expected, self._digest(password)) else None

    def bearer(self, token: str) -> Principal | None:
        """Nobody: accounts with passwords have no tokens."""
        return None

    def _digest(self, password: str) -> bytes:
        # surrogatepass: what isn't valid Unicode is a wrong password, not a failure.
        return hmac.digest(self._salt, password.encode(errors="surrogatepass"), "sha256")
