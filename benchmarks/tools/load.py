"""An HTTP/1.1 load generator that takes little of the machine it shares with what it measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the service answered.

    Attributes:
        seconds: from the request to the last byte.
    """

    status: int
    head: bytes
    body: bytes
    seconds: float

    def header(self, name: str) -> str:
        """A header's value; empty without one."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.lower().encode():
                return value.strip().decode()
        return ""


class Client(asyncio.Protocol):
    """One connection that is kept open; one request at a time."""

    def __init__(self, headers: bytes) -> None:
        self._headers = headers
        self._buffer = bytearray()
        self._head: bytes | None = None
        self._length = 0
        self._answered: Callable[[Answer], None] | None = None
        self._lost: Callable[[], None] | None = None

    @classmethod
    async def connect(cls, address: tuple[str, int], authorization: str) -> Client:
        """Opens a connection for a user."""
        headers = f"Host: {address[0]}\r\nAuthorization: {authorization}\r\n".encode()
        _, client = await asyncio.get_running_loop().create_connection(lambda: cls(headers), *address)
        return client

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._lost is not None:
            self._lost()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            lowered = self._head.lower()
            at = lowered.index(b"content-length:") + 15
            self._length = int(lowered[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) >= self._length and self._answered is not None:
            status = int(self._head[9:12])
            answer = Answer(status, self._head, bytes(self._buffer), time.perf_counter() - self._began)
            self._head = None
            self._buffer.clear()
            self._answered(answer)

    def send(
        self, method: str, path: str, answered: Callable[[Answer], None], body: bytes = b"", more: str = ""
    ) -> None:
        """Sends a request; `answered` gets the answer."""
        self._answered = answered
        self._began = time.perf_counter()
        if body:
            more += "Content-Type: application/json\r\n"
        length = f"Content-Length: {len(body)}\r\n" if method != "GET" else ""
        self._transport.write(f"{method} {path} HTTP/1.1\r\n{more}{length}".encode() + self._headers + b"\r\n" + body)

    async def ask(self, method: str, path: str, body: bytes = b"", more: str = "") -> Answer:
        """Sends a request and waits for its answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        def lost() -> None:
            if not future.done():
                future.set_exception(ConnectionError("the service closed the connection"))

        self._lost = lost
        self.send(method, path, answered, body, more)
        return await future

    def close(self) -> None:
        """Closes the connection."""
        self._lost = None
        self._transport.close()


async def hammer(clients: list[Client], path: str, seconds: float) -> list[float]:
    """Lets all clients GET a path, one request after another.

    Returns:
        the seconds that each answer took.
    """
    took: list[float] = []
    deadline = time.perf_counter() + seconds
    done = asyncio.Event()
    busy = len(clients)

    def send(client: Client) -> None:
        def answered(answer: Answer) -> None:
            nonlocal busy
            assert answer.status == 200, answer
            took.append(answer.seconds)
            if time.perf_counter() < deadline:
                client.send("GET", path, answered)
                return
            busy -= 1
            if not busy:
                done.set()

        client.send("GET", path, answered)

    for client in clients:
        send(client)
    await done.wait()
    return took


def percentile(values: list[float], percent: int) -> float:
    """The value that so many per cent of them don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
