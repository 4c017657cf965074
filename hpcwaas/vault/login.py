"""Ways to get a token of HashiCorp Vault."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

from hpcwaas.common.http import HTTPClient
from hpcwaas.core.models import JSON
from hpcwaas.errors import ConfigurationError, Unavailable
from hpcwaas.vault.failures import Refused, final, translated
from hpcwaas.vault.secret_id import SecretId
from hpcwaas.vault.settings import HashiCorpSettings, VaultLogin

SERVICE = "vault_config"
"""Name of the settings of the service's own identity."""
_TIMEOUTS = (3.0, 10.0)
"""Seconds to wait for a connection and for an answer."""
_LARGEST_ANSWER = 2**20
_CONNECTIONS = 64
_USED_UP = (
    "the wrapping token in {key}.secret_id isn't valid: it has expired, or somebody else has unwrapped it. "
    "Unless you know that it expired, treat the secret id as stolen: destroy it, find out who had it, and make a new "
    "one"
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A token and how long it lasts.

    Attributes:
        seconds: from `since`; 0 for ever.
        full: seconds that it had when it was new.
        renewable: whether it may be prolonged.
        since: of the monotonic clock.
    """

    token: str = field(repr=False)
    seconds: float
    full: float
    renewable: bool
    since: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds until it should be renewed or replaced, which is after two thirds of its life."""
        return self.since + self.seconds * 2 / 3 - time.monotonic() if self.seconds else math.inf


class Clients:
    """Makes hvac clients that share their connections."""

    def __init__(self, settings: HashiCorpSettings) -> None:
        self._settings = settings
        self._http = HTTPClient(
            "the vault",
            "vault_config",
            ca_file=settings.ca_file,
            timeouts=_TIMEOUTS,
            largest=_LARGEST_ANSWER,
            connections=_CONNECTIONS,
        )
        self.retried = self._http.retried

    def client(self, token: str = "", timeouts: tuple[float, float] = _TIMEOUTS) -> hvac.Client:
        """A client.

        Args:
            token: empty for none; hvac would look for one in its own places if it were None.
        """
        return hvac.Client(
            self._settings.address,
            token,
            cert=None,
            verify=self._http.session.verify,
            timeout=timeouts,
            session=self._http.session,
            namespace=self._settings.namespace,
        )

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()


class Login(Protocol):
    """A way to get a token."""

    def __call__(self, clients: Clients) -> Lease:
        """Gets a token.

        Raises:
            Refused: the vault doesn't give one.
            ServiceError: the vault can't be used.
        """


def make_login(settings: VaultLogin, secret_id: SecretId | None, key: str = SERVICE) -> Login:
    """The way that the settings choose.

    Args:
        secret_id: for AppRole.
        key: the settings' own name.
    """
    mount = settings.auth_mount or settings.auth_method

    def log_in(clients: Clients) -> Lease:
        secret = secret_id.get(lambda token: _unwrap(clients, token, key)) if secret_id else None
        client = clients.client()
        try:
            with translated():
                match settings.auth_method:
                    case "approle":
                        answer = client.auth.approle.login(settings.role_id, secret, use_token=False, mount_point=mount)
                    case "kubernetes":
                        jwt = _read(settings.token_file, settings.auth_method)
                        answer = client.auth.kubernetes.login(settings.role, jwt, use_token=False, mount_point=mount)
                    case "jwt":
                        jwt = _read(settings.token_file, settings.auth_method)
                        answer = client.auth.jwt.jwt_login(settings.role, jwt, use_token=False, path=mount)
                    case "token":
                        return _given_token(clients, settings)
                return lease_of(answer["auth"])
        except (InvalidRequest, Forbidden, InvalidPath):
            raise Refused(f"the login by {settings.auth_method} at auth/{mount} is refused") from None

    def finally_logged_in(clients: Clients) -> Lease:
        with final():
            return log_in(clients)

    return finally_logged_in


def lease_of(auth: Mapping[str, JSON], full: float | None = None) -> Lease:
    """The token of a login's answer; with its `full` life, of a renewal's."""
    seconds = float(auth["lease_duration"])
    return Lease(str(auth["client_token"]), seconds, seconds if full is None else full, bool(auth["renewable"]))


def prepare(
    settings: HashiCorpSettings, lock: Path, login: VaultLogin | None = None, key: str = SERVICE
) -> SecretId | None:
    """The AppRole's secret id, if that is the way; a wrapped one is unwrapped now, if the vault is there.

    To be called before processes are forked: what one of them unwraps later, all of them get.

    Args:
        lock: a file that this makes sure of who unwraps with.
        login: of another identity than the service's own.
        key: the name of its settings.

    Raises:
        ConfigurationError: the wrapping token is no longer valid.
    """
    login = login or settings
    if login.auth_method != "approle" or login.secret_id is None:
        return None
    text = login.secret_id.get_secret_value()
    if not login.is_secret_wrapped:
        return SecretId(text)
    secret_id, clients = SecretId(text, lock), Clients(settings)
    try:
        with final():
            secret_id.get(lambda token: _unwrap(clients, token, key))
    except Refused as error:
        raise ConfigurationError(f"{key}.secret_id", error.reason) from None
    except Unavailable:
        pass  # whoever logs in first will unwrap it
    finally:
        clients.close()
    return secret_id


def _unwrap(clients: Clients, token: str, key: str) -> str:
    try:
        with translated():
            return str(clients.client(token).sys.unwrap()["data"]["secret_id"])
    except (InvalidRequest, Forbidden):
        raise Refused(_USED_UP.format(key=key)) from None


def _given_token(clients: Clients, settings: VaultLogin) -> Lease:
    token = settings.token.get_secret_value() if settings.token else _read(settings.token_file, "token")
    data: Mapping[str, Any] = clients.client(token).auth.token.lookup_self()["data"]
    seconds = float(data["ttl"])
    return Lease(token, seconds, seconds, bool(data.get("renewable")))


def _read(path: Path | None, method: str) -> str:
    """Content of a token's file, which others (a kubelet, an agent) write anew from time to time."""
    assert path is not None, "checked with the settings"  # noqa: S101
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise Refused(f"the file {path} for the login by {method} can't be read") from None
