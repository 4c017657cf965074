"""Turns credentials into a `Principal`, and holds them against what the operation needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cachetools import TTLCache
from connexion.lifecycle import ConnexionRequest
from connexion.security import NO_VALUE, AbstractSecurityHandler

from hpcwaas.api.admission import admit
from hpcwaas.api.audit import CALLER
from hpcwaas.api.bridge import SUBJECT
from hpcwaas.api.middleware import REQUEST_ID
from hpcwaas.api.streaming import CHECK_AGAIN
from hpcwaas.common.addresses import network
from hpcwaas.core import policy
from hpcwaas.core.people import Demand, Principal, Terms
from hpcwaas.core.ports.identity import Identity
from hpcwaas.core.slots import Slots
from hpcwaas.errors import Forbidden, TermsNotAccepted, Unauthorized

_THREADS = 16
"""Checks of unknown credentials of a scheme at the same time; each may ask the store or an identity provider."""

_UNKNOWN = 1024
"""Passwords that may wait to be verified."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_NO_LONGER = "Your sign-in isn't valid any more: it has expired, or was revoked. Sign in again."

_WHITE = re.compile(r"\s")

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
        checks = _Checks(identity, scheme)

        class Handler(AbstractSecurityHandler):  # type: ignore[misc]  # Connexion isn't typed for mypy here
            """Checks the `Authorization` header for one scheme."""

            def get_fn(self, _scheme: Any, _scopes: Any) -> Callable[[ConnexionRequest], Awaitable[Any]]:
                return lambda request: _verify(request, scheme, checks, rules, count)

        return Handler

    return {"bearer": check("bearer"), "basic": check("basic")}


class _Checks:
    """The checks of a scheme's credentials.

    Each scheme has threads of its own: passwords wait for their turn, and those who guess mustn't hold up those who
    have a token; nor those whose password was right a while ago.
    """

    def __init__(self, identity: Identity, scheme: str) -> None:
        self._identity = identity
        self._scheme = scheme
        self._quick = ThreadPoolExecutor(_THREADS, thread_name_prefix=scheme)
        self._slow = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"{scheme}-slow", initializer=_step_back)
        self._waiting = Slots(_UNKNOWN, _UNKNOWN // 8, "sign-ins", "Your address has")
        self._refused: TTLCache[tuple[str, str], None] = TTLCache(1024, 60)
        self._under_way: dict[tuple[str, str], asyncio.Future[Principal]] = {}

    async def principal(self, credentials: str, address: str) -> Principal:
        """Whose credentials these are; see `Identity.check`."""
        known = self._identity.known(self._scheme, credentials, address)
        if known is not None:
            return known
        # The same credentials are checked once, however many requests bring them at the same moment.
        under_way = self._under_way.get((credentials, address))
        if under_way is None:
            under_way = asyncio.ensure_future(self._check(credentials, address))
            self._under_way[credentials, address] = under_way
            under_way.add_done_callback(lambda _: self._under_way.pop((credentials, address)))
        return await asyncio.shield(under_way)

    async def again(self, credentials: str, address: str) -> Principal:
        """As `principal`, for credentials that were good before. All that is open by them ends at once, and isn't taken
        for as many attempts to guess some."""
        if (credentials, address) in self._refused:
            raise Unauthorized(_NO_LONGER)
        try:
            return await self.principal(credentials, address)
        except Unauthorized:
            self._refused[credentials, address] = None
            raise Unauthorized(_NO_LONGER) from None

    async def _check(self, credentials: str, address: str) -> Principal:
        quick = self._scheme == "bearer" or self._identity.remembers(credentials, address)
        with contextlib.nullcontext() if quick else self._waiting.held(network(address)):
            return await asyncio.get_running_loop().run_in_executor(
                self._quick if quick else self._slow, self._identity.check, self._scheme, credentials, address
            )


def _step_back() -> None:
    """Lets other threads run first: what strangers can have computed mustn't cost users time."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


async def _verify(
    request: ConnexionRequest, scheme: str, checks: _Checks, rules: Rules, count: Callable[[str], None]
) -> Any:
    given, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
    if given.lower() != scheme:
        return NO_VALUE
    # A browser that has once asked its user for a password adds it to whatever any site's page sends here.
    foreign = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    if scheme == "basic" and foreign and request.method not in _READING:
        raise Forbidden("The page of another site sent this with the password that the browser keeps.")
    credentials = credentials.strip()
    if _WHITE.search(credentials):
        raise Unauthorized("The credentials contain white space. Copy them again, without a line break or other text.")
    scope = request.scope
    address = (scope.get("client") or ("", 0))[0]
    principal = await checks.principal(credentials, address)
    extensions = scope["extensions"]
    if _REQUEST_ID.fullmatch(given_id := request.headers.get("X-Request-ID", "")):
        extensions[REQUEST_ID] = given_id  # from whoever can be asked about it
    extensions[SUBJECT] = principal.subject
    extensions[CALLER] = (principal, scheme)
    admit(scope, principal.subject)
    count(principal.subject)
    operation = extensions["connexion_routing"]["operation_id"]
    principal = rules.hold(principal, operation)

    async def check_again() -> Principal:
        return rules.hold(await checks.again(credentials, address), operation)

    extensions[CHECK_AGAIN] = check_again
    return {"sub": principal.subject, "principal": principal}
