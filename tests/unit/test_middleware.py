"""The edge when there is too much, or an end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

import pytest

from hpcwaas.api.admission import Admission
from hpcwaas.api.middleware import Edge
from hpcwaas.core.slots import Slots

SCOPE = {"type": "http", "method": "GET", "path": "/executions", "headers": [], "client": ("127.0.0.1", 1)}


class Waiting:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


def edge_of(app: Any) -> Edge:
    return Edge(app, lambda _method, _path: None, 1.0)


def crowded(app: Any, strangers: int) -> Edge:
    """An edge with so many places for strangers."""
    places = Slots(strangers, 2 * strangers, "requests", "Your address has")
    return edge_of(
        Admission(app, users=Slots(10, 10, "requests"), strangers=places, documents=Slots(2, 1, "documents"))
    )


async def ask(
    edge: Edge, path: str = "/executions", address: str = "192.0.2.1"
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Sends one request; gives status, headers and body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await edge({**SCOPE, "path": path, "client": (address, 1)}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent)


def test_more_requests_than_can_wait_are_told_to_come_back() -> None:
    async def scenario() -> None:
        app = Waiting()
        edge = crowded(app, 3)
        under_way = [asyncio.create_task(ask(edge, address=f"192.0.2.{number}")) for number in range(2, 5)]
        await asyncio.sleep(0)
        status, headers, body = await ask(edge)
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert json.loads(body)["errors"][0]["id"] == "service_unavailable"
        app.go.set()
        assert [(await task)[0] for task in under_way] == [200, 200, 200]
        assert (await ask(edge))[0] == 200

    asyncio.run(scenario())


def test_an_address_has_a_share_only() -> None:
    async def scenario() -> None:
        app = Waiting()
        edge = crowded(app, 8)
        under_way = [asyncio.create_task(ask(edge)) for _ in range(4)]
        await asyncio.sleep(0)
        assert (await ask(edge))[0] == 429
        under_way.append(asyncio.create_task(ask(edge, address="192.0.2.2")))
        await asyncio.sleep(0)
        app.go.set()
        assert [(await task)[0] for task in under_way] == [200] * 5

    asyncio.run(scenario())


def test_of_ipv6_a_network_has_the_share_of_an_address() -> None:
    async def scenario() -> None:
        app = Waiting()
        edge = crowded(app, 8)
        under_way = [asyncio.create_task(ask(edge, address=f"2001:db8::{number}")) for number in range(4)]
        await asyncio.sleep(0)
        assert (await ask(edge, address="2001:db8::ffff:1"))[0] == 429
        app.go.set()
        await asyncio.gather(*under_way, ask(edge, address="2001:db8:0:1::1"))

    asyncio.run(scenario())


def test_probes_get_through_all_the_same() -> None:
    async def scenario() -> None:
        app = Waiting()
        edge = crowded(app, 1)
        under_way = asyncio.create_task(ask(edge))
        probe = asyncio.create_task(ask(edge, "/health/live", "192.0.2.9"))
        await asyncio.sleep(0)
        app.go.set()
        assert (await probe)[0] == (await under_way)[0] == 200

    asyncio.run(scenario())


def test_who_waits_when_the_server_stops_is_told_to_come_back() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(ask(edge_of(Waiting())))
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
        asyncio.run(ask(edge_of(without_an_answer)))
    assert caplog.messages == [f"GET /executions {status}"]
