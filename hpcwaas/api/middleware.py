"""What happens to every request, before Connexion sees it and after: on errors and for the Swagger UI as well."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence

from connexion.middleware.swagger_ui import SwaggerUIMiddleware
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpcwaas.api.bridge import HEAD, STREAMED_BODY, SUBJECT
from hpcwaas.api.problems import problem
from hpcwaas.errors import BadRequest, RequestTimeout, TooLarge

_ACCESS = logging.getLogger("hpcwaas.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
GIVEN_ID = "hpcwaas.given_id"
"""Extension of the scope: the id that the client gave the request. It counts as soon as the client is known."""

_LONGEST = 300
"""Characters of a path that the log shows. Anybody can send a long one."""

_SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_SEGMENT = r"[^/\x00-\x1f\x7f]+"
"""A parameter in a path. Control characters are no part of any id, and Connexion's router stumbles over line feeds."""

_FORMS = ("application/x-www-form-urlencoded", "text/plain")

_CLIENT_GONE = 499
"""What the log shows, as nginx's does, when a client left before there was an answer."""

_PATIENCE = 30.0
"""Seconds for which a client may send nothing in the middle of a body."""

_UI_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
"""The Swagger UI's page holds scripts and styles of its own. Nothing may come from elsewhere."""
_API_POLICY = "default-src 'none'; sandbox"
"""A user's output that a browser opens is only shown: it runs nothing in the service's name."""


class Edge:
    """Gives a request its id, writes the access log, adds security headers, and refuses what is too much.

    Args:
        at_once: requests that may be under way in this process; more are answered 503.
    """

    def __init__(self, app: ASGIApp, at_once: int) -> None:
        self._app = app
        self._at_once = at_once
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extensions = scope.setdefault("extensions", {})
        extensions["hpcwaas.request_id"] = uuid.uuid4().hex
        given_id = Headers(scope=scope).get("x-request-id", "")
        if _REQUEST_ID.fullmatch(given_id):
            extensions[GIVEN_ID] = given_id
        started = time.monotonic()
        status: int | None = None
        unanswered = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = extensions["hpcwaas.request_id"]
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault(
                    "Content-Security-Policy", _UI_POLICY if scope["path"].startswith("/ui") else _API_POLICY
                )
            await send(message)

        self._under_way += 1
        try:
            if self._under_way > self._at_once and not scope["path"].startswith("/health/"):
                await _refuse(scope, send_with_headers, 503, "The service is busy.", {"Retry-After": "1"})
            else:
                await self._app(scope, receive, send_with_headers)
                unanswered = _CLIENT_GONE
        except asyncio.CancelledError:
            if status is not None:
                raise
            # The server stops and can wait no longer; whoever follows a log asks again.
            await _refuse(scope, send_with_headers, 503, "The service is being restarted.", {"Retry-After": "2"})
        finally:
            self._under_way -= 1
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
                "request_id": scope["extensions"]["hpcwaas.request_id"],
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
        if len(path) > 1 and path.endswith("/") and not path.startswith("/ui") and not _quoted_slash(scope):
            scope = {**scope, "path": path.rstrip("/") or "/"}
            path = scope["path"]
        if path == "/" and method in ("GET", "HEAD"):
            await _answer(send, 307, {"Location": f"{scope.get('root_path', '')}/ui/"})
            return
        allowed = self._allowed(path)
        if not allowed and not path.startswith("/ui/"):
            # Connexion's router and Flask's behind it don't agree on everything, `//workflows` for one.
            await _refuse(scope, send, 404, "There is nothing at this path.", {})
            return
        if allowed and method not in allowed:
            headers = {"Allow": ", ".join(sorted(allowed | {"OPTIONS"}))}
            if method == "OPTIONS":
                await _answer(send, 204, headers)
            else:
                await _refuse(scope, send, 405, f"{method} isn't possible here; {headers['Allow']} are.", headers)
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


class Bodies:
    """Limits JSON bodies, and hands uploads on untouched.

    Connexion and Flask read bodies by their media type, forms even into memory. An upload is bytes, whatever it holds:
    its own type travels in a header of ours.

    Args:
        limit: bytes that a JSON body may have.
    """

    UPLOAD_TYPE = "x-hpcwaas-upload-type"

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/files" and scope["method"] == "POST":
            await self._upload(scope, receive, send)
        else:
            await self._json(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "headers": list(scope["headers"])}
        headers = MutableHeaders(scope=scope)
        media_type = headers.get("content-type", "application/octet-stream")
        if media_type.lower().startswith("multipart/"):
            detail = "An upload is the file itself, not a form: curl --data-binary @FILE, not curl -F."
            await _refuse(scope, send, 415, detail, {})
            return
        if media_type.lower().startswith("application/x-www-form-urlencoded"):
            media_type = "application/octet-stream"  # what curl says when nobody told it better
        headers[self.UPLOAD_TYPE] = media_type
        headers["content-type"] = "application/octet-stream"
        scope["extensions"][STREAMED_BODY] = True

        async def until_complete() -> Message:
            message = await _in_time(receive)
            if message["type"] == "http.disconnect":
                raise BadRequest("The connection was closed before the upload was complete; nothing was stored.")
            return message

        await self._app(scope, until_complete, send)

    async def _json(self, scope: Scope, receive: Receive, send: Send) -> None:
        too_large = TooLarge(f"The body is larger than {self._limit} bytes, the limit of this service.")
        if int(Headers(scope=scope).get("content-length") or 0) > self._limit:
            await _refuse(scope, send, 413, too_large.detail, {})
            return
        if _untold(Headers(scope=scope), scope["path"]):
            usual = "application/x-www-form-urlencoded" if scope["path"].startswith("/auth/") else "application/json"
            scope = {**scope, "headers": list(scope["headers"])}
            MutableHeaders(scope=scope)["content-type"] = usual
        received, complete = 0, False

        async def counted() -> Message:
            nonlocal received, complete
            message = await (receive() if complete else _in_time(receive))
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._limit:
                raise too_large
            return message

        await self._app(scope, counted, send)


def _untold(headers: Headers, path: str) -> bool:
    """Whether nobody said what a body is: no type, or one that tools like `curl -d` send unless told better, which the
    service that this one replaces took for JSON. In a browser these are a form's, and a form may be another site's."""
    media_type = headers.get("content-type")
    if media_type is None:
        return True
    form = media_type.lower().startswith(_FORMS) and not path.startswith("/auth/")
    return form and "origin" not in headers and "sec-fetch-site" not in headers


class SwaggerUI(SwaggerUIMiddleware):  # type: ignore[misc] # connexion has no types
    """Connexion's Swagger UI, which otherwise routes every request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http" and scope["path"].startswith(("/ui", "/openapi.")):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


async def _in_time(receive: Receive) -> Message:
    """The next part of a body.

    Raises:
        RequestTimeout: the client sends nothing for too long.
    """
    try:
        return await asyncio.wait_for(receive(), _PATIENCE)
    except TimeoutError:
        raise RequestTimeout(f"Nothing more of the body came for {_PATIENCE:.0f} seconds.") from None


async def _refuse(scope: Scope, send: Send, status: int, detail: str, headers: Mapping[str, str]) -> None:
    body, own = problem(status, detail, scope["extensions"].get("hpcwaas.request_id"), scope["path"])
    await _answer(send, status, {**own, **headers}, b"" if scope["method"] == "HEAD" else body)


async def _answer(send: Send, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
    listed = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    if status != 204:
        listed.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})
