"""What all simulated servers do: note their calls, take their time, go wrong by rule, go down and up again."""

from __future__ import annotations

import abc
import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from tests.ports import free_port
from tests.simulators.bare_http import Answer, Connection, Request
from tests.simulators.faults import HTML, Fault

_BACKLOG = 2048
"""Connections that may wait to be accepted; many come at once."""

JSON: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Call:
    """A call as it came in; `at` in seconds of the true time, `port` the client's."""

    method: str
    path: str
    at: float
    body: bytes = b""
    port: int = 0


class Application(abc.ABC):
    """What a simulated server answers.

    Args:
        delay: seconds that every call takes at least.

    Attributes:
        command: carries out `POST /simulator/<name>`, by which another process controls the simulator.
        controlled_by: address of the last client that sent a command.
    """

    command: Callable[[str, JSON], Awaitable[JSON]]

    def __init__(self, delay: float) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.controlled_by: Any = None
        self.delay = delay

    @abc.abstractmethod
    async def answer(self, call: Call, query: str, headers: dict[str, str]) -> Answer:
        """Does what a call asks for."""

    @abc.abstractmethod
    def odd(self, fault: Fault) -> Answer:
        """The answer of a fault that is this server's own."""

    async def websocket(self, scope: dict[str, Any], headers: dict[str, str], receive: Receive, send: Send) -> None:
        """Serves a WebSocket."""
        raise NotImplementedError

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serves a WebSocket, as ASGI has it."""
        await self.websocket(scope, {name.decode(): value.decode() for name, value in scope["headers"]}, receive, send)

    async def handle(self, connection: Connection, request: Request) -> None:
        """Answers a request, or does what a fault says."""
        target, _, query = request.target.decode("latin-1").partition("?")
        if target.startswith("/simulator/"):
            self.controlled_by = connection.client
            result = await self.command(target.rpartition("/")[2], json.loads(request.body or b"{}"))
            body = json.dumps(result).encode()
            connection.send(request, Answer(200, body, ((b"Content-Type", b"application/json"),)))
            return
        call = Call(request.method, target, time.time(), request.body, connection.client[1])
        self.calls.append(call)
        if self.delay:
            await asyncio.sleep(self.delay)
        fault = next((one for one in self.faults if one.strikes(f"{call.method} {call.path}")), None)
        answer = None
        if fault is None or fault.needs_answer:
            answer = await self.answer(call, query, request.headers)
        if fault is not None:
            answer = await self._misbehave(fault, answer, connection, request)
        if answer is not None:
            connection.send(request, answer)

    async def _misbehave(
        self, fault: Fault, answer: Answer | None, connection: Connection, request: Request
    ) -> Answer | None:
        """Goes wrong. What is still to be sent, if anything."""
        match fault.kind:
            case "slow":
                await asyncio.wait([connection.lost], timeout=fault.seconds)
                return answer
            case "hang":
                await asyncio.wait([connection.lost], timeout=fault.seconds)
                connection.transport.close()
            case "close":
                connection.transport.close()
            case "reset":
                reset(connection.transport)
            case "cut":
                assert answer is not None
                half = replace(answer, body=answer.body[: len(answer.body) // 2])
                connection.send(request, half, complete=False)
                await asyncio.sleep(0.02)
                reset(connection.transport)
            case "truncate":
                assert answer is not None
                others = tuple(header for header in answer.headers if header[0].lower() != b"content-length")
                return replace(answer, body=answer.body[: len(answer.body) // 2], headers=others)
            case "html":
                return Answer(fault.status, HTML, ((b"Content-Type", b"text/html"),))
            case "empty":
                return Answer(fault.status, b"", ())
            case _:
                return self.odd(fault)
        return None


class Serving:
    """A simulated server for one event loop. `do_<name>` carries out the command `<name>` of its controls."""

    def __init__(self, application: Application, port: int) -> None:
        self.application = application
        application.command = self.command
        self._socket = _listen(port or free_port())  # it may go down and up again
        self.port: int = self._socket.getsockname()[1]
        self._accepted: set[asyncio.Task[Any]] = set()
        self._state = ServerState()
        self._config = uvicorn.Config(
            self.application, lifespan="off", log_config=None, proxy_headers=False, ws_ping_interval=None
        )

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serves until it is cancelled.

        Args:
            ready: called when it accepts connections.
        """
        try:
            self._accept_from(self._socket)
            ready()
            await asyncio.get_running_loop().create_future()
        finally:
            self.application.controlled_by = None  # nobody's connection is spared at the end
            await self.do_down()
            await asyncio.sleep(0)

    async def command(self, name: str, arguments: JSON) -> JSON:
        """Carries out a command by name."""
        return await getattr(self, f"do_{name}")(**arguments)

    async def do_fault(self, **fault: JSON) -> None:
        self.application.faults.append(Fault(**fault))

    async def do_heal(self) -> None:
        self.application.faults.clear()

    async def do_delay(self, seconds: float) -> None:
        self.application.delay = seconds

    async def do_down(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        if self._accepted:
            await asyncio.wait(self._accepted)
        self._drop_connections()

    async def do_up(self) -> None:
        self._socket = _listen(self.port)
        self._accept_from(self._socket)

    async def do_restart(self, down: float) -> None:
        await self.do_down()
        await asyncio.sleep(down)
        await self.do_up()

    async def do_disconnect(self) -> None:
        self._drop_connections()

    async def do_calls(self) -> JSON:
        found = self.application.calls
        return [[call.method, call.path, call.at, call.body.decode("latin-1"), call.port] for call in found]

    async def do_call_count(self) -> int:
        return len(self.application.calls)

    async def do_forget_calls(self) -> None:
        self.application.calls.clear()

    def _accept_from(self, listener: socket.socket) -> None:
        """Accepts from now on. An `asyncio.Server` would leave those open that it accepts while it is closed."""
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(self.application.handle, self._speak_websocket, self._state.connections)

        def accept() -> None:
            for _ in range(_BACKLOG):
                try:
                    client, _address = listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    return
                accepted = loop.create_task(loop.connect_accepted_socket(connection, client))
                self._accepted.add(accepted)
                accepted.add_done_callback(self._accepted.discard)

        listener.setblocking(False)
        loop.add_reader(listener, accept)

    def _speak_websocket(self, connection: Connection, request: bytes) -> None:
        protocol = WebSocketsSansIOProtocol(self._config, self._state, {})
        protocol.connection_made(connection.transport)
        protocol.data_received(request)
        connection.transport.set_protocol(protocol)

    def _drop_connections(self) -> None:
        connections: Any = self._state.connections
        for connection in list(connections):
            if connection.client != self.application.controlled_by:
                reset(connection.transport)


def reset(transport: Any) -> None:
    """Ends a connection with a TCP reset."""
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(_BACKLOG)
    return listener
