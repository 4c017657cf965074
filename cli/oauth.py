"""The service's token endpoint, and how a sign-in is renewed there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from .config import Config
from .credentials import Credentials, Login
from .errors import Unauthorized, WaasError

CLIENT_ID = "waas"
_MARGIN_SECONDS = 60.0


class Refused(Unauthorized):
    """The token endpoint said no.

    Attributes:
        error: OAuth's word for why.
    """

    def __init__(self, error: str, description: object) -> None:
        super().__init__(f"The sign-in was refused: {description or error}")
        self.error = error


class Asks(Protocol):
    """What this module needs of the client, which uses it to renew a sign-in."""

    def ask(self, method: str, where: str, *, data: Mapping[str, str], anonymous: bool) -> Any:
        """The JSON answer to a request."""


def exchange(client: Asks, grant_type: str, **form: str) -> Login:
    """Asks the token endpoint for tokens.

    Args:
        form: what is exchanged.

    Raises:
        Refused: it gives none.
        WaasError: no answer, or another one.
    """
    data = {"client_id": CLIENT_ID, "grant_type": grant_type, **form}
    try:
        answer: dict[str, Any] = client.ask("POST", "/auth/token", data=data, anonymous=True)
    except WaasError as failure:
        error = (failure.problem or {}).get("error")
        if isinstance(error, str):
            raise Refused(error, (failure.problem or {}).get("error_description")) from None
        raise
    return Login(str(answer["access_token"]), time.time() + float(answer["expires_in"]), str(answer["refresh_token"]))


class Renewal:
    """The access token of a sign-in, renewed when it is about to expire or isn't accepted any more.

    A refresh token can be used once. Commands that run at the same time agree by the file of `Credentials`.
    """

    def __init__(self, client: Asks, config: Config, login: Login) -> None:
        self._client = client
        self._config = config
        self._credentials = Credentials(config.state_directory)
        self._login = login

    def token(self) -> str:
        """An access token that is valid for a while.

        Raises:
            WaasError: the user has to sign in again.
            Unreachable: it ends and can't be renewed now.
        """
        if self._login.expires_at - _MARGIN_SECONDS < time.time():
            self.renew()
        return self._login.access_token

    def renew(self) -> bool:
        """Gets another access token for the one that has been used. False when there can't be another."""
        if self._login.refresh_token is None:
            return False
        login = self._credentials.update(self._config.api_url, self._newer)
        if login is None:
            raise self._ended()
        self._login = login
        return True

    def _newer(self, kept: Login | None) -> Login | None:
        if kept is None or kept.access_token != self._login.access_token:
            return kept  # another command was faster
        try:
            return exchange(self._client, "refresh_token", refresh_token=str(kept.refresh_token))
        except Refused:
            raise self._ended() from None

    def _ended(self) -> WaasError:
        return Unauthorized(
            f"Your sign-in at {self._config.api_url} has ended.", hint=f"Sign in again: {self._config.login_command}"
        )
