"""Running a WSGI application in an ASGI server."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hpcwaas.api.bridge import Bridge

SCOPE: dict[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "path": "/x",
    "query_string": b"",
    "headers": [(b"content-type", b"text/plain")],
}


def call(app: Any, messages: list[dict[str, Any]] | None = None, threads: int = 2) -> list[dict[str, Any]]:
    """Sends one request through a bridge."""
    incoming = iter(messages or [{"type": "http.request", "body": b""}])
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Bridge(app, threads)(dict(SCOPE), receive, send))
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
