"""This service as the relying party of a simulated OpenID provider, for tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hpcwaas.core.people import Principal
from hpcwaas.core.ports.identity import Vouched
from hpcwaas.errors import Forbidden
from hpcwaas.identity.oidc.bearer import OIDCBearer
from hpcwaas.identity.oidc.party import RelyingParty
from hpcwaas.identity.settings import AuthSettings
from tests.simulators.oidc import OIDCSimulator

REDIRECT = "http://127.0.0.1:9090/auth/authorize"
NONCE = "nonce-of-this-attempt"
VERIFIER = "verifier-of-this-attempt-43-characters-long-"


class Clock:
    """The time at which it was made, moved by what is added and by nothing else."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._made = time.time()

    def __call__(self) -> float:
        return self._made + self.ahead


class Relying:
    """A relying party with a bearer method that admits everybody but `outcasts`.

    Args:
        patience: seconds to wait for a connection and for an answer.
        changes: of the settings.
    """

    def __init__(self, idp: OIDCSimulator, *, explicit: bool = False, patience: float = 30, **changes: Any) -> None:
        self.idp = idp
        self.clock = Clock()
        self.outcasts: set[str] = set()
        self.admitted: list[Vouched] = []
        endpoints = {name: f"{idp.issuer}/{path}" for name, path in _ENDPOINTS.items()}
        values = {
            "auth_type": "sso",
            **(endpoints if explicit else {"issuer": idp.issuer}),
            "client_id": idp.client_id,
            "client_secret": idp.client_secret,
            "redirect_url": REDIRECT,
            **changes,
        }
        self.settings = AuthSettings.model_validate(values)
        self.party = RelyingParty(self.settings, self.clock, self.clock, timeouts=(patience, patience))
        self.bearer: OIDCBearer = self.party.method(self.admit)

    def admit(self, vouched: Vouched) -> Principal:
        self.admitted.append(vouched)
        if vouched.subject in self.outcasts:
            raise Forbidden("an outcast")
        return Principal(vouched.subject, vouched.name or vouched.subject, groups=vouched.groups or frozenset())

    def sign_in(self, **changes: Any) -> Vouched:
        """All of a sign-in by a browser.

        Args:
            changes: other arguments of `exchange`.
        """
        location = self.party.provider.authorization_url("state-of-this-attempt", NONCE, VERIFIER)
        back = dict(parse_qsl(urlsplit(self.idp.follow(location)).query))
        arguments = {"code": back["code"], "nonce": NONCE, "verifier": VERIFIER, "issuer": back.get("iss"), **changes}
        return self.party.provider.exchange(**arguments)

    def who(self, token: str) -> Principal | None:
        """Who signs in with a token."""
        return self.bearer.bearer(token, "192.0.2.1")


_ENDPOINTS = {"auth_url": "authorize", "token_url": "token", "user_info_url": "userinfo"}


@contextlib.contextmanager
def relying(idp: OIDCSimulator, **changes: Any) -> Iterator[Relying]:
    """A relying party until the block ends."""
    found = Relying(idp, **changes)
    try:
        yield found
    finally:
        found.party.close()


def asked(idp: OIDCSimulator) -> int:
    """Calls about tokens so far."""
    return idp.calls["introspect"] + idp.calls["userinfo"]
