"""Where the identity provider is asked for what."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hpcwaas.errors import ConfigurationError, UpstreamFailed
from hpcwaas.identity.oidc.documents import Document
from hpcwaas.identity.oidc.upstream import Upstream
from hpcwaas.identity.settings import AuthSettings

_LOGGER = logging.getLogger(__name__)
_LOCAL = ("localhost", "127.0.0.1", "::1")
_WAYS = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of the provider.

    Attributes:
        issuer: None when it is known by its endpoints only; then there are neither keys nor ID tokens.
        client_auth: how this service proves who it is: `client_secret_basic`, `client_secret_post`; None when that
            has to be tried.
        names_itself: it promises to send its name (`iss`) with every browser that comes back (RFC 9207).
    """

    issuer: str | None
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    introspection_endpoint: str | None
    jwks_uri: str | None
    client_auth: str | None
    names_itself: bool = False


class Discovery:
    """Finds the provider's endpoints: by its discovery document, or by the settings that name them one by one.

    Args:
        clock: gives seconds that nobody sets back.

    Raises:
        ConfigurationError: neither an issuer nor all the addresses are there.
    """

    def __init__(self, settings: AuthSettings, upstream: Upstream, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._upstream = upstream
        self._warned = False
        self._document = Document(self._fetch, clock) if settings.issuer else self._told(_explicit(settings))

    @property
    def explicit(self) -> bool:
        """Whether the settings name the endpoints, and there is nothing to discover."""
        return isinstance(self._document, Metadata)

    def metadata(self) -> Metadata:
        """The endpoints.

        Raises:
            Unavailable: they can't be had now.
        """
        return self._document if isinstance(self._document, Metadata) else self._document.get()

    def problem(self, patience: float) -> str | None:
        """Why they can't be had, if so; see `Document.problem`."""
        return None if isinstance(self._document, Metadata) else self._document.problem(patience)

    def _fetch(self) -> Metadata:
        issuer = self._settings.issuer or ""
        reply = self._upstream.get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        document = reply.claims()
        if document.get("issuer") != issuer:
            _LOGGER.error("auth.issuer is %r; the discovery document there says %.200r", issuer, document.get("issuer"))
            raise UpstreamFailed(
                "The identity provider names itself otherwise than auth.issuer, which an operator has to correct."
            )
        metadata = Metadata(
            issuer=issuer,
            authorization_endpoint=_endpoint(document, "authorization_endpoint", issuer),
            token_endpoint=_endpoint(document, "token_endpoint", issuer),
            userinfo_endpoint=_optional(document, "userinfo_endpoint", issuer),
            introspection_endpoint=self._settings.introspection_url
            or _optional(document, "introspection_endpoint", issuer),
            jwks_uri=_endpoint(document, "jwks_uri", issuer),
            client_auth=_client_auth(document.get("token_endpoint_auth_methods_supported")),
            names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        )
        return self._told(metadata)

    def _told(self, metadata: Metadata) -> Metadata:
        """Warns of what the operator should know of the provider, once."""
        if metadata.introspection_endpoint is None and metadata.userinfo_endpoint is not None and not self._warned:
            self._warned = True
            _LOGGER.warning(
                "The identity provider has no introspection endpoint (auth.introspection_url): opaque tokens that it "
                "gave to any of its clients are accepted."
            )
        return metadata


def _explicit(settings: AuthSettings) -> Metadata:
    if not (settings.auth_url and settings.token_url and settings.user_info_url):
        raise ConfigurationError("auth.issuer", "is missing: set it, or auth_url, token_url and user_info_url instead")
    return Metadata(
        issuer=None,
        authorization_endpoint=settings.auth_url,
        token_endpoint=settings.token_url,
        userinfo_endpoint=settings.user_info_url,
        introspection_endpoint=settings.introspection_url,
        jwks_uri=None,
        client_auth=None,
    )


def _optional(document: Mapping[str, Any], name: str, issuer: str) -> str | None:
    return None if document.get(name) is None else _endpoint(document, name, issuer)


def _endpoint(document: Mapping[str, Any], name: str, issuer: str) -> str:
    """An address that secrets may be sent to: https, unless the provider itself is on this machine without."""
    url = document.get(name)
    if isinstance(url, str):
        try:
            parts = urlsplit(url)
            secure = parts.scheme == "https" or (
                parts.scheme == "http" == urlsplit(issuer).scheme and parts.hostname in _LOCAL
            )
            if secure and parts.hostname and parts.username is None and not parts.fragment and url.isprintable():
                return url
        except ValueError:  # no URL at all
            pass
    _LOGGER.error("the discovery document's %s is %.200r, which isn't an https URL", name, url)
    raise UpstreamFailed(f"The discovery document of the identity provider gives no usable `{name}`.")


def _client_auth(supported: object) -> str:
    if supported is None:
        return _WAYS[0]  # the specification's default
    for way in _WAYS:
        if isinstance(supported, list) and way in supported:
            return way
    raise UpstreamFailed(f"The identity provider takes neither {_WAYS[0]} nor {_WAYS[1]}.")
