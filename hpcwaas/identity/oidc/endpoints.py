"""The provider's endpoints that take this service's secret or a user's token."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from urllib.parse import quote_plus

import requests
from requests.auth import HTTPBasicAuth

from hpcwaas.errors import ConfigurationError, ServiceError, Unavailable, UpstreamFailed, UpstreamTimeout
from hpcwaas.identity.oidc.claims import Untrusted, merged, present
from hpcwaas.identity.oidc.discovery import Discovery
from hpcwaas.identity.oidc.upstream import Claims, Reply, Upstream
from hpcwaas.identity.settings import AuthSettings

_LOGGER = logging.getLogger(__name__)
_PAUSE = 5.0
"""Seconds for which an endpoint that couldn't be reached isn't asked about another token."""


class Endpoints:
    """Asks the provider.

    Args:
        clock: gives seconds that nobody sets back.

    Raises:
        ConfigurationError: this service's id or secret is missing.
    """

    def __init__(
        self,
        settings: AuthSettings,
        discovery: Discovery,
        upstream: Upstream,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.client_id is None:
            raise ConfigurationError("auth.client_id", "is missing: `sso` needs it")
        if settings.client_secret is None:
            raise ConfigurationError("auth.client_secret", "is missing: `sso` needs it")
        self.client_id = settings.client_id
        self._secret = settings.client_secret
        self._discovery = discovery
        self._upstream = upstream
        self._clock = clock
        self._found_auth: str | None = None
        self._closed: dict[str, tuple[float, ServiceError]] = {}

    def token(self, form: Mapping[str, str]) -> Claims:
        """Exchanges a code.

        Raises:
            Untrusted: the code doesn't count.
            Unavailable, UpstreamFailed, UpstreamTimeout: there is no usable answer.
        """
        reply = self._as_client(self._discovery.metadata().token_endpoint, form, again=False)
        if reply.status == 400 and reply.document and reply.document.get("error") == "invalid_grant":
            raise Untrusted("the identity provider doesn't take the code")
        return reply.claims()

    def introspect(self, url: str, token: str) -> Claims:
        """What the provider says of an access token (RFC 7662).

        Raises:
            as `token`, without `Untrusted`.
        """
        form = {"token": token, "token_type_hint": "access_token"}
        return self._guarded(url, lambda: self._as_client(url, form, again=True)).claims()

    def complete(
        self, claims: Claims, access_token: str, needed: Collection[str], useful: Collection[str]
    ) -> tuple[Claims, bool]:
        """Claims together with those of user info, which is asked only if any of these isn't there.

        Returns:
            them, and whether user info has answered.

        Raises:
            Untrusted: the provider answers about somebody else, or takes the access token for nobody's, and the claims
                don't tell whose it is.
            Unavailable, UpstreamFailed, UpstreamTimeout: there is no usable answer.
        """
        url = self._discovery.metadata().userinfo_endpoint
        if url is None or all(present(claims, name) for name in (*needed, *useful)):
            return claims, False
        try:
            more = self._user_info(url, access_token)
        except Untrusted:
            # One that was given for another resource than user info (RFC 8707), or to a robot, counts all the same.
            if all(present(claims, name) for name in needed):
                return claims, False
            raise
        if "sub" in claims and more.get("sub") != claims["sub"]:
            raise Untrusted("user info is about somebody else")
        return merged(claims, more), True

    def _user_info(self, url: str, access_token: str) -> Claims:
        def bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = f"Bearer {access_token}"
            return request

        reply = self._guarded(url, lambda: self._upstream.get(url, bearer))
        if reply.status in (400, 401, 403):
            raise Untrusted("the identity provider doesn't take the access token")
        return reply.claims()

    def _as_client(self, url: str, form: Mapping[str, str], *, again: bool) -> Reply:
        """Posts a form as the client that this service is. Where nobody tells how that is proved, both ways are tried,
        as the service before this one did."""
        told = self._discovery.metadata().client_auth or self._found_auth
        for way in (told,) if told else ("client_secret_basic", "client_secret_post"):
            reply = self._prove(way, url, form, again=again)
            error = reply.document.get("error") if reply.document else None
            if reply.status != 401 and error not in ("invalid_client", "unauthorized_client"):
                if reply.status == 200:
                    self._found_auth = way
                return reply
        _LOGGER.error("%s: the identity provider refuses auth.client_id and auth.client_secret", url)
        raise UpstreamFailed(
            "The identity provider refuses auth.client_id and auth.client_secret, which an operator has to correct."
        )

    def _prove(self, way: str, url: str, form: Mapping[str, str], *, again: bool) -> Reply:
        secret = self._secret.get_secret_value()
        if way == "client_secret_post":
            own = {"client_id": self.client_id, "client_secret": secret}
            return self._upstream.post(url, {**form, **own}, None, again=again)
        auth = HTTPBasicAuth(quote_plus(self.client_id), quote_plus(secret))  # quoted: RFC 6749, 2.3.1
        return self._upstream.post(url, form, auth, again=again)

    def _guarded(self, url: str, call: Callable[[], Reply]) -> Reply:
        """Calls an endpoint about a token that anybody may have sent, unless it is known to be out of reach: else a
        provider that is down would cost every request all of its timeouts."""
        until, failure = self._closed.get(url, (0.0, None))
        if failure is not None and self._clock() < until:
            raise Unavailable(failure.detail, getattr(failure, "retry_after", 5))
        try:
            reply = call()
        except (Unavailable, UpstreamTimeout) as error:
            # A longer Retry-After isn't waited for: whoever sends tokens by the thousand could shut out everybody.
            self._closed[url] = (self._clock() + _PAUSE, error)
            raise
        self._closed.pop(url, None)
        return reply
