"""HTTP as uvicorn speaks it, and what it lacks: limits of size and time for whatever a client may send or take slowly,
strictness in what a proxy could understand in another way, and errors in JSON."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hpcwaas.api.admission import CONNECTION
from hpcwaas.api.prefix import FORWARDED
from hpcwaas.api.problems import problem
from hpcwaas.common.addresses import network
from hpcwaas.common.ending import ENDING
from hpcwaas.server import heads
from hpcwaas.server.connections import Connections
from hpcwaas.server.heads import Head, RefusedError
from hpcwaas.server.joined import JoinedWrites

_MAX_FRAMES = 64 * 1024
"""Bytes around a body in chunks (sizes, extensions, trailers) that are accepted beyond those of the body itself."""

_PIPELINED = 16
"""Requests that may wait for the answer to one before them."""


class Protocol(HttpToolsProtocol):
    """One connection.

    Args:
        connections: of this process.
        arguments: what uvicorn gives.
    """

    def __init__(self, *, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connections = connections
        self._patience = connections.patience
        self._app = self.app
        self._address: str | None = None
        self._subject: str | None = None
        self._trusted = False
        self._at_stop: Callable[[], None] | None = None
        self._deaf = False
        """Whatever comes is dropped: no further request is answered."""
        self._fault: RefusedError | None = None
        self._head: int | None = 0
        """Bytes of the head that is being received; None outside of one."""
        self._waits_since = 0.0
        """When the head that is being received began, or the last answer ended."""
        self._closing_since: float | None = None
        self._body = self._frames = 0
        self._slow: tuple[float, int] | None = None
        """Since when too little of an answer is taken, and how many bytes were left then."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """A client has connected."""
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        if self.server is not None and self.server[1] is None:  # a Unix socket
            self._trusted = True
        elif self.client is None:
            transport.abort()  # it has gone already, and nobody can tell who it was
            return
        else:
            self._trusted = self._connections.proxies.trusts(self.client[0])
        if self._trusted:
            self._head = None
        else:
            self._address = network(self.client[0]) if self.client else ""
        if not self._connections.add(self, self._address):
            self._refuse(RefusedError(503, "The service has too many connections."))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        super().connection_lost(exc)
        self._connections.remove(self, self._address, self._subject)

    def signed_in(self, subject: str) -> None:
        """Somebody has signed in with a request of this connection."""
        if self._address is not None and self._subject is None and self._connections.know(self, self._address, subject):
            self._subject = subject

    def at_stop(self, call: Callable[[], None] | None) -> None:
        """Has something called when the server is about to stop, or nothing any more."""
        self._at_stop = call

    def shutdown(self) -> None:
        """The server is about to stop."""
        super().shutdown()
        if self._at_stop is not None:
            self._at_stop()

    @property
    def gone(self) -> bool:
        """Whether nobody is there any more to take an answer."""
        return self.transport.is_closing()

    # What comes

    def data_received(self, data: bytes) -> None:
        """Takes what has come."""
        self._unset_keepalive_if_required()
        if self._deaf:
            return
        head, cycle, body = self._head, self.cycle, self._body
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True  # the protocol stays the same, and nothing can follow
        except httptools.HttpParserError as error:
            why = "its target can't be read" if isinstance(error, httptools.HttpParserCallbackError) else error
            self._refuse(self._fault or RefusedError(400, f"The request isn't valid HTTP/1.1: {why}."))
            return
        if self._head is not None:
            # Of a head that began in the middle of `data` the parser knows how long it is, and says so at its end.
            self._head += len(data) if head is not None else 0
            if self._head > heads.MAX_HEAD:
                self._refuse(heads.too_large())
        elif head is None and cycle is self.cycle and cycle is not None and cycle.more_body:
            self._frames += len(data) - (self._body - body)
            if self._frames > _MAX_FRAMES + self._body:
                self._refuse(RefusedError(400, "The body has too many small chunks."))

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._deaf or len(self.pipeline) >= _PIPELINED:
            self._fault = RefusedError(
                400, "The connection has too many requests that wait for the answer to an earlier one."
            )
            raise self._fault
        if self._head is None:
            self._head = 0
            self._waits_since = self.loop.time()
        self._body = self._frames = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come. One with `_` in its name would look like one with `-` further on; behind a body comes a
        trailer, of which none means anything here. Both are dropped."""
        if self._head is not None and b"_" not in name:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._head = None
        version = self.parser.get_http_version()
        try:
            head = heads.read(version, self.url, self.headers, upgrade=self.parser.should_upgrade())
        except RefusedError as fault:
            self._fault = fault
            raise
        if self.parser.should_upgrade():
            self.headers[:] = [field for field in self.headers if field[0] != b"upgrade"]
        if self._trusted:
            self._believe(head)
        elif head.forwarded:
            self._connections.disbelieve(self._address or "")
        if version == "1.0":
            self.expect_100_continue = False
            self.app = self._answer_1_0
        before = self.cycle
        super().on_headers_complete()
        self.app = self._app
        if ENDING.told and self.cycle is not before:
            self.cycle.keep_alive = False  # whoever has more to ask finds another replica by a new connection
        if self.cycle is not before:  # else it was refused
            self.cycle.transport = JoinedWrites(self.transport, self.loop)  # type: ignore[assignment] # all it uses
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False
        extensions: dict[str, Any] = {CONNECTION: self}
        if self._trusted and head.prefix:
            extensions[FORWARDED] = head.prefix
        self.scope["extensions"] = extensions

    def _believe(self, head: Head) -> None:
        if head.forwarded and (origin := self._connections.proxies.origin(head.forwarded)) is not None:
            self.scope["client"] = (origin, 0)
        if head.scheme in ("http", "https"):
            self.scope["scheme"] = head.scheme

    def on_body(self, body: bytes) -> None:
        """A part of a body has come."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has come as a whole."""
        super().on_message_complete()
        if not self.cycle.keep_alive:
            self._deaf = True  # the connection closes behind this answer

    def send_400_response(self, msg: str) -> None:
        """Answers what isn't HTTP."""
        self._refuse(RefusedError(400, msg))

    def _refuse(self, fault: RefusedError) -> None:
        """Answers what can't become a request, and closes the connection; behind the answers that are still due."""
        self._deaf = True
        if self.transport.is_closing():
            return
        if self._busy() and not self.cycle.more_body:
            self.cycle.keep_alive = False  # what is written now would be taken for the answer to a request before
            return
        if self._busy() and (self.pipeline or self.cycle.response_started):
            self.transport.abort()
            return
        body, headers = problem(fault.status, fault.detail, None, None)
        lines = [f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()

    # What goes

    async def _answer_1_0(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a client that knows no chunks: the connection's end is the answer's, where no length is told."""
        cycle = self.cycle
        untold = False

        async def send_plain(message: Message) -> None:
            nonlocal untold
            if message["type"] == "http.response.start":
                untold = all(name.lower() != b"content-length" for name, _ in message["headers"])
                cycle.chunked_encoding = False if untold else None
            elif untold:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_plain)
        finally:
            if not cycle.response_complete:
                self._reset()  # an orderly end would say that this was all

    def _reset(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def on_response_complete(self) -> None:
        """An answer has been given."""
        super().on_response_complete()
        self._waits_since = self.loop.time()
        if self.cycle.more_body and self.expect_100_continue and not self._body:
            # Nobody told the client to send its body, and nobody knows whether what comes next is it.
            self.transport.close()

    def pause_writing(self) -> None:
        """The client takes an answer more slowly than it is given."""
        super().pause_writing()
        self._slow = self.loop.time(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        super().resume_writing()
        self._slow = None

    # Patience

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def make_way(self) -> bool:
        """See `hpcwaas.core.slots.Holder`: gives up a connection on which nothing is being answered, or which
        takes its answer slowly."""
        if self.transport.is_closing():
            return False
        if self._busy():
            if self._slow is not None and self._subject is None:
                self.transport.abort()
            return self.transport.is_closing()
        if self._head:
            self._refuse(RefusedError(429, "Your address has too many connections on which nobody has signed in."))
        else:
            self.transport.close()
        return True

    def look(self, now: float) -> None:
        """See `hpcwaas.server.connections.Connection`."""
        patience = self._patience
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > patience.rest:
                self.transport.abort()
        elif self._slow is not None:
            since, left = self._slow
            if now - since > patience.slow:
                size = self.transport.get_write_buffer_size()
                if left - size < patience.slow * patience.lowest:
                    self.transport.abort()
                self._slow = now, size
        elif self._busy():
            if self._head is not None:
                self._waits_since = now  # it isn't read any further meanwhile
        elif now - self._waits_since > self._limit():
            if self._head:
                self._refuse(
                    RefusedError(408, f"The head of the request wasn't complete after {patience.head:.0f} seconds.")
                )
            else:
                self.transport.close()

    def _limit(self) -> float:
        if self._head is not None:
            return self._patience.head
        if self.cycle is not None and self.cycle.more_body:
            return self._patience.rest
        return self._patience.idle if self._trusted or self._subject is not None else self._patience.stranger
