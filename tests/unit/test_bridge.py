"""Running a WSGI application in an ASGI server."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hpcwaas.api.bridge import HEAD, Bridge, park, time_left
from hpcwaas.core.slots import Slots
from hpcwaas.errors import TooManyRequests

SCOPE: dict[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "path": "/x",
    "query_string": b"",
    "headers": [(b"content-type", b"text/plain")],
}


def call(
    app: Any,
    messages: list[dict[str, Any]] | None = None,
    threads: int = 2,
    streams: int = 2,
    extensions: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Sends one request through a bridge."""
    incoming = iter(messages or [{"type": "http.request", "body": b""}])
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        message = next(incoming, None)
        if message is None:
            await asyncio.sleep(300)
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {**SCOPE, "extensions": extensions or {}}
    asyncio.run(Bridge(app, threads, Slots(streams, streams, "transfers"))(scope, receive, send))
    return sent


def test_small_answer_is_sent_at_once() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("201 Created", [("Location", "/y")])
        return [b"a", b"b", environ["wsgi.input"].read()]

    sent = call(
        app, [{"type": "http.request", "body": b"c", "more_body": True}, {"type": "http.request", "body": b"d"}]
    )

    assert sent == [
        {"type": "http.response.start", "status": 201, "headers": [(b"location", b"/y")]},
        {"type": "http.response.body", "body": b"abcd"},
    ]


def test_large_answer_is_streamed_and_closed() -> None:
    closed = threading.Event()

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x" * 200_000] * 4)

        def close(self) -> None:
            closed.set()

    def app(_environ: Any, start_response: Any) -> Answer:
        start_response("200 OK", [])
        return Answer()

    sent = call(app)

    assert b"".join(message.get("body", b"") for message in sent) == b"x" * 800_000
    assert len(sent) > 3
    assert not sent[-1].get("more_body")
    assert closed.is_set()


def test_exceptions_come_through() -> None:
    def app(_environ: Any, _start_response: Any) -> list[bytes]:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        call(app)


def test_context_is_carried_into_the_thread() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [variable.get().encode()]

    variable.set("seen")
    assert call(app)[1]["body"] == b"seen"


class Large:
    """An answer that is too large to be sent at once; counts what was taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    def __call__(self, _environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(100):
            self.taken += 1
            yield b"x" * 100_000


def test_of_a_large_answer_only_the_head_is_made_when_only_that_is_wanted() -> None:
    large = Large()
    assert len(call(large, extensions={HEAD: True})) == 2
    assert large.taken < 10


def test_streams_are_limited() -> None:
    with pytest.raises(TooManyRequests):
        call(Large(), streams=0)


class Waiting:
    """What a parked request waits for."""

    def __init__(self, news: bool) -> None:
        self.news = news
        self.closed = False

    def on_news(self, wake: Any) -> None:
        if self.news:
            threading.Thread(target=wake).start()

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("news", "timeout"), [(True, 30), (False, 0.2)])
def test_a_parked_request_is_called_again(news: bool, timeout: float) -> None:
    waits: list[Waiting] = []

    def look(environ: Any) -> Any:
        left = time_left(environ, timeout)
        if left > 0 and (not news or len(waits) < 2):
            waits.append(Waiting(news))
            park(environ, waits[-1], left, lambda: look(environ))

        def answer(_environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [b"last" if waits[-1].closed else b"first"]

        return answer

    def app(environ: Any, start_response: Any) -> list[bytes]:
        answer: list[bytes] = look(environ)(environ, start_response)
        return answer

    assert call(app, threads=1)[1]["body"] == b"last"
    assert len(waits) == (2 if news else 1)
    assert all(waiting.closed for waiting in waits)


def test_a_parked_request_whose_client_has_gone_is_dropped() -> None:
    waiting = Waiting(news=False)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        park(environ, waiting, 30, lambda: app)
        start_response("200 OK", [])
        return [b"x"]

    assert call(app, [{"type": "http.request"}, {"type": "http.disconnect"}]) == []
    assert waiting.closed


async def answered(bridge: Bridge, path: str = "/x") -> None:
    """Sends one request and waits for its answer."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(_message: Any) -> None:
        pass

    await bridge({**SCOPE, "path": path, "extensions": {}}, receive, send)


@pytest.mark.parametrize(
    ("slow", "others"),
    [
        ("/x", ["/y", "/executions/1/logs", "/health/live"]),
        ("/executions/1/logs", ["/y", "/executions/2/logs", "/health/live"]),
        ("/health/ready", ["/y", "/executions/1/logs"]),
    ],
)
def test_calls_that_take_long_make_way(slow: str, others: list[str]) -> None:
    go = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == slow:
            go.wait(60)
        start_response("200 OK", [])
        return []

    async def scenario() -> None:
        bridge = Bridge(app, 64, Slots(2, 2, "transfers"))
        waiting = [asyncio.create_task(answered(bridge, slow)) for _ in range(20)]
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            for other in others:
                await answered(bridge, other)
        go.set()
        await asyncio.gather(*waiting)

    asyncio.run(scenario())


def test_few_calls_run_at_the_same_time_while_they_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.api.lanes.QUICK", 60)
    running, most = 0, 0
    lock = threading.Lock()

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        start_response("200 OK", [])
        return []

    async def scenario() -> None:
        bridge = Bridge(app, 64, Slots(2, 2, "transfers"))
        await asyncio.gather(*(answered(bridge) for _ in range(100)))

    asyncio.run(scenario())

    assert most < 20


def test_a_request_that_is_given_up_before_its_turn_leaves_it_to_others() -> None:
    go = threading.Event()

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        go.wait(60)
        start_response("200 OK", [])
        return []

    async def scenario() -> None:
        bridge = Bridge(app, 64, Slots(2, 2, "transfers"))
        requests = [asyncio.create_task(answered(bridge)) for _ in range(30)]
        await asyncio.sleep(0)
        for request in requests[:20]:
            request.cancel()
        await asyncio.sleep(0)
        go.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*requests[20:])

    asyncio.run(scenario())


def test_news_at_the_very_moment_at_which_the_body_ends() -> None:
    looks: list[bool] = []

    class Woken(Waiting):
        def on_news(self, wake: Any) -> None:
            wake()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        looks.append(True)
        if len(looks) == 1:
            park(environ, Woken(news=True), 300, lambda: app)
        start_response("200 OK", [])
        return []

    async def scenario() -> None:
        bodies = iter([{"type": "http.request", "body": b""}])

        async def next_message() -> Any:
            message = next(bodies, None)
            if message is None:
                await asyncio.sleep(300)
            return message

        async def receive() -> Any:
            return await asyncio.wait_for(next_message(), 300)

        async def send(_message: Any) -> None:
            pass

        async with asyncio.timeout(60):
            await Bridge(app, 2, Slots(2, 2, "transfers"))({**SCOPE, "extensions": {}}, receive, send)

    asyncio.run(scenario())
    assert len(looks) == 2
