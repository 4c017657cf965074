"""What happens to every request, before Connexion sees it and after: on errors and for the Swagger UI as well."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpcwaas.api import counted
from hpcwaas.api.answers import answer, refuse
from hpcwaas.api.bridge import HEAD, PARKED_FOR, SUBJECT
from hpcwaas.api.prefix import outside
from hpcwaas.common import tracing
from hpcwaas.common.about import REQUEST
from hpcwaas.common.metrics import OTHER

_ACCESS = logging.getLogger("hpcwaas.access")
REQUEST_ID = "hpcwaas.request_id"
"""Extension of the scope: the request's id. Ours, until it is known who calls: see `hpcwaas.api.security`."""

_LONGEST = 300
"""Characters of a path that the log shows. Anybody can send a long one."""

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # A user's output that a browser opens is only shown: it runs nothing in the service's name.
    (b"content-security-policy", b"default-src 'none'; sandbox"),
)
_TLS_HEADERS = (
    *_SECURITY_HEADERS,
    # Tells browsers to come by TLS only; sent where they have.
    (b"strict-transport-security", b"max-age=31536000"),
)
_SEGMENT = r"[^/\x00-\x1f\x7f]+"
"""A parameter in a path. Control characters are no part of any id, and Connexion's router stumbles over line feeds."""

_CLIENT_GONE = 499
"""What the log shows, as nginx's does, when a client left before there was an answer."""


_CONTRACT = {"/openapi.json": "application/json", "/openapi.yaml": "text/yaml; charset=utf-8"}
_SERVERS = re.compile(r"^servers:\n(?: .*\n)+", re.MULTILINE)


class Edge:
    """Gives a request its id, writes the access log, counts it, and adds security headers.

    Args:
        operation: the operation of the contract for a method and a path; None when there is none.
        slow: seconds from which on an answer is marked as slow.
    """

    def __init__(self, app: ASGIApp, operation: Callable[[str, str], str | None], slow: float) -> None:
        self._app = app
        self._operation = operation
        self._slow = slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extensions = scope.setdefault("extensions", {})
        extensions[REQUEST_ID] = uuid.uuid4().hex
        REQUEST.set(partial(_about, extensions))
        request = _Request(scope, receive, send)
        if _is_probe(scope):
            await self._handle(scope, request)
            return
        # What a client says that it belongs to is only linked: else anybody could have everything traced.
        with tracing.span(scope["method"], {}, "server", link=Headers(scope=scope).get("traceparent")) as note:
            try:
                await self._handle(scope, request)
            finally:
                operation = self._found(scope)
                note(
                    {
                        "http.request.method": scope["method"],
                        "http.response.status_code": request.status,
                        "hpcwaas.operation": operation,
                        "hpcwaas.request_id": extensions[REQUEST_ID],
                    },
                    name=operation or OTHER,
                    failed=(request.status or 0) >= 500,
                )

    async def _handle(self, scope: Scope, request: _Request) -> None:
        unanswered = 500
        counted.UNDER_WAY.add()
        try:
            await self._app(scope, request.receive, request.send)
            unanswered = _CLIENT_GONE
        except asyncio.CancelledError:
            if request.status is not None:
                raise
            # The server stops and can wait no longer; whoever follows a log asks again.
            await refuse(scope, request.send, 503, "The service is being restarted.", {"Retry-After": "2"})
        finally:
            counted.UNDER_WAY.add(by=-1)
            self._tell(scope, request, request.status or unanswered)

    def _tell(self, scope: Scope, request: _Request, status: int) -> None:
        extensions = scope["extensions"]
        operation = self._found(scope)
        own = request.own()
        counted.REQUESTS.add(operation or OTHER, str(status))
        counted.SECONDS.observe(own, operation or OTHER)
        slow = own >= self._slow
        probe = _is_probe(scope) and status != HTTPStatus.UNAUTHORIZED
        _ACCESS.log(
            logging.WARNING if slow else logging.DEBUG if probe else logging.INFO,
            "%s %s %d",
            scope["method"],
            scope["path"][:_LONGEST].encode("ascii", "backslashreplace").decode(),
            status,
            extra={
                **_about(extensions),
                "operation": operation,
                "status": status,
                "duration_ms": round((time.monotonic() - request.began) * 1000, 1),
                "own_ms": round(own * 1000, 1),
                "slow": True if slow else None,
                "address": (scope.get("client") or ("", 0))[0],
            },
        )

    def _found(self, scope: Scope) -> str | None:
        return _routed(scope["extensions"]) or self._operation(scope["method"], scope["path"])


class _Request:
    """One request on its way: how it is answered, and how long it takes.

    Attributes:
        began: monotonic time.
        status: of the answer; None before there is one.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.began = time.monotonic()
        self.status: int | None = None
        self._answered: float | None = None
        self._body = 0.0

    async def receive(self) -> Message:
        """As the server's. Notes how long the client takes to send its body."""
        asked = time.monotonic()
        message = await self._receive()
        if message["type"] == "http.request":
            self._body += time.monotonic() - asked
        return message

    async def send(self, message: Message) -> None:
        """As the server's, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._answered = time.monotonic()
            own = _TLS_HEADERS if self._scope.get("scheme") == "https" else _SECURITY_HEADERS
            given = [field for field in message.get("headers", ()) if field[0] != b"x-request-id"]
            names = {name for name, _ in given}
            request_id: str = self._scope["extensions"][REQUEST_ID]
            given.append((b"x-request-id", request_id.encode("latin-1")))
            message["headers"] = [*given, *(field for field in own if field[0] not in names)]
        await self._send(message)

    def own(self) -> float:
        """Seconds until the answer began that were neither the client's nor spent waiting for news."""
        waited: float = self._body + self._scope["extensions"].get(PARKED_FOR, 0.0)
        return max((self._answered or time.monotonic()) - self.began - waited, 0.0)


def _routed(extensions: Mapping[str, Any]) -> str | None:
    operation: str | None = extensions.get("connexion_routing", {}).get("operation_id")
    return operation


def _is_probe(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith("/health/") or path == "/metrics"


def _about(extensions: Mapping[str, Any]) -> dict[str, str | None]:
    known = {"request_id": extensions[REQUEST_ID], "user": extensions.get(SUBJECT), "operation": _routed(extensions)}
    return {**known, **tracing.ids()}


class Methods:
    """Answers HEAD like GET without the body, OPTIONS and wrong methods with `Allow`, and leads `/` to the Swagger UI.

    Args:
        paths: the contract's paths with their methods in upper case.
    """

    def __init__(self, app: ASGIApp, paths: Mapping[str, Sequence[str]]) -> None:
        self._app = app
        self._paths = [(pattern(path), frozenset(methods)) for path, methods in paths.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if len(path) > 1 and path.endswith("/") and path != "/ui/" and not _quoted_slash(scope):
            scope = {**scope, "path": path.rstrip("/") or "/"}
            path = scope["path"]
        if path == "/" and method in ("GET", "HEAD"):
            await answer(send, 307, {"Location": "/ui/"})
            return
        allowed = self._allowed(path)
        if not allowed:
            # Connexion's router and Flask's behind it don't agree on everything, `//workflows` for one.
            await refuse(scope, send, 404, "There is nothing at this path.", {})
            return
        if method not in allowed:
            headers = {"Allow": ", ".join(sorted(allowed | {"OPTIONS"}))}
            if method == "OPTIONS":
                await answer(send, 204, headers)
            else:
                await refuse(scope, send, 405, f"{method} isn't possible here; {headers['Allow']} are.", headers)
            return
        if method == "HEAD":
            scope["extensions"][HEAD] = True
            await self._app({**scope, "method": "GET"}, receive, _Bodiless(send))
        else:
            await self._app(scope, receive, send)

    def _allowed(self, path: str) -> frozenset[str]:
        for paths, methods in self._paths:
            if paths.fullmatch(path):
                return methods | ({"HEAD"} if "GET" in methods else frozenset())
        return frozenset()


def pattern(path: str) -> re.Pattern[str]:
    """What matches the paths that a path of the contract stands for."""
    return re.compile(re.sub(r"\\\{[^/]+?\\\}", lambda _: _SEGMENT, re.escape(path)))


def finder(operations: Iterable[tuple[str, str, str]]) -> Callable[[str, str], str | None]:
    """What finds the operation for a method and a path.

    Args:
        operations: method, path and id of each.
    """
    known = [(verb, pattern(path), id_) for verb, path, id_ in operations]

    def find(method: str, path: str) -> str | None:
        asked = "GET" if method == "HEAD" else method
        return next((id_ for verb, paths, id_ in known if verb == asked and paths.fullmatch(path)), None)

    return find


def _quoted_slash(scope: Scope) -> bool:
    raw: bytes = scope.get("raw_path") or b""
    return not raw.partition(b"?")[0].endswith(b"/")


class _Bodiless:
    """Sends an answer's head and drops its body."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            await self._send({"type": "http.response.body", "body": b""})


class Contract:
    """Answers with the contract itself, at `/openapi.json` and `/openapi.yaml`.

    Args:
        text: as it is written.
        document: what it says.
    """

    def __init__(self, app: ASGIApp, text: str, document: Mapping[str, Any]) -> None:
        self._app = app

        @functools.lru_cache(8)
        def content(path: str, url: str) -> bytes:
            servers = [{"url": url, "description": "This service"}]
            if path.endswith(".json"):
                return json.dumps({**document, "servers": servers}, default=str).encode()
            return _SERVERS.sub(f"servers:\n  - url: {url}\n    description: This service\n", text).encode()

        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        kind = _CONTRACT.get(scope["path"]) if scope["type"] == "http" else None
        if kind is None:
            await self._app(scope, receive, send)
        else:
            await answer(send, 200, {"Content-Type": kind}, self._content(scope["path"], outside("") or "/"))
