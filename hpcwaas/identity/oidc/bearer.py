"""Access tokens of the identity provider that are presented straight to this service."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial

from joserfc.errors import ClaimError
from joserfc.jwt import JWTClaimsRegistry

from hpcwaas.core.people import Principal
from hpcwaas.core.ports.identity import Vouched
from hpcwaas.errors import Forbidden
from hpcwaas.identity.oidc.answers import Answers
from hpcwaas.identity.oidc.claims import ClaimsReader, Untrusted, made
from hpcwaas.identity.oidc.discovery import Discovery
from hpcwaas.identity.oidc.endpoints import Endpoints
from hpcwaas.identity.oidc.provider_keys import ProviderKeys
from hpcwaas.identity.oidc.token_forms import LEEWAY, forms, is_jwt, require_access_token
from hpcwaas.identity.oidc.upstream import Claims
from hpcwaas.identity.settings import AuthSettings

_LOGGER = logging.getLogger(__name__)

Admit = Callable[[Vouched], Principal]
"""Makes a user of somebody the provider vouches for, or raises `Forbidden` when they may not be one. Asked every time,
since it tells what rights they have now."""


class OIDCBearer:
    """A `Method` for them.

    Of a JSON Web Token signature, issuer, audience and times are checked here; user info is asked only if it lacks the
    user's id or groups, and where the provider gives none for it the user's groups stay what they were. An opaque token
    is asked about at the introspection endpoint and must have been given to this service or for its audience. A
    provider without that endpoint is asked for user info, which can't tell for whom a token was given: any client's
    token of such a provider opens this service, too.

    Args:
        clock: gives seconds since 1970.
    """

    def __init__(
        self,
        settings: AuthSettings,
        discovery: Discovery,
        endpoints: Endpoints,
        keys: ProviderKeys,
        reader: ClaimsReader,
        admit: Admit,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._audience = settings.audience or endpoints.client_id
        self._discovery = discovery
        self._endpoints = endpoints
        self._keys = keys
        self._reader = reader
        self._admit = admit
        self._clock = clock
        self._answers = Answers(clock)

    def basic(self, username: str, password: str, address: str) -> Principal | None:
        """Nobody: the provider keeps the passwords of its users to itself."""
        return None

    def bearer(self, token: str, address: str) -> Principal | None:
        """See `Method`. The token may be encoded once more, as the old client does it."""
        for form in forms(token):
            found = self._answers.about(form, partial(self._ask, form))
            if found is None:
                continue
            try:
                return self._admit(found)
            except Forbidden as error:
                _LOGGER.info("a token of the identity provider is refused: %s", error.detail)
                return None
        return None

    def _ask(self, token: str) -> tuple[Vouched, float]:
        try:
            return self._vouched(token)
        except Untrusted as error:
            _LOGGER.info("a token of the identity provider is refused: %s", error.reason)
            raise

    def _vouched(self, token: str) -> tuple[Vouched, float]:
        told = self._clock()  # what the provider is asked now, it tells no earlier
        metadata = self._discovery.metadata()
        own: Claims = {}
        ends = math.inf
        if metadata.issuer is not None and is_jwt(token):
            own, ends = self._signed(token, metadata.issuer)
            if self._reader.tells_groups(own):
                told = made(own) or 0.0  # one that doesn't tell its age gives way to whatever does
        elif metadata.introspection_endpoint:
            own, ends = self._introspected(metadata.introspection_endpoint, token)
        reader = self._reader
        claims, whole = self._endpoints.complete(own, token, reader.needed, reader.useful)
        return reader.vouched(claims, metadata.issuer, token, told, made(own), whole=whole), ends

    def _signed(self, token: str, issuer: str) -> tuple[Claims, float]:
        signed = self._keys.verified(token)
        require_access_token(signed.header, signed.claims)
        registry = JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=LEEWAY,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
        )
        _check(registry, signed.claims)
        return signed.claims, signed.claims["exp"]

    def _introspected(self, endpoint: str, token: str) -> tuple[Claims, float]:
        told = self._endpoints.introspect(endpoint, token)
        claims = {name: value for name, value in told.items() if value is not None}
        if claims.get("active") is not True:
            raise Untrusted("the provider doesn't know the token any more")
        require_access_token({}, claims)
        if str(claims.get("token_type", "Bearer")).lower() != "bearer":
            raise Untrusted("the token's type isn't that of an access token")
        audience = claims.get("aud")
        given = (*(audience if isinstance(audience, list) else [audience]), claims.get("client_id"))
        if self._audience not in given and self._endpoints.client_id not in given:
            raise Untrusted("the token was given to another service, for another audience")
        _check(JWTClaimsRegistry(now=int(self._clock()), leeway=LEEWAY), claims)
        return claims, claims.get("exp", math.inf)


def _check(registry: JWTClaimsRegistry, claims: Claims) -> None:
    try:
        registry.validate(claims)
    except ClaimError as error:
        raise Untrusted(f"the token's `{error.claim}` is missing or wrong") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise Untrusted("a claim of the token has the wrong form") from error
