"""The one user of a service that runs without configured authentication: whoever started it."""

from __future__ import annotations

import base64
import hmac
import secrets
from pathlib import Path

from hpcwaas.common.account import login_name
from hpcwaas.common.durable import read_or_create_secret
from hpcwaas.core.people import Principal
from hpcwaas.errors import ConfigurationError

_TOKEN_BYTES = 32
_MIN_LENGTH = 32


def load_or_create_token(path: Path) -> str:
    """The local user's token, made at random on first use and kept in a file that only this account can read.

    Raises:
        ConfigurationError: others may read the file, or what it holds is no usable token.
    """
    token = read_or_create_secret(path, lambda: secrets.token_urlsafe(_TOKEN_BYTES), "data_dir")
    if len(token) < _MIN_LENGTH or not token.isprintable() or " " in token:
        raise ConfigurationError("data_dir", f"{path} contains no usable token: remove the file to get a new one")
    return token


class LocalIdentity:
    """Knows the account that the service runs as, by a token.

    Args:
        token: as `load_or_create_token` gives it.
    """

    def __init__(self, token: str) -> None:
        # The old command-line client sends the token in base64, as the login page of a shared service shows it.
        self._accepted = (token.encode(), base64.b64encode(token.encode()).rstrip(b"="))
        name = login_name()
        self.user = Principal(name, name, frozenset({"user", "operator"}))

    def basic(self, username: str, password: str, address: str) -> Principal | None:
        """The local user when the token is the password, so that `curl -u` works; any name will do."""
        return self.bearer(password, address)

    def bearer(self, token: str, address: str) -> Principal | None:
        """See `Method`. The token is accepted as it is and in base64, with or without padding."""
        given = token.encode(errors="surrogatepass").rstrip(b"=")
        # Both are always compared: which one fits takes the same time as none.
        fits = [hmac.compare_digest(given, accepted) for accepted in self._accepted]
        return self.user if any(fits) else None
