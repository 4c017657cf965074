"""What happens to every request, before Connexion sees it and after: on errors and for the Swagger UI as well."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence

from connexion.middleware.swagger_ui import SwaggerUIMiddleware
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpcwaas.api.answers import answer, refuse
from hpcwaas.api.bridge import HEAD, SUBJECT

_ACCESS = logging.getLogger("hpcwaas.access")
REQUEST_ID = "hpcwaas.request_id"
"""Extension of the scope: the request's id. Ours, until it is known who calls: see `hpcwaas.api.security`."""

_LONGEST = 300
"""Characters of a path that the log shows. Anybody can send a long one."""

_SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_SEGMENT = r"[^/\x00-\x1f\x7f]+"
"""A parameter in a path. Control characters are no part of any id, and Connexion's router stumbles over line feeds."""

_CLIENT_GONE = 499
"""What the log shows, as nginx's does, when a client left before there was an answer."""

_ONLY_TLS = "max-age=31536000"
"""Tells browsers to come by TLS only; sent where they have."""

_API_POLICY = "default-src 'none'; sandbox"
"""A user's output that a browser opens is only shown: it runs nothing in the service's name."""


class Edge:
    """Gives a request its id, writes the access log, and adds security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extensions = scope.setdefault("extensions", {})
        extensions[REQUEST_ID] = uuid.uuid4().hex
        started = time.monotonic()
        status: int | None = None
        unanswered = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = extensions[REQUEST_ID]
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", _API_POLICY)
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", _ONLY_TLS)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
            unanswered = _CLIENT_GONE
        except asyncio.CancelledError:
            if status is not None:
                raise
            # The server stops and can wait no longer; whoever follows a log asks again.
            await refuse(scope, send_with_headers, 503, "The service is being restarted.", {"Retry-After": "2"})
        finally:
            self._log(scope, status or unanswered, time.monotonic() - started)

    @staticmethod
    def _log(scope: Scope, status: int, seconds: float) -> None:
        probe = scope["path"].startswith("/health/")
        _ACCESS.log(
            logging.DEBUG if probe else logging.INFO,
            "%s %s %d",
            scope["method"],
            scope["path"][:_LONGEST].encode("ascii", "backslashreplace").decode(),
            status,
            extra={
                "request_id": scope["extensions"][REQUEST_ID],
                "duration_ms": round(seconds * 1000, 1),
                "subject": scope["extensions"].get(SUBJECT),
                "address": (scope.get("client") or ("", 0))[0],
            },
        )


class Methods:
    """Answers HEAD like GET without the body, OPTIONS and wrong methods with `Allow`, and leads `/` to the Swagger UI.

    Args:
        paths: the contract's paths with their methods in upper case.
    """

    def __init__(self, app: ASGIApp, paths: Mapping[str, Sequence[str]]) -> None:
        self._app = app
        self._paths = [
            (re.compile(re.sub(r"\\\{[^/]+?\\\}", lambda _: _SEGMENT, re.escape(path))), frozenset(methods))
            for path, methods in paths.items()
        ]

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
            await answer(send, 307, {"Location": f"{scope.get('root_path', '')}/ui/"})
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
        for pattern, methods in self._paths:
            if pattern.fullmatch(path):
                return methods | ({"HEAD"} if "GET" in methods else frozenset())
        return frozenset()


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


class Contract(SwaggerUIMiddleware):  # type: ignore[misc] # connexion has no types
    """Connexion's view of the contract, which otherwise routes every request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http" and scope["path"].startswith("/openapi."):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
