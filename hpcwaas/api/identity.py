"""`/whoami` and `/tokens`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from flask import Response

from hpcwaas.api import views
from hpcwaas.core import acts
from hpcwaas.core.limits import Limits
from hpcwaas.core.people import AccessToken, Principal
from hpcwaas.core.ports.identity import AcceptedTerms
from hpcwaas.core.tokens import Tokens


class IdentityHandlers:
    """Handlers of the operations on who calls, on personal access tokens, and on terms of use.

    Args:
        forget: see `Identity.forget`.
    """

    def __init__(self, tokens: Tokens, limits: Limits, terms: AcceptedTerms, forget: Callable[[], None]) -> None:
        self._tokens = tokens
        self._limits = limits
        self._terms = terms
        self._forget = forget

    def get_terms(self, principal: Principal) -> Response:
        """Shows the terms of use."""
        terms, subject = self._terms.terms, principal.subject
        document = {
            "terms": None if terms is None else {"version": terms.version, "text": terms.text, "url": terms.url},
            "accepted_at": views.moment(self._terms.accepted_at(subject)),
        }
        return views.answer(document, headers={"Cache-Control": "no-store"})

    def accept_terms(self, principal: Principal, body: dict[str, Any]) -> Response:
        """Accepts them."""
        acts.note(terms=body["version"])
        self._terms.accept(principal.subject, body["version"])
        self._forget()
        return self.get_terms(principal)

    def whoami(self, principal: Principal) -> Response:
        """Shows who calls."""
        usage = self._limits.usage(principal.subject)
        document = {
            "subject": principal.subject,
            "name": principal.name,
            "roles": sorted(principal.roles, reverse=True),
            "groups": sorted(principal.groups),
            "scopes": None if principal.scopes is None else sorted(principal.scopes),
            "limits": {name: {"used": value.used, "limit": value.limit} for name, value in usage.items()},
        }
        return views.answer(document, headers={"Cache-Control": "no-store"})

    def list_tokens(self, principal: Principal, owner: str | None = None) -> Response:
        """Lists tokens."""
        found = self._tokens.list(principal, owner)
        return views.answer({"tokens": [_token(item) for item in found]})

    def create_token(self, principal: Principal, body: dict[str, Any]) -> Response:
        """Makes a token."""
        token, secret = self._tokens.create(principal, body["name"], body["scopes"], body.get("days"))
        headers = {"Location": f"/tokens/{quote(token.id, safe='')}", "Cache-Control": "no-store"}
        return views.answer({**_token(token), "token": secret}, 201, headers)

    def delete_token(self, principal: Principal, token_id: str) -> Response:
        """Revokes a token."""
        self._tokens.revoke(principal, token_id)
        return views.empty(204)


def _token(value: AccessToken) -> dict[str, Any]:
    return {
        "id": value.id,
        "name": value.name,
        "owner": value.owner,
        "scopes": sorted(value.scopes),
        "created_at": views.moment(value.created_at),
        "expires_at": views.moment(value.expires_at),
        "last_used_at": views.moment(value.last_used_at),
    }
