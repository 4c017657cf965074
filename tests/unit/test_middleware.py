"""The edge when there is too much, or an end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

import pytest

from hpcwaas.api.middleware import Edge

SCOPE = {"type": "http", "method": "GET", "path": "/executions", "headers": [], "client": ("127.0.0.1", 1)}


class Waiting:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


async def ask(edge: Edge, path: str = "/executions") -> tuple[int, dict[bytes, bytes], bytes]:
    """Sends one request; gives status, headers and body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await edge({**SCOPE, "path": path}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent)


def test_more_requests_than_can_wait_are_told_to_come_back() -> None:
    async def scenario() -> None:
        app = Waiting()
        edge = Edge(app, at_once=3)
        under_way = [asyncio.create_task(ask(edge)) for _ in range(3)]
        await asyncio.sleep(0)
        status, headers, body = await ask(edge)
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert json.loads(body)["errors"][0]["id"] == "service_unavailable"
        app.go.set()
        assert [(await task)[0] for task in under_way] == [200, 200, 200]
        assert (await ask(edge))[0] == 200

    asyncio.run(scenario())


def test_probes_get_through_all_the_same() -> None:
    async def scenario() -> None:
        app = Waiting()
        edge = Edge(app, at_once=1)
        under_way = asyncio.create_task(ask(edge))
        probe = asyncio.create_task(ask(edge, "/health/live"))
        await asyncio.sleep(0)
        app.go.set()
        assert (await probe)[0] == (await under_way)[0] == 200

    asyncio.run(scenario())


def test_who_waits_when_the_server_stops_is_told_to_come_back() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(ask(Edge(Waiting(), at_once=10)))
        await asyncio.sleep(0)
        task.cancel()
        status, headers, _ = await task
        assert (status, headers[b"retry-after"]) == (503, b"2")

    asyncio.run(scenario())


@pytest.mark.parametrize(("broken", "status"), [(False, 499), (True, 500)])
def test_the_log_tells_a_client_that_left_from_a_failure(
    caplog: pytest.LogCaptureFixture, broken: bool, status: int
) -> None:
    async def without_an_answer(_scope: Any, _receive: Any, _send: Any) -> None:
        if broken:
            raise ValueError

    with caplog.at_level(logging.INFO, "hpcwaas.access"), contextlib.suppress(ValueError, IndexError):
        asyncio.run(ask(Edge(without_an_answer, at_once=1)))
    assert caplog.messages == [f"GET /executions {status}"]
