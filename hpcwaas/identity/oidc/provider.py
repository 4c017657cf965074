"""Signing in by the browser: authorization code with PKCE, state and nonce."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core.claims import CodeIDToken
from joserfc.errors import ClaimError, JoseError

from hpcwaas.core.people import NO_DEMAND, Demand
from hpcwaas.core.ports.identity import Vouched
from hpcwaas.errors import ConfigurationError, Unauthorized, UpstreamFailed
from hpcwaas.identity.oidc.claims import ClaimsReader, Untrusted, made
from hpcwaas.identity.oidc.discovery import Discovery, Metadata
from hpcwaas.identity.oidc.endpoints import Endpoints
from hpcwaas.identity.oidc.provider_keys import ProviderKeys
from hpcwaas.identity.oidc.token_forms import LEEWAY, usable
from hpcwaas.identity.oidc.upstream import UNINTELLIGIBLE, Claims
from hpcwaas.identity.settings import AuthSettings

_LOGGER = logging.getLogger(__name__)


class OIDCProvider:
    """The identity provider of the settings, as `Provider`.

    Args:
        keys: None when the provider is known by its endpoints only: there are no ID tokens then, and users are known
            by user info.
        clock: gives seconds since 1970.

    Raises:
        ConfigurationError: a setting that `sso` needs is missing or can't work.
    """

    def __init__(
        self,
        settings: AuthSettings,
        discovery: Discovery,
        endpoints: Endpoints,
        keys: ProviderKeys,
        reader: ClaimsReader,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if settings.redirect_url is None:
            raise ConfigurationError("auth.redirect_url", "is missing: `sso` needs it")
        if settings.issuer is not None and "openid" not in settings.scopes:
            raise ConfigurationError("auth.scopes", "needs `openid`: without it no provider gives an ID token")
        self._settings = settings
        self._redirect = settings.redirect_url
        self._discovery = discovery
        self._endpoints = endpoints
        self._keys = keys
        self._reader = reader
        self._clock = clock

    def authorization_url(self, state: str, nonce: str, verifier: str, demand: Demand = NO_DEMAND) -> str:
        demanded: dict[str, str] = {}
        if demand.acr_values:
            demanded["acr_values"] = " ".join(demand.acr_values)
        if demand.max_age is not None:
            demanded["max_age"] = str(demand.max_age)
        url: str = prepare_grant_uri(
            self._discovery.metadata().authorization_endpoint,
            client_id=self._endpoints.client_id,
            response_type="code",
            redirect_uri=self._redirect,
            scope=" ".join(self._settings.scopes),
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            **demanded,
        )
        return url

    def exchange(self, code: str, nonce: str, verifier: str, issuer: str | None) -> Vouched:
        try:
            return self._exchange(code, nonce, verifier, issuer)
        except Untrusted as error:
            _LOGGER.warning("a sign-in is refused: %s", error.reason)
            raise Unauthorized(f"The sign-in is refused: {error.reason}.") from error

    def _exchange(self, code: str, nonce: str, verifier: str, issuer: str | None) -> Vouched:
        now = self._clock()
        metadata = self._discovery.metadata()
        # Before the code goes anywhere: one of another provider would be given away (RFC 9207).
        if metadata.issuer is not None and (issuer is not None or metadata.names_itself) and issuer != metadata.issuer:
            raise Untrusted("`iss` is missing or another provider's")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect}
        answer = self._endpoints.token({**form, "code_verifier": verifier})
        token = _access_token(answer)
        claims = self._id_token(answer, metadata, nonce, token) if metadata.issuer is not None else {}
        # Where the provider's clock is ahead, so are the tokens that it made before.
        now = max(now, made(claims) or 0.0)
        reader = self._reader
        claims, _ = self._endpoints.complete(claims, token, reader.needed, (*reader.useful, "name"))
        # A sign-in is where groups come to an end.
        return reader.vouched(claims, metadata.issuer, token, now, now, whole=True)

    def _id_token(self, answer: Claims, metadata: Metadata, nonce: str, access_token: str) -> Claims:
        raw = answer.get("id_token")
        if not isinstance(raw, str):
            raise UpstreamFailed("The identity provider gave no ID token.")
        signed = self._keys.verified(raw)
        options: dict[str, Any] = {
            "iss": {"essential": True, "value": metadata.issuer},
            "aud": {"essential": True, "value": self._endpoints.client_id},
        }
        params = {"nonce": nonce, "client_id": self._endpoints.client_id, "access_token": access_token}
        try:
            CodeIDToken(signed.claims, signed.header, options, params).validate(int(self._clock()), LEEWAY)
        except ClaimError as error:
            raise Untrusted(f"the ID token's `{error.claim}` is missing or wrong") from error
        except (JoseError, ValueError, TypeError, AttributeError) as error:
            raise Untrusted("a claim of the ID token has the wrong form") from error
        return signed.claims


def _access_token(answer: Claims) -> str:
    token, kind = answer.get("access_token"), answer.get("token_type", "Bearer")
    if not isinstance(token, str) or not usable(token):
        raise UpstreamFailed(UNINTELLIGIBLE)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise UpstreamFailed("The identity provider gave a token of a kind that this service doesn't know.")
    return token
