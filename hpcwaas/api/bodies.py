"""Bodies of requests: how large they may be, and how slowly they may come."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpcwaas.api.answers import refuse
from hpcwaas.api.bridge import STREAMED_BODY
from hpcwaas.common.addresses import network
from hpcwaas.core.slots import Places
from hpcwaas.errors import BadRequest, RequestTimeout, TooLarge

LARGEST_FORM = 16 * 1024
"""Bytes of a form. Strangers may send one."""

_WAITING_FORMS = 2048

_FORMS = ("application/x-www-form-urlencoded", "text/plain")


@dataclass(frozen=True, slots=True)
class Patience:
    """How slowly a body may come.

    Attributes:
        form: seconds for a form from beginning to end.
        window: seconds after which it is looked how much of another body has come.
        lowest: bytes that are to come in a second.
    """

    form: float = 10
    window: float = 30
    lowest: float = 1024


class Forms:
    """Takes in, before anything else is done about them, the bodies that anybody may send."""

    def __init__(self, app: ASGIApp, patience: Patience) -> None:
        self._app = app
        self._patience = patience
        self._forms = Places(_WAITING_FORMS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/auth/") or not _announced(scope):
            await self._app(scope, receive, send)
            return
        too_large = f"The form is larger than {LARGEST_FORM} bytes."
        if _length(scope) > LARGEST_FORM:
            await refuse(scope, send, 413, too_large, {})
            return
        address = network((scope.get("client") or ("", 0))[0])
        body, complete = b"", False
        waiting = _Waiting(asyncio.timeout(self._patience.form))
        if not self._forms.enter(address, waiting):
            await refuse(scope, send, 503, "Too many forms are being sent.", {"Retry-After": "1"})
            return
        try:
            async with waiting.time:
                while len(body) <= LARGEST_FORM and not complete:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    complete = not message.get("more_body", False)
        except TimeoutError:
            if waiting.displaced:
                detail = "Too many forms are being sent, and this one took too long. Try again."
                await refuse(scope, send, 429, detail, {"Retry-After": "1"})
            else:
                await refuse(scope, send, 408, f"The form wasn't complete after {self._patience.form:g} seconds.", {})
            return
        finally:
            self._forms.leave(address, waiting)
        if len(body) > LARGEST_FORM:
            await refuse(scope, send, 413, too_large, {})
            return
        taken = False

        async def again() -> Message:
            nonlocal taken
            if taken:
                return await receive()
            taken = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


class Bodies:
    """Limits bodies, and hands uploads on untouched.

    Connexion and Flask read bodies by their media type, forms even into memory. An upload is bytes, whatever it holds:
    its own type travels in a header of ours.

    Args:
        limit: bytes that a JSON body may have.
    """

    UPLOAD_TYPE = "x-hpcwaas-upload-type"

    def __init__(self, app: ASGIApp, limit: int, patience: Patience) -> None:
        self._app = app
        self._limit = limit
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/files" and scope["method"] == "POST":
            await self._upload(scope, receive, send)
        elif not _announced(scope):
            await self._app(_typed(scope), receive, send)
        else:
            await self._json(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "headers": list(scope["headers"])}
        headers = MutableHeaders(scope=scope)
        media_type = headers.get("content-type", "application/octet-stream")
        if media_type.lower().startswith("multipart/"):
            detail = "An upload is the file itself, not a form: curl --data-binary @FILE, not curl -F."
            await refuse(scope, send, 415, detail, {})
            return
        if media_type.lower().startswith("application/x-www-form-urlencoded"):
            media_type = "application/octet-stream"  # what curl says when nobody told it better
        headers[self.UPLOAD_TYPE] = media_type
        headers["content-type"] = "application/octet-stream"
        scope["extensions"][STREAMED_BODY] = True
        pace = _Pace(self._patience, receive)

        async def until_complete() -> Message:
            message = await pace.next()
            if message["type"] == "http.disconnect":
                raise BadRequest("The connection was closed before the upload was complete; nothing was stored.")
            return message

        await self._app(scope, until_complete, send)

    async def _json(self, scope: Scope, receive: Receive, send: Send) -> None:
        too_large = TooLarge(f"The body is larger than {self._limit} bytes, the limit of this service.")
        if _length(scope) > self._limit:
            await refuse(scope, send, 413, too_large.detail, {})
            return
        pace = _Pace(self._patience, receive)
        received, complete = 0, False

        async def counted() -> Message:
            nonlocal received, complete
            message = await (receive() if complete else pace.next())
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._limit:
                raise too_large
            return message

        await self._app(_typed(scope), counted, send)


class _Waiting:
    """A form that is being received."""

    def __init__(self, time: asyncio.Timeout) -> None:
        self.time = time
        self.displaced = False

    def make_way(self) -> bool:
        """See `hpcwaas.core.slots.Holder`."""
        self.displaced = True
        self.time.reschedule(asyncio.get_running_loop().time())
        return True


class _Pace:
    """Takes a body as it comes, but not too slowly. Only the time counts for which the service waits for the client."""

    def __init__(self, patience: Patience, receive: Receive) -> None:
        self._patience = patience
        self._receive = receive
        self._waited = 0.0
        self._received = 0

    async def next(self) -> Message:
        """The next part of the body.

        Raises:
            RequestTimeout: it comes too slowly.
        """
        window = self._patience.window
        while True:
            began = time.monotonic()
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, window - self._waited))
            except TimeoutError:
                if self._received < window * self._patience.lowest:
                    raise RequestTimeout(
                        f"Only {self._received} bytes of the body came in {window:g} seconds."
                    ) from None
                self._waited, self._received = 0.0, 0
            else:
                self._waited += time.monotonic() - began
                self._received += len(message.get("body", b""))
                return message


def _announced(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _length(scope: Scope) -> int:
    return int(Headers(scope=scope).get("content-length") or 0)


def _typed(scope: Scope) -> Scope:
    """The request with the usual media type, if nobody said what the body is."""
    path = scope["path"]
    if scope["method"] in ("GET", "HEAD") or not _untold(Headers(scope=scope), path):
        return scope
    scope = {**scope, "headers": list(scope["headers"])}
    usual = "application/x-www-form-urlencoded" if path.startswith("/auth/") else "application/json"
    MutableHeaders(scope=scope)["content-type"] = usual
    return scope


def _untold(headers: Headers, path: str) -> bool:
    """Whether nobody said what a body is: no type, or one that tools like `curl -d` send unless told better, which the
    service that this one replaces took for JSON. In a browser these are a form's, and a form may be another site's."""
    media_type = headers.get("content-type")
    if media_type is None:
        return True
    form = media_type.lower().startswith(_FORMS) and not path.startswith("/auth/")
    return form and "origin" not in headers and "sec-fetch-site" not in headers
