"""Turns credentials into a `Principal`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from connexion.lifecycle import ConnexionRequest
from connexion.security import NO_VALUE, AbstractSecurityHandler

from hpcwaas.api.bridge import SUBJECT
from hpcwaas.core.models import Principal
from hpcwaas.errors import Unauthorized
from hpcwaas.identity.base import Identity

_REFUSED = "Credentials are missing or wrong."


def security_map(identity: Identity) -> dict[str, type[AbstractSecurityHandler]]:
    """What Connexion calls for the contract's security schemes. Scheme names are compared without case (RFC 9110)."""

    def check(scheme: str, verify: Callable[[str], Principal | None]) -> type[AbstractSecurityHandler]:
        class Handler(AbstractSecurityHandler):  # type: ignore[misc]  # Connexion isn't typed for mypy here
            """Checks the `Authorization` header for one scheme."""

            def get_fn(self, _security_scheme: Any, _required_scopes: Any) -> Callable[[ConnexionRequest], Any]:
                return lambda request: _verify(request, scheme, verify)

        return Handler

    return {
        "bearer": check("bearer", identity.bearer),
        "basic": check("basic", lambda credentials: _basic(identity, credentials)),
    }


def _verify(request: ConnexionRequest, scheme: str, verify: Callable[[str], Principal | None]) -> Any:
    given, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
    if given.lower() != scheme:
        return NO_VALUE
    principal = verify(credentials.strip())
    if principal is None:
        raise Unauthorized(_REFUSED)
    request.scope.setdefault("extensions", {})[SUBJECT] = principal.subject
    return {"sub": principal.subject, "principal": principal}


def _basic(identity: Identity, credentials: str) -> Principal | None:
    try:
        # The padding may be missing: the service that this one replaces took that.
        pair = base64.b64decode(credentials + "=" * (-len(credentials) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, separator, password = pair.partition(":")
    return identity.basic(username, password) if separator else None
