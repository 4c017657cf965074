"""HTTP/1.1 as simulated servers speak it, at little cost: benchmarks share the machine with them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, TypeAlias

import httptools

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_STATUSES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}


@dataclass(slots=True)
class Request:
    """A request as it came in; `headers` by their names in small letters."""

    method: str = ""
    target: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True


@dataclass(frozen=True)
class Answer:
    """An answer before it is sent. Without a Content-Length it is sent in chunks."""

    status: int
    body: bytes
    headers: Headers


class Connection(asyncio.Protocol):
    """A client's connection: its requests are handled one after the other, each by a task.

    Args:
        handle: does what a request asks for.
        upgrade: takes a connection over whose client wants to speak WebSocket.
        all_of_them: the connections that are open; it adds and removes itself.

    Attributes:
        transport: what it writes to.
        client: address of the client.
        lost: done when the client has gone.
    """

    transport: asyncio.Transport
    client: Any
    lost: asyncio.Future[None]

    def __init__(
        self,
        handle: Callable[[Connection, Request], Awaitable[None]],
        upgrade: Callable[[Connection, bytes], None],
        all_of_them: set[Any],
    ) -> None:
        self._handle = handle
        self._upgrade = upgrade
        self._all = all_of_them
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # what writes as well
        """See `asyncio.Protocol`."""
        self.transport = transport
        self.client = transport.get_extra_info("peername")
        self.lost = self._loop.create_future()
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._all.discard(self)
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._all.discard(self)
            head = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in self._request.headers.items())
            self._upgrade(self, b"GET " + self._request.target + b" HTTP/1.1\r\n" + head + b"\r\n")
        except httptools.HttpParserError:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """See `httptools.HttpRequestParser`."""
        self._request = Request()

    def on_url(self, url: bytes) -> None:
        """See `httptools.HttpRequestParser`."""
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `httptools.HttpRequestParser`."""
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """See `httptools.HttpRequestParser`."""
        self._request.body += body

    def on_message_complete(self) -> None:
        """See `httptools.HttpRequestParser`."""
        if self._parser.should_upgrade():
            return
        request = self._request
        request.method = self._parser.get_method().decode()
        request.keep_alive = self._parser.should_keep_alive()
        if self._task is not None:
            self._waiting.append(request)
        else:
            self._task = self._loop.create_task(self._work(request))

    def send(self, request: Request, answer: Answer, *, complete: bool = True) -> None:
        """Sends an answer in one piece, as servers written in Go do: its client doesn't wake up twice for it.

        Args:
            complete: whether the end of the body is told.
        """
        if self.transport.is_closing():
            return
        names = {name.lower() for name, _ in answer.headers}
        parts = [_STATUSES[answer.status], b"Date: ", _date(), b"\r\n"]
        for name, value in answer.headers:
            parts += (name, b": ", value, b"\r\n")
        if not request.keep_alive:
            parts.append(b"Connection: close\r\n")
        if request.method == "HEAD" or answer.status == HTTPStatus.NO_CONTENT:
            parts.append(b"\r\n")
        elif b"content-length" in names:
            parts += (b"\r\n", answer.body)
        else:
            parts.append(b"Transfer-Encoding: chunked\r\n\r\n")
            if answer.body:
                parts += (b"%x\r\n" % len(answer.body), answer.body, b"\r\n")
            if complete:
                parts.append(b"0\r\n\r\n")
        self.transport.write(b"".join(parts))
        if complete and not request.keep_alive:
            self.transport.close()

    async def _work(self, request: Request) -> None:
        try:
            await self._handle(self, request)
        except BaseException:
            self.transport.abort()  # the client needn't wait for what has failed
            raise
        self._task = self._loop.create_task(self._work(self._waiting.popleft())) if self._waiting else None


_dated: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    """The present time as HTTP writes it."""
    global _dated
    now = int(time.time())
    if now != _dated[0]:
        _dated = now, formatdate(now, usegmt=True).encode()
    return _dated[1]
