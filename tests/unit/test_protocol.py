"""Answers to clients of HTTP/1.0, and to HEAD."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from hpcwaas.server.connections import Connections
from hpcwaas.server.protocol import Protocol


async def app(scope: Scope, _receive: Receive, send: Send) -> None:
    """Streams an answer of unknown length; one that breaks off when that is asked for."""
    await send({"type": "http.response.start", "status": int(scope["path"][1:4]), "headers": []})
    if scope["path"].startswith("/200"):
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        if scope["path"].endswith("broken"):
            return
    await send({"type": "http.response.body", "body": b""})


async def ask(request: bytes) -> bytes:
    """Sends a request; gives what comes until the connection ends in order."""
    config = Config(app, log_level="critical")

    def connection() -> asyncio.Protocol:
        return Protocol(config=config, server_state=ServerState(), app_state={}, connections=Connections(()))

    async with await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


@pytest.mark.parametrize("more", [b"", b"Connection: keep-alive\r\n"])
def test_a_client_of_http_1_0_gets_no_chunks(more: bytes) -> None:
    head, _, body = asyncio.run(ask(b"GET /200 HTTP/1.0\r\n" + more + b"\r\n")).partition(b"\r\n\r\n")
    assert body == b"x" * 300_000
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head


def test_a_client_of_http_1_1_gets_chunks() -> None:
    answer = asyncio.run(ask(b"GET /200 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    assert b"transfer-encoding: chunked" in answer
    assert answer.endswith(b"\r\n0\r\n\r\n")


def test_an_answer_to_http_1_0_that_breaks_off_does_not_end_in_order() -> None:
    with pytest.raises(ConnectionResetError):
        asyncio.run(ask(b"GET /200/broken HTTP/1.0\r\n\r\n"))


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("path", [b"/204", b"/304"])
def test_answers_without_a_body_have_none(version: bytes, path: bytes) -> None:
    request = b"GET " + path + b" HTTP/" + version + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, _, body = asyncio.run(ask(request)).partition(b"\r\n\r\n")
    assert body == b""
    assert b"transfer-encoding" not in head


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_head_has_no_body(version: bytes) -> None:
    answer = asyncio.run(ask(b"HEAD /200 HTTP/" + version + b"\r\nHost: x\r\nConnection: close\r\n\r\n"))
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n\r\n") == 1
