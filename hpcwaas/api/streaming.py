"""Sends answers that go on for as long as their client likes, without a thread while there is nothing to send."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from starlette.types import Message, Receive, Scope, Send

from hpcwaas.api.admission import CONNECTION, Connection
from hpcwaas.api.counted import STREAMS
from hpcwaas.api.lanes import Handover
from hpcwaas.core.people import Principal
from hpcwaas.errors import Forbidden, ServiceError, Unauthorized

_LOGGER = logging.getLogger(__name__)

CHECK_AGAIN = "hpcwaas.check_again"
"""Extension of the scope: checks anew whose credentials the request brought, and gives the `Principal`."""

BEAT = 10.0
"""Seconds after which a stream is looked at without news: is its client still allowed to read it, and still there?
Proxies cut what is silent for a minute, some for half of one."""

_PATIENCE = 60.0
"""Seconds for which a client may take nothing."""

_UNCHECKED = 6
"""Beats for which credentials may stay unchecked, where nobody can tell whose they are."""

_STREAM = "hpcwaas.stream"


class Part(NamedTuple):
    """What is sent next.

    Attributes:
        content: nothing when there is no news.
        over: whether it is the last.
        again: whether there is more already.
    """

    content: bytes
    over: bool = False
    again: bool = False


class Stream(Protocol):
    """An answer that goes on.

    Attributes:
        principal: who reads it; set anew when their credentials have been checked again.
        heartbeat: what is sent when there was nothing else for a while.
    """

    principal: Principal
    heartbeat: bytes

    def on_news(self, wake: Callable[[], None]) -> None:
        """Calls `wake`, from any thread, when there may be more; at once if there was news already."""

    def more(self, *, beat: bool) -> Part:
        """What is to be sent now. Never waits for long.

        Args:
            beat: whether it is asked for without news.
        """

    def withdrawn(self, reason: str) -> bytes:
        """What tells a client that it may read no longer."""

    def close(self) -> None:
        """Nobody reads it any more."""


def go_on(environ: dict[str, Any], stream: Stream) -> None:
    """Lets the answer of a handler be the beginning of a stream."""
    environ[_STREAM] = stream


def begun(environ: dict[str, Any]) -> Stream | None:
    """The stream that an answer is the beginning of, if it is."""
    stream: Stream | None = environ.pop(_STREAM, None)
    return stream


class Sending:
    """Sends a stream.

    Args:
        run: calls a function in a thread, in turn.
        wakes: by which other threads call.
    """

    def __init__(
        self,
        stream: Stream,
        scope: Scope,
        receive: Receive,
        send: Send,
        run: Callable[[Callable[[], Part]], Awaitable[Part]],
        wakes: Handover,
    ) -> None:
        self._stream = stream
        self._receive = receive
        self._send = send
        self._run = run
        self._wakes = wakes
        extensions = scope.get("extensions", {})
        self._connection: Connection | None = extensions.get(CONNECTION)
        self._check: Callable[[], Awaitable[Principal]] | None = extensions.get(CHECK_AGAIN)
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._gone = False
        self._stopping = False
        self._unchecked = 0

    async def all(self, messages: Sequence[Message], *, head_only: bool) -> None:
        """Sends all of it.

        Args:
            messages: the beginning.
            head_only: no more than the head is wanted.
        """
        start, first = messages
        if head_only:
            self._stream.close()
            await self._send(start)
            await self._send({"type": "http.response.body", "body": b""})
            return
        STREAMS.add()
        client = asyncio.ensure_future(self._watch())
        try:
            if self._connection is not None:
                self._connection.at_stop(self._stop)
            self._stream.on_news(self._wake)
            await self._send(start)
            if await self._sent(first["body"]):
                await self._go_on()
        finally:
            STREAMS.add(by=-1)
            if self._connection is not None:
                self._connection.at_stop(None)
            self._stream.close()
            client.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await client

    async def _go_on(self) -> None:
        beat_at = self._loop.time() + BEAT * random.uniform(0.5, 1)  # noqa: S311 - so that not all beat at once
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(beat_at):
                    await self._news.wait()
            if self._gone:
                return
            if self._stopping:  # its client connects again, to another process
                break
            self._news.clear()
            beat = self._loop.time() >= beat_at
            part = (await self._checked() if beat else None) or await self._run(partial(self._stream.more, beat=beat))
            if beat or part.content:
                beat_at = self._loop.time() + BEAT
            content = part.content or (self._stream.heartbeat if beat else b"")
            if content and not await self._sent(content):
                return
            if part.over:
                break
            if part.again:
                self._news.set()
        await self._send({"type": "http.response.body", "body": b""})

    async def _checked(self) -> Part | None:
        """What is sent when the client may read no longer; None when it may."""
        if self._check is None:
            return None
        try:
            self._stream.principal = await self._check()
        except (Unauthorized, Forbidden) as error:
            return Part(self._stream.withdrawn(error.detail), over=True)
        except ServiceError as error:
            self._unchecked += 1
            _LOGGER.debug("whose a stream is can't be checked: %s", error.detail)
            return Part(b"", over=True) if self._unchecked >= _UNCHECKED else None
        self._unchecked = 0
        return None

    async def _sent(self, content: bytes) -> bool:
        """Sends some. False when the client doesn't take it, or isn't there."""
        try:
            message = {"type": "http.response.body", "body": content, "more_body": True}
            await asyncio.wait_for(self._send(message), _PATIENCE)
        except TimeoutError:
            return False  # incomplete: the server closes the connection
        return not (self._gone or (self._connection is not None and self._connection.gone))

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._news.set()

    def _wake(self) -> None:
        self._wakes.call(self._loop, self._news.set)

    def _stop(self) -> None:
        self._stopping = True
        self._news.set()
