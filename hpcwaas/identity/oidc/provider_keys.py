"""The identity provider's public keys, and the tokens that are signed with them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidHeaderValueError, JoseError, UnsupportedAlgorithmError
from joserfc.jwk import JWKRegistry, Key
from joserfc.jws import JWSRegistry
from joserfc.jwt import Token
from joserfc.util import base64_to_int

from hpcwaas.errors import UpstreamFailed
from hpcwaas.identity.oidc.claims import Untrusted
from hpcwaas.identity.oidc.discovery import Discovery
from hpcwaas.identity.oidc.documents import Document
from hpcwaas.identity.oidc.upstream import Upstream

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    **{f"{family}{size}": ("RSA", None) for family in ("RS", "PS") for size in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Algorithms that signatures may have, with the type and curve of their keys. Nothing that a token says of itself adds
to them, so `none` and those with a shared secret never count."""

_MOST_KEYS = 100
_SMALLEST_RSA = 2048
_LOGGER = logging.getLogger(__name__)


class _Registry(JWSRegistry):
    """How tokens are read: as JOSE has it, and stricter."""

    max_header_length = 8192
    """Characters. Some providers put certificates there."""

    def __init__(self) -> None:
        super().__init__(algorithms=ALGORITHMS, strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]  # the base class would warn of EdDSA, whose only rival is its other name

    def check_header(self, header: dict[str, Any]) -> None:
        if "crit" in header or "b64" in header:  # extensions that would change what the token means
            raise InvalidHeaderValueError
        super().check_header(header)


class ProviderKeys:
    """The provider's keys: kept for an hour, and fetched anew when a token names one that isn't among them.

    Args:
        clock: gives seconds that nobody sets back.
    """

    def __init__(self, discovery: Discovery, upstream: Upstream, clock: Callable[[], float] = time.monotonic) -> None:
        self._discovery = discovery
        self._upstream = upstream
        self._listed = Document(self._fetch, clock)
        self._registry = _Registry()

    def verified(self, token: str) -> Token:
        """Reads a token whose signature is the provider's. Its claims are for the caller to check.

        Raises:
            Untrusted: the signature isn't, or it is no token at all.
            Unavailable: the keys can't be had.
        """
        try:
            return jwt.decode(token, self._key, registry=self._registry)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Untrusted(f"the token's signature or form is wrong ({type(error).__name__})") from error

    def problem(self, patience: float) -> str | None:
        """Why they can't be had, if so; see `Document.problem`."""
        return self._listed.problem(patience)

    def _key(self, signed: Any) -> Key:
        header = signed.headers()
        keys = self._listed.get()
        if header.get("kid") not in (None, *(key.kid for key in keys)):
            keys = self._listed.renewed(keys)
        key = _choose(keys, header)
        if key is None:
            raise Untrusted("the token's key is unknown or doesn't fit its algorithm")
        return key

    def _fetch(self) -> tuple[Key, ...]:
        url = self._discovery.metadata().jwks_uri
        if url is None:
            raise UpstreamFailed("The identity provider has no keys.")
        listed = self._upstream.get(url).claims().get("keys")
        if not isinstance(listed, list):
            raise UpstreamFailed("The identity provider gave an answer that isn't a set of keys.")
        keys = tuple(key for data in listed[:_MOST_KEYS] if (key := _load(data)) is not None)
        if not keys:
            raise UpstreamFailed("The identity provider gave no key that this service can use.")
        return keys


def _load(data: object) -> Key | None:
    """A key for signatures; None for any other, and for what is none."""
    if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP") or data.get("use", "sig") != "sig":
        return None
    if "verify" not in data.get("key_ops", ["verify"]):
        return None
    public = {name: value for name, value in data.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    try:
        if data["kty"] == "RSA" and base64_to_int(data["n"]).bit_length() < _SMALLEST_RSA:
            return None
        return JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError, LookupError, AttributeError) as error:
        _LOGGER.warning("a key of the identity provider can't be read (%s)", type(error).__name__)
        return None


def _choose(keys: tuple[Key, ...], header: Mapping[str, Any]) -> Key | None:
    """The key that a token is to be signed with. One that doesn't name its key is taken only if there is no choice."""
    kind, curve = ALGORITHMS[header["alg"]]
    fitting = [
        key
        for key in keys
        if header.get("kid") in (None, key.kid)
        and key.key_type == kind
        and key.alg in (None, header["alg"])
        and (curve is None or key.get("crv") == curve)
    ]
    if header.get("kid") is None and len(fitting) > 1:
        return None
    return fitting[0] if fitting else None
