"""Runs the Flask application, which is WSGI, inside Connexion's ASGI stack.

a2wsgi's own middleware hands the start and every chunk of an answer to the event loop one by one and waits each time.
Here one call in a pool thread makes the whole answer, which is sent at once; only large and streamed answers go chunk
by chunk.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from a2wsgi.wsgi import Body, build_environ
from starlette.types import Message, Receive, Scope, Send

_AT_ONCE = 256 * 1024
"""Bytes up to which an answer is collected and sent at once."""

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Bridge:
    """An ASGI application around a WSGI one.

    Args:
        app: the WSGI application.
        threads: calls of it that may run at the same time.
    """

    def __init__(self, app: WSGIApp, threads: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        loop = asyncio.get_running_loop()
        call = _Call(self._app, loop, send)
        environ = build_environ(scope, Body(loop, receive))
        context = contextvars.copy_context()  # Connexion keeps the request's operation and parameters there
        for message in await loop.run_in_executor(self._pool, context.run, call.run, environ):
            await send(message)


class _Call:
    """One call of the WSGI application, in a pool thread."""

    def __init__(self, app: WSGIApp, loop: asyncio.AbstractEventLoop, send: Send) -> None:
        self._app = app
        self._loop = loop
        self._send = send
        self._start: Message | None = None

    def run(self, environ: dict[str, Any]) -> list[Message]:
        """Calls the application.

        Returns:
            what is still to be sent: the whole answer, or the end of one that was too large to collect.
        """
        answer = self._app(environ, self._start_response)
        try:
            return self._collect(iter(answer))
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()

    def _start_response(self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
        self._start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }

    def _collect(self, chunks: Iterator[bytes]) -> list[Message]:
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > _AT_ONCE:
                return self._stream(bytes(body), chunks)
        assert self._start is not None  # noqa: S101 - WSGI demands the call before the first chunk
        return [self._start, {"type": "http.response.body", "body": bytes(body)}]

    def _stream(self, first: bytes, chunks: Iterator[bytes]) -> list[Message]:
        assert self._start is not None  # noqa: S101 - as above
        self._send_now(self._start)
        self._send_now({"type": "http.response.body", "body": first, "more_body": True})
        for chunk in chunks:
            self._send_now({"type": "http.response.body", "body": chunk, "more_body": True})
        return [{"type": "http.response.body", "body": b""}]

    def _send_now(self, message: Message) -> None:
        asyncio.run_coroutine_threadsafe(self._send(message), self._loop).result()  # type: ignore[arg-type]
