"""Forms of access tokens, and what tells one from other tokens."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from hpcwaas.identity.oidc.claims import Untrusted

LEEWAY = 60
"""Seconds by which the clocks of provider and service may differ."""

_OWN = "hpcwaas_"
_TOKEN = re.compile(r"[!-~]+")
"""RFC 6749. Providers have given out tokens with more than the characters of a bearer token."""
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""`b64token` of RFC 6750: what stands in the header."""
_LONGEST = 16 * 1024


def usable(token: str) -> bool:
    """Whether it can be a token of the provider, and isn't one of this service's own."""
    return len(token) <= _LONGEST and _TOKEN.fullmatch(token) is not None and not token.startswith(_OWN)


def forms(presented: str) -> tuple[str, ...]:
    """What a client may have meant, the likelier first: the old client encodes tokens once more in standard base64.

    Random tokens of a usual length don't decode to characters of a token, so there are rarely two.

    Returns:
        none at all when it can't be a token of the provider in any form.
    """
    try:
        decoded = base64.b64decode(presented + "=" * (-len(presented) % 4), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        decoded = ""
    if not _BEARER.fullmatch(presented) or not usable(presented) or decoded.startswith(_OWN):
        return ()
    return (decoded, presented) if usable(decoded) else (presented,)


def is_jwt(token: str) -> bool:
    """Whether it is a signed JSON Web Token; anything else is opaque."""
    head, *rest = token.split(".")
    if len(rest) != 2:
        return False
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def require_access_token(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Refuses signed tokens that are none for access: an ID token, above all, is no key.

    RFC 9068 marks access tokens by `typ: at+jwt`. Of providers that don't, Keycloak (`typ`) and Cognito (`token_use`)
    mark them in the claims; elsewhere claims that only ID and logout tokens have give them away. Where ID tokens have
    none of those either, `auth.audience` has to be another than `auth.client_id`.

    Raises:
        Untrusted: it isn't one, or it needs a proof that comes with it.
    """
    kind = str(header.get("typ", "JWT")).lower().removeprefix("application/")
    marks = [str(claims[name]).lower() for name in ("typ", "token_use") if name in claims]
    if kind not in ("at+jwt", "jwt") or not set(marks) <= {"bearer", "access"}:
        raise Untrusted("the token's type isn't that of an access token")
    if kind == "jwt" and not marks and not claims.keys().isdisjoint(("nonce", "at_hash", "c_hash", "s_hash", "events")):
        raise Untrusted("the token has claims of an ID token")
    if "cnf" in claims:
        raise Untrusted("the token is bound to a key (`cnf`), of which this service asks no proof")
