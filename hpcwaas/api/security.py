"""Turns credentials into a `Principal`, and holds them against what the operation needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connexion.lifecycle import ConnexionRequest
from connexion.security import NO_VALUE, AbstractSecurityHandler

from hpcwaas.api.audit import CALLER
from hpcwaas.api.bridge import SUBJECT
from hpcwaas.api.middleware import GIVEN_ID
from hpcwaas.core import policy
from hpcwaas.core.models import Demand, Principal
from hpcwaas.core.people import Terms
from hpcwaas.errors import Forbidden, TermsNotAccepted
from hpcwaas.identity.base import Identity

_THREADS = 16
"""Checks of unknown credentials of a scheme at the same time; each may ask the store or an identity provider."""

_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What operations demand of who calls them.

    Attributes:
        scopes: what each needs, by operation id; see `policy.require`.
        acts: the act that each is, where it is one that may demand a better proof; see `policy.prove`.
        demand: that better proof.
        demanding: the acts that demand it.
        terms: to be accepted before all other operations than `before_terms`; None when there are none.
    """

    scopes: Mapping[str, str]
    acts: Mapping[str, str]
    demand: Demand
    demanding: Collection[str]
    terms: Terms | None
    before_terms: Collection[str]

    def hold(self, principal: Principal, operation: str) -> Principal:
        """Holds who calls against what an operation demands.

        Returns:
            them, with no more rights than their proof is good for.

        Raises:
            Forbidden: these credentials aren't good enough, or terms of use have to be accepted first.
            StepUp: they have to sign in better, or again.
        """
        policy.require(principal, self.scopes[operation])
        if self.terms is not None and not principal.accepted and operation not in self.before_terms:
            raise TermsNotAccepted(self.terms.version, self.terms.url)
        return policy.prove(principal, self.demand, self.demanding, self.acts.get(operation), datetime.now(UTC))


def security_map(
    identity: Identity, rules: Rules, count: Callable[[str], None]
) -> dict[str, type[AbstractSecurityHandler]]:
    """What Connexion calls for the contract's security schemes. Scheme names are compared without case (RFC 9110).

    Args:
        count: counts a request of a user; see `Limits.count_request`.
    """

    def check(scheme: str) -> type[AbstractSecurityHandler]:
        # One for each: passwords wait for their turn, and those who guess mustn't hold up those who have a token.
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=scheme)

        class Handler(AbstractSecurityHandler):  # type: ignore[misc]  # Connexion isn't typed for mypy here
            """Checks the `Authorization` header for one scheme."""

            def get_fn(self, _scheme: Any, _scopes: Any) -> Callable[[ConnexionRequest], Awaitable[Any]]:
                return lambda request: _verify(request, scheme, identity, rules, count, pool)

        return Handler

    return {"bearer": check("bearer"), "basic": check("basic")}


async def _verify(
    request: ConnexionRequest,
    scheme: str,
    identity: Identity,
    rules: Rules,
    count: Callable[[str], None],
    pool: ThreadPoolExecutor,
) -> Any:
    given, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
    if given.lower() != scheme:
        return NO_VALUE
    # A browser that has once asked its user for a password adds it to whatever any site's page sends here.
    foreign = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    if scheme == "basic" and foreign and request.method not in _READING:
        raise Forbidden("The page of another site sent this with the password that the browser keeps.")
    credentials = credentials.strip()
    scope = request.scope
    address = (scope.get("client") or ("", 0))[0]
    principal = identity.known(scheme, credentials, address)
    if principal is None:
        loop = asyncio.get_running_loop()
        principal = await loop.run_in_executor(pool, identity.check, scheme, credentials, address)
    extensions = scope.setdefault("extensions", {})
    extensions[SUBJECT] = principal.subject
    extensions[CALLER] = (principal, scheme)
    if GIVEN_ID in extensions:
        extensions["hpcwaas.request_id"] = extensions[GIVEN_ID]
    count(principal.subject)
    principal = rules.hold(principal, extensions["connexion_routing"]["operation_id"])
    return {"sub": principal.subject, "principal": principal}
