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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hpcwaas.server.joined import JoinedWrites
from tests.ports import free_port
from tests.simulators.faults import HTML, Fault

JSON: TypeAlias = Any
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
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


@dataclass(frozen=True)
class Answer:
    """An answer before it is sent."""

    status: int
    body: bytes
    headers: Headers


class Application(abc.ABC):
    """The ASGI application of a simulated server.

    Args:
        delay: seconds that every call takes at least.

    Attributes:
        command: carries out `POST /simulator/<name>`, by which another process controls the simulator.
        connection: the server's transport of a client's connection, by its address.
        controlled_by: address of the last client that sent a command.
    """

    command: Callable[[str, JSON], Awaitable[JSON]]
    connection: Callable[[Any], Any]

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
        path = scope["raw_path"].split(b"?")[0].decode()
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["type"] == "websocket":
            await self.websocket(scope, headers, receive, send)
            return
        body = await _read(receive)
        if path.startswith("/simulator/"):
            self.controlled_by = scope["client"]
            result = await self.command(path.rpartition("/")[2], json.loads(body or b"{}"))
            await _send(send, Answer(200, json.dumps(result).encode(), ((b"Content-Type", b"application/json"),)))
            return
        call = Call(scope["method"], path, time.time(), body, scope["client"][1])
        self.calls.append(call)
        if self.delay:
            await asyncio.sleep(self.delay)
        fault = next((one for one in self.faults if one.strikes(f"{call.method} {path}")), None)
        answer = None
        if fault is None or fault.needs_answer:
            answer = await self.answer(call, scope["query_string"].decode(), headers)
        if fault is None:
            assert answer is not None
            await _send(send, answer)
        else:
            await self._misbehave(fault, answer, self.connection(scope["client"]), receive, send)

    async def _misbehave(
        self, fault: Fault, answer: Answer | None, connection: Any, receive: Receive, send: Send
    ) -> None:
        match fault.kind:
            case "slow":
                await _wait(receive, fault.seconds)
            case "hang":
                await _wait(receive, fault.seconds)
                connection.close()
                return
            case "close":
                connection.close()
                return
            case "reset":
                reset(connection)
                return
            case "cut":
                assert answer is not None
                await _send(send, replace(answer, body=answer.body[: len(answer.body) // 2]), complete=False)
                await asyncio.sleep(0.02)
                reset(connection)
                return
            case "truncate":
                assert answer is not None
                answer = replace(answer, body=answer.body[: len(answer.body) // 2])
            case "html":
                answer = Answer(fault.status, HTML, ((b"Content-Type", b"text/html"),))
            case "empty":
                answer = Answer(fault.status, b"", ())
            case _:
                answer = self.odd(fault)
        assert answer is not None
        await _send(send, answer)


class _Protocol(HttpToolsProtocol):
    """Writes an answer at once, as servers written in Go do: its client doesn't wake up twice for it."""

    def on_headers_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = JoinedWrites(self.transport, self.loop)  # type: ignore[assignment] # all it uses


class Serving:
    """A simulated server for one event loop. `do_<name>` carries out the command `<name>` of its controls."""

    def __init__(self, application: Application, port: int) -> None:
        self.application = application
        application.command = self.command
        application.connection = self._transport
        self._socket = _listen(port or free_port())  # it may go down and up again
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.application,
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                http=_Protocol,
                ws="websockets-sansio",
                ws_ping_interval=None,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=1,
            )
        )

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serves until it is cancelled.

        Args:
            ready: called when it accepts connections.
        """
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        try:
            while not self._server.started:
                await asyncio.sleep(0.005)
            ready()
            await serving
        finally:
            await self.do_down()
            await asyncio.sleep(0.02)  # who was just being accepted
            self._drop_connections()
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
        for server in self._server.servers:
            server.close()
        self._drop_connections()

    async def do_up(self) -> None:
        await self._server.startup(sockets=[_listen(self.port)])

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

    def _transport(self, client: Any) -> Any:
        connections: Any = self._server.server_state.connections
        return next(one.transport for one in connections if one.client == tuple(client))

    def _drop_connections(self) -> None:
        connections: Any = self._server.server_state.connections
        for connection in list(connections):
            if connection.client != self.application.controlled_by:
                reset(connection.transport)


def reset(transport: Any) -> None:
    """Ends a connection with a TCP reset."""
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


async def _read(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message: dict[str, Any] = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _wait(receive: Receive, seconds: float) -> None:
    """Waits, but not for a client that has gone."""
    try:
        await asyncio.wait_for(receive(), seconds)
    except TimeoutError:
        return


async def _send(send: Send, answer: Answer, *, complete: bool = True) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body, "more_body": not complete})


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(2048)
    return listener
