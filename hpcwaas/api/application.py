"""The application at the edge: the layers that a request goes through, and who handles which operation."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from connexion import ConnexionMiddleware
from connexion.middleware.exceptions import ExceptionMiddleware
from connexion.middleware.lifespan import LifespanMiddleware
from connexion.middleware.request_validation import RequestValidationMiddleware
from connexion.middleware.response_validation import ResponseValidationMiddleware
from connexion.middleware.routing import RoutingMiddleware
from connexion.middleware.security import SecurityMiddleware
from connexion.middleware.server_error import ServerErrorMiddleware
from connexion.options import SwaggerUIOptions
from connexion.resolver import Resolver
from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from hpcwaas.api import auth, contract, handlers, middleware, problems, security, swagger_ui
from hpcwaas.api.admission import Admission
from hpcwaas.api.audit import Auditing, Record, Strangers
from hpcwaas.api.bodies import Bodies, Forms, Patience
from hpcwaas.api.bridge import Bridge
from hpcwaas.api.executions import ExecutionHandlers
from hpcwaas.api.files import FileHandlers
from hpcwaas.api.following import FollowingHandlers
from hpcwaas.api.handlers import Handler
from hpcwaas.api.health import HealthHandlers, Probes
from hpcwaas.api.identity import IdentityHandlers
from hpcwaas.api.metrics import Metrics
from hpcwaas.api.prefix import Prefix
from hpcwaas.api.public_address import PublicAddress
from hpcwaas.api.shares import ShareHandlers
from hpcwaas.api.sites import SiteHandlers
from hpcwaas.api.ssh_keys import SSHKeyHandlers
from hpcwaas.api.strictness import Strictness
from hpcwaas.api.validation import URIParser, validators
from hpcwaas.api.workflows import WorkflowHandlers
from hpcwaas.common.metrics import Read
from hpcwaas.core.catalogue import Catalogue
from hpcwaas.core.changes import Changes
from hpcwaas.core.executions import Executions
from hpcwaas.core.health import Health
from hpcwaas.core.keys import SSHKeys
from hpcwaas.core.limits import Limits
from hpcwaas.core.logs import Logs
from hpcwaas.core.people import Demand
from hpcwaas.core.ports.identity import AcceptedTerms, Identity, SignIn
from hpcwaas.core.removals import Removals
from hpcwaas.core.retention import RetentionPolicy
from hpcwaas.core.shares import Sharing
from hpcwaas.core.sites import Sites
from hpcwaas.core.slots import Slots
from hpcwaas.core.tokens import Tokens
from hpcwaas.core.uploads import Uploads

_STRANGERS = 1024
"""Requests of one process, by which nobody has signed in, that may be under way."""


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases that the handlers call, and what the edge asks of who calls.

    Attributes:
        auth_methods: how users sign in here.
        sign_in: the single sign-on and where browsers reach it; None when there is none.
        count_sign_in: counts a request of signing in by its address; raises `TooManyRequests`.
        demand: of the sign-in, for acts that are worth one; `demanding` are these acts' names.
        metrics_token: by which metrics may be read; None when nobody may.
        readings: what is found out when they are.
        start: begins the background work.
        close: ends it.
    """

    catalogue: Catalogue
    executions: Executions
    removals: Removals
    retention: RetentionPolicy
    logs: Logs
    changes: Changes
    sharing: Sharing
    uploads: Uploads
    keys: SSHKeys
    sites: Sites
    health: Health
    identity: Identity
    tokens: Tokens
    limits: Limits
    terms: AcceptedTerms
    auth_methods: tuple[str, ...]
    sign_in: tuple[SignIn, PublicAddress] | None
    count_sign_in: Callable[[str], None]
    demand: Demand
    demanding: Collection[str]
    record: Record
    strangers: Strangers
    metrics_token: SecretStr | None
    readings: Sequence[Read]
    start: Callable[[], None]
    close: Callable[[], None]


class Capacity(Protocol):
    """How much is served at a time; see `ServerSettings`."""

    @property
    def threads(self) -> int:
        """Threads that handle requests."""

    @property
    def max_body(self) -> int:
        """Bytes of the largest JSON body."""

    @property
    def slow_request(self) -> float:
        """Seconds from which on an answer is marked as slow."""

    @property
    def longest_poll(self) -> int:
        """Seconds after which who follows a log is answered even without news."""

    @property
    def root_path(self) -> str:
        """The path below which a reverse proxy shows the service."""

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """Origins of others' pages whose scripts may call the service."""


_CORS: Mapping[str, Any] = {
    "allow_methods": ("GET", "POST", "PUT", "PATCH", "DELETE"),
    "allow_headers": (
        *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID"),
        *("Range", "Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Offset", "X-Request-ID"),
    ),
    "expose_headers": (
        *("Content-Disposition", "Content-Range", "ETag", "Location", "Retry-After", "Upload-Offset", "Warning"),
        *("WWW-Authenticate", "X-Request-ID"),
    ),
}
"""What pages of other origins may send and see. No cookies: a page acts for whoever gave it a token."""


class _Outermost(ServerErrorMiddleware):  # type: ignore[misc] # Connexion has no types
    """Answers what even the other layers fail at. The server logs it."""

    @staticmethod
    def error_response(request: Request, _error: Exception) -> Response:
        """The problem. Connexion's own is a coroutine, which nobody awaits when the answer has begun before."""
        body, headers = problems.problem(500, HTTPStatus(500).description, None, request.url.path)
        return Response(body, 500, headers)


def asgi_app(
    services: Services, capacity: Capacity, followers: int, patience: Patience, *, validate_responses: bool
) -> ASGIApp:
    """Puts the layers together. The background work begins when the server starts it and ends at shutdown.

    Args:
        followers: requests that may wait for news of logs.
        patience: with bodies that come slowly.
        validate_responses: also check answers against the contract; for tests.
    """
    document = contract.read()
    operations = _handlers(services, capacity.longest_poll, contract.operations(document))
    threads = capacity.threads
    at_once = followers + 16 * threads
    streams = Slots(threads * 3 // 4, max(1, threads // 4), "transfers")
    app = ConnexionMiddleware(
        Bridge(handlers.flask_app(document, operations).wsgi_app, threads, streams),
        import_name=__name__,
        lifespan=_lifespan(services),
        middlewares=[
            _Outermost,
            partial(middleware.Edge, operation=_finder(document), slow=capacity.slow_request),
            partial(Prefix, configured=capacity.root_path),
            *([partial(CORSMiddleware, allow_origins=capacity.cors_origins, **_CORS)] if capacity.cors_origins else []),
            Strictness,
            partial(Forms, patience=patience),
            partial(
                Admission,
                users=Slots(at_once, at_once // 4, "requests"),
                strangers=Slots(_STRANGERS, _STRANGERS // 8, "requests without a sign-in", "Your address has"),
                documents=Slots(_STRANGERS // 4, _STRANGERS // 32, "documents", "Your address has"),
            ),
            partial(Auditing, record=services.record, strangers=services.strangers),
            partial(middleware.Methods, paths=contract.methods(document)),
            partial(Probes, health=services.health),
            partial(Metrics, token=services.metrics_token, readings=services.readings),
            partial(Bodies, limit=capacity.max_body, patience=patience),
            ExceptionMiddleware,
            swagger_ui.SwaggerUI,
            partial(middleware.Contract, text=contract.text(), document=document),
            RoutingMiddleware,
            SecurityMiddleware,
            RequestValidationMiddleware,
            *([ResponseValidationMiddleware] if validate_responses else []),
            LifespanMiddleware,
        ],
        resolver=Resolver((operations | {"getLiveness": Probes, "getMetrics": Metrics}).__getitem__),
        security_map=security.security_map(
            services.identity,
            contract.rules(document, services.demand, services.demanding, services.terms.terms),
            services.limits.count_request,
        ),
        swagger_ui_options=SwaggerUIOptions(swagger_ui=False),
        uri_parser_class=URIParser,
        validate_responses=validate_responses,
        validator_map=validators(),
    )
    app.add_api(document)
    problems.register(app)
    auth.register(app)
    return app  # type: ignore[no-any-return] # Connexion has no types


def _handlers(services: Services, longest_poll: int, operations: Iterable[contract.Operation]) -> dict[str, Handler]:
    """The handlers by the contract's operation ids, all but those that `Probes` and `Metrics` answer.

    The method for `listWorkflows` is called `list_workflows`.
    """
    objects = (
        WorkflowHandlers(services.catalogue, services.executions, services.sites, services.retention),
        SiteHandlers(services.sites),
        ExecutionHandlers(services.executions, services.removals),
        FollowingHandlers(services.executions, services.logs, services.changes, longest_poll),
        ShareHandlers(services.sharing),
        FileHandlers(services.uploads),
        SSHKeyHandlers(services.keys),
        IdentityHandlers(services.tokens, services.limits, services.terms, services.identity.forget),
        auth.AuthHandlers(
            services.auth_methods,
            services.sign_in,
            services.count_sign_in,
            services.tokens.revoke_own,
            services.identity.forget,
        ),
        HealthHandlers(services.health),
    )
    names = {re.sub("([A-Z])", r"_\1", one.id).lower(): one.id for one in operations}
    return {id_: getattr(one, name) for name, id_ in names.items() for one in objects if hasattr(one, name)}


def _finder(document: Mapping[str, Any]) -> Callable[[str, str], str | None]:
    return middleware.finder((one.verb, one.path, one.id) for one in contract.operations(document))


def _lifespan(services: Services) -> Callable[[Any], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        services.start()
        try:
            yield
        finally:
            services.close()

    return lifespan
