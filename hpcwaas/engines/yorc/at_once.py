"""Asks one server for many things at once.

A thread and a connection for each, as all other calls have them, would take longer to begin with than to be answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httptools
import uvloop

CONNECTIONS = 256
"""Most requests under way at the same time."""

LARGEST = 1 << 20
"""Bytes of the largest answer that is taken. A list of 1000 workflows has a tenth of it."""

T = TypeVar("T")


def fetch(
    address: str, paths: Iterable[str], context: ssl.SSLContext | None, seconds: float, read: Callable[[str, bytes], T]
) -> dict[str, T]:
    """Gets many documents.

    Args:
        address: of the server.
        paths: quoted.
        context: for TLS.
        seconds: after which what hasn't come is given up.
        read: makes something of a path and the body of an answer with status 200, while others are waited for; raises
            `ValueError` or `RecursionError` when it can't.

    Returns:
        what was made of the answers, by path. Whatever else happens to one, it is not among them.
    """
    work = _Work(address, list(dict.fromkeys(paths)), context, read)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work.done(seconds))
    return work.found


class _Work(Generic[T]):
    """What is left to be asked for, and what was made of what has come."""

    def __init__(
        self, address: str, paths: list[str], context: ssl.SSLContext | None, read: Callable[[str, bytes], T]
    ) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or (443 if context else 80)
        self._head = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n\r\n".encode()
        self._before = parts.path.rstrip("/").encode()
        # In equal shares, so that no connection has more to do, one after the other, than it must.
        self._shares = [paths[first::CONNECTIONS] for first in range(min(len(paths), CONNECTIONS))]
        self._abandoned: list[list[str]] = []
        self._context = context
        self._read = read
        self.found: dict[str, T] = {}

    async def done(self, seconds: float) -> None:
        """Returns when everything has come that will."""
        workers = [asyncio.ensure_future(self._work(share)) for share in self._shares]
        _, late = await asyncio.wait(workers, timeout=max(seconds, 0)) if workers else ((), ())
        for worker in late:
            worker.cancel()

    def next(self, share: list[str]) -> tuple[str, bytes] | None:
        """Something more to be asked for, and the request for it: of a share, or one whose connection failed."""
        left: list[str] = share or next((one for one in self._abandoned if one), [])
        if not left:
            return None
        path = left.pop()
        return path, b"GET " + self._before + path.encode() + self._head

    def take(self, path: str, body: bytes) -> None:
        """Takes an answer."""
        with contextlib.suppress(ValueError, RecursionError):
            self.found[path] = self._read(path, body)

    async def _work(self, share: list[str]) -> None:
        """Asks by one connection after the other, each of which may be closed when it has been used."""
        loop = asyncio.get_running_loop()
        while share:
            try:
                transport, connection = await loop.create_connection(
                    lambda: _Connection(self, share), self._host, self._port, ssl=self._context
                )
            except OSError:
                break
            try:
                if not await connection.ended:
                    break
            finally:
                transport.abort()
        self._abandoned.append(share)


class _Connection(asyncio.Protocol):
    """Asks for one thing after the other.

    Attributes:
        ended: whether there was an answer at all, when it has ended.
    """

    def __init__(self, work: _Work[Any], share: list[str]) -> None:
        self._work = work
        self._share = share
        self._path = ""
        self._parts: list[bytes] = []
        self._size = 0
        self._ended_messages = 0
        self._answers = 0
        self._kept = False
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # what writes as well
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > LARGEST:
            self._end()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end()
            return
        if self._ended_messages:
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self._ended_messages += 1
        self._kept = self._parser.should_keep_alive()  # it can't be asked later

    def _answered(self) -> None:
        self._answers += 1
        if self._ended_messages > 1:  # more than was asked for: nobody knows what belongs to what
            self._end()
            return
        taken, path, parts = self._parser.get_status_code() == 200, self._path, self._parts
        if self._kept:  # the next one is waited for while this one is read
            self._ask()
        else:
            self._end()
        if taken:
            self._work.take(path, b"".join(parts))

    def _ask(self) -> None:
        if (asked := self._work.next(self._share)) is None:
            self._end()
            return
        self._path, request = asked
        self._parts, self._size, self._ended_messages = [], 0, 0
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(self._answers > 0)
