"""Runs the Flask application, which is WSGI, inside Connexion's ASGI stack.

a2wsgi's own middleware hands the start and every chunk of an answer to the event loop one by one and waits each time.
Here one call in a pool thread makes the whole answer, which is sent at once; only large and streamed answers go chunk
by chunk. A handler may `park` its request, which then waits without a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from a2wsgi.wsgi import Body, build_environ
from starlette.types import Message, Receive, Scope, Send

from hpcwaas.api.admission import CONNECTION, Connection
from hpcwaas.api.counted import FOLLOWERS
from hpcwaas.api.lanes import Handover, Lane
from hpcwaas.api.streaming import Part, Sending, begun
from hpcwaas.core.slots import Slots

HEAD = "hpcwaas.head"
"""Extension of the scope: only the head of the answer is wanted."""

SUBJECT = "hpcwaas.subject"
"""Extension of the scope: who calls."""

PARKED_FOR = "hpcwaas.parked_for"
"""Extension of the scope: seconds for which the request has waited for news."""

STREAMED_BODY = "hpcwaas.streamed_body"
"""Extension of the scope: the body comes while the call runs, as slowly as the client sends it."""

_PARKED = "hpcwaas.parked"
_ARRIVED = "hpcwaas.arrived"

_AT_ONCE = 256 * 1024
"""Bytes up to which an answer is collected and sent at once."""

_PATIENCE = 60.0
"""Seconds for which a client may take nothing of an answer."""

_PROBES = 2
"""Threads that are kept for operators who look at the service's state, whatever else goes on."""

_SIGNING_IN = 16
"""Threads for signing in."""

_TURNS = 4
"""Calls of a kind that run at the same time, as long as they are quick. Python runs one thread at a time: dozens with
work of less than a millisecond would mostly wake each other in vain, and answer fewer requests."""

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _AbandonedError(Exception):
    """The client takes no more of a streamed answer."""


class Waiting(Protocol):
    """What a parked request waits for."""

    def on_news(self, wake: Callable[[], None]) -> None:
        """Calls `wake`, from any thread, when the request should be looked at again."""

    def close(self) -> None:
        """The wait has ended."""


def time_left(environ: dict[str, Any], timeout: float) -> float:
    """Seconds of `timeout` that are left since the request arrived, however often it was parked."""
    left: float = environ[_ARRIVED] + timeout - time.monotonic()
    return left


def park(environ: dict[str, Any], waiting: Waiting, timeout: float, again: Callable[[], WSGIApp]) -> None:
    """Lets the request of a handler wait without a thread.

    The handler's answer isn't sent. When there is news or `timeout` seconds have passed, `again` makes one, which may
    park the request once more; it runs outside of Flask.
    """
    environ[_PARKED] = (waiting, timeout, again)


class Bridge:
    """An ASGI application around a WSGI one.

    Args:
        app: the WSGI application.
        threads: calls of it that may run at the same time.
        streams: places for uploads and streamed answers, each of which holds a thread as long as the client likes.
    """

    def __init__(self, app: WSGIApp, threads: int, streams: Slots) -> None:
        self._app = app
        self._streams = streams
        self._wakes = Handover()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._usual = Lane(pool, _TURNS)
        # One line of a log wakes hundreds of followers, who ask again at once. Others go on meanwhile.
        self._logs = Lane(pool, _TURNS)
        # Anybody may ask for these, and they may have to ask an identity provider.
        self._signing_in = Lane(ThreadPoolExecutor(_SIGNING_IN, thread_name_prefix="sign-in"), _TURNS)
        self._probes = Lane(ThreadPoolExecutor(_PROBES, thread_name_prefix="probe"), _PROBES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        loop = asyncio.get_running_loop()
        environ = build_environ(scope, Body(loop, receive))
        environ[_ARRIVED] = time.monotonic()
        context = contextvars.copy_context()  # what is noted about the request goes on there
        lane = self._lane(scope["path"])
        app = self._app
        while True:
            call = _Call(app, loop, send, scope, self._streams)
            try:
                messages = await lane.run(partial(context.run, call.run, environ))
            except _AbandonedError:
                return  # incomplete: the server closes the connection
            parked = environ.pop(_PARKED, None)
            if parked is None:
                break
            waiting, timeout, again = parked
            parked_at = time.monotonic()
            FOLLOWERS.add()
            try:
                there = await _wait(waiting, timeout, loop, receive, self._wakes)
            finally:
                FOLLOWERS.add(by=-1)
                extensions = scope.setdefault("extensions", {})
                extensions[PARKED_FOR] = extensions.get(PARKED_FOR, 0.0) + time.monotonic() - parked_at
            if not there:
                return  # nobody is there any more
            app = _resumed(again)
        stream = begun(environ)
        if stream is not None:

            def run(function: Callable[[], Part]) -> Awaitable[Part]:
                return lane.run(partial(context.run, function))

            sending = Sending(stream, scope, receive, send, run, self._wakes)
            await sending.all(messages, head_only=bool(scope.get("extensions", {}).get(HEAD)))
            return
        for message in messages:
            await send(message)

    def _lane(self, path: str) -> Lane:
        if path.startswith("/health/"):
            return self._probes
        if path.startswith("/auth/"):
            return self._signing_in
        return self._logs if path.endswith(("/logs", "/events")) else self._usual


async def _wait(
    waiting: Waiting, timeout: float, loop: asyncio.AbstractEventLoop, receive: Receive, wakes: Handover
) -> bool:
    """Waits for news or the end of time. False when the client has gone."""
    over: asyncio.Future[bool] = loop.create_future()

    def end(there: bool) -> None:
        if not over.done():
            over.set_result(there)

    def wake() -> None:
        wakes.call(loop, end, True)

    async def watch() -> None:
        # `asyncio.wait_for`, somewhere below, may swallow the cancellation when something comes at the same moment.
        while not over.done() and (await receive())["type"] != "http.disconnect":
            pass
        end(False)

    client = asyncio.ensure_future(watch())
    late = loop.call_later(timeout, end, True)
    try:
        waiting.on_news(wake)
        return await over
    finally:
        waiting.close()
        late.cancel()
        client.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await client


def _resumed(again: Callable[[], WSGIApp]) -> WSGIApp:
    """What makes the answer of a request that was parked, as an application."""
    return lambda environ, start_response: again()(environ, start_response)


class _Call:
    """One call of the WSGI application, in a pool thread."""

    def __init__(self, app: WSGIApp, loop: asyncio.AbstractEventLoop, send: Send, scope: Scope, streams: Slots) -> None:
        self._app = app
        self._loop = loop
        self._send = send
        self._streams = streams
        extensions = scope.get("extensions", {})
        self._subject: str = extensions.get(SUBJECT, "")
        self._head_only = bool(extensions.get(HEAD))
        self._streamed_body = bool(extensions.get(STREAMED_BODY))
        self._connection: Connection | None = extensions.get(CONNECTION)
        self._start: Message | None = None

    def run(self, environ: dict[str, Any]) -> list[Message]:
        """Calls the application.

        Returns:
            what is still to be sent: the whole answer, or the end of one that was too large to collect.
        """
        if self._streamed_body:
            with self._streams.held(self._subject):
                return self._answer(environ)
        return self._answer(environ)

    def _answer(self, environ: dict[str, Any]) -> list[Message]:
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
                if self._head_only:
                    break
                with self._streams.held(self._subject):
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
        sent = asyncio.run_coroutine_threadsafe(asyncio.wait_for(self._send(message), _PATIENCE), self._loop)
        try:
            sent.result()
        except TimeoutError:
            raise _AbandonedError from None
        if self._connection is not None and self._connection.gone:
            raise _AbandonedError
