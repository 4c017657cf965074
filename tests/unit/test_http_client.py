"""What a call comes to when a server, or the way to it, fails: one table for all servers behind the service."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate

import pytest
import requests

from hpcwaas.common import calls
from hpcwaas.common.http import HTTPClient, NoAnswer
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed, UpstreamTimeout

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"


class Server:
    """Sends what it is told to, one piece after another, to whoever sends a request."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.pieces: list[bytes] = [OK]
        self.pace = 0.0
        self.requests: list[bytes] = []
        self.ended = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.requests.append(connection.recv(65536))
            for piece in self.pieces:
                connection.sendall(piece)
                self.ended.wait(self.pace)
            # Closed at once with something unread, or without a word of it, the client might see a reset instead.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1)
            while connection.recv(65536):
                pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.ended.set()
    server.listener.close()


@pytest.fixture
def client() -> Iterator[HTTPClient]:
    client = HTTPClient("the oracle", "oracle", ca_file=None, timeouts=(20, 20), largest=1000, connections=2)
    yield client
    client.close()


@pytest.fixture
def hasty() -> Iterator[HTTPClient]:
    client = HTTPClient("the oracle", "oracle", ca_file=None, timeouts=(0.4, 0.4), largest=1000, connections=2)
    yield client
    client.close()


def status(line: str, *headers: str) -> list[bytes]:
    return ["\r\n".join([f"HTTP/1.1 {line}", "Content-Length: 0", "Connection: close", *headers, "", ""]).encode()]


def asked(client: HTTPClient, url: str) -> requests.Response:
    response = client.request("GET", url)
    client.require_answer(response)
    return response


@pytest.mark.parametrize(
    ("pieces", "pace", "error", "detail", "sent", "again"),
    [
        ([], 0, Unavailable, "The oracle can't be reached.", True, True),
        ([], 1, UpstreamTimeout, "The oracle takes too long to answer.", True, False),
        ([HEAD], 0, UpstreamFailed, "The oracle broke off its answer.", True, True),
        ([HEAD], 1, UpstreamTimeout, "The oracle takes too long to answer.", True, False),
        ([HEAD, *[b" "] * 30], 0.05, UpstreamTimeout, "The oracle takes too long to answer.", True, False),
        ([HEAD, b" " * 2000], 0, UpstreamFailed, "The oracle gave an answer that is far too large.", True, False),
        (status("502 Bad"), 0, UpstreamFailed, "The proxy in front of the oracle gets no answer from it.", True, True),
        (status("504 Late"), 0, UpstreamFailed, "The proxy in front of the oracle gets no answer from it.", True, True),
        (status("503 Down"), 0, Unavailable, "The oracle is down or overloaded.", True, True),
        (status("429 Busy"), 0, Unavailable, "The oracle accepts no more requests at the moment.", True, False),
    ],
)
def test_each_failure_has_its_error(
    server: Server,
    client: HTTPClient,
    hasty: HTTPClient,
    pieces: list[bytes],
    pace: float,
    error: type[ServiceError],
    detail: str,
    sent: bool,
    again: bool,
) -> None:
    server.pieces, server.pace = (pieces or [b""]), pace
    with pytest.raises(NoAnswer) as caught:
        asked(hasty if error is UpstreamTimeout else client, server.url)
    assert type(caught.value.error) is error
    assert (str(caught.value), caught.value.sent, caught.value.again) == (detail, sent, again)


def test_a_connection_that_is_refused_was_never_used(server: Server, client: HTTPClient) -> None:
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    with pytest.raises(NoAnswer, match="can't be reached") as caught:
        asked(client, server.url)
    assert (caught.value.sent, caught.value.again) == (False, True)


@pytest.mark.parametrize(
    ("told", "passed_on"), [("7", 7), ("100000", 300), ("soon", 5), (formatdate(0, usegmt=True), 1)]
)
def test_a_retry_after_is_passed_on(server: Server, client: HTTPClient, told: str, passed_on: int) -> None:
    server.pieces = status("503 Down", f"Retry-After: {told}")
    with pytest.raises(NoAnswer) as caught:
        asked(client, server.url)
    assert isinstance(caught.value.error, Unavailable)
    assert caught.value.error.retry_after == passed_on
    assert caught.value.again == (told == "soon")  # whoever says when to come isn't asked at once


def test_an_answer_is_given_whatever_its_status(server: Server, client: HTTPClient) -> None:
    server.pieces = status("302 Found", "Location: /elsewhere", "Set-Cookie: a=b")
    assert [client.request("GET", server.url).status_code for _ in range(2)] == [302, 302]
    assert not any(b"Cookie" in request for request in server.requests)
    server.pieces = [OK]
    assert client.request("POST", server.url, data=b"x").json() == {}


def test_retries_end(server: Server) -> None:
    client = HTTPClient("the oracle", "oracle", ca_file=None, timeouts=(10, 10), largest=1000, connections=2)
    server.pieces = status("503 Down")
    with pytest.raises(NoAnswer):
        client.retried(lambda: asked(client, server.url), 3)
    assert len(server.requests) <= 3  # the last pause may be longer than the time that is left
    server.requests.clear()
    with pytest.raises(NoAnswer):
        client.retried(lambda: asked(client, server.url), 3, unless_sent=True)
    assert len(server.requests) == 1
    client.close()


def test_what_any_try_has_sent_may_be_done(client: HTTPClient) -> None:
    failures = [
        NoAnswer(Unavailable("first"), sent=True, again=True),
        NoAnswer(Unavailable("second"), sent=False, again=False),
    ]

    def attempt() -> None:
        raise failures.pop(0)

    with pytest.raises(NoAnswer, match="second") as caught:
        client.retried(attempt)
    assert caught.value.sent


def test_all_calls_of_one_user_share_one_time(server: Server, hasty: HTTPClient) -> None:
    server.pieces, server.pace = [HEAD], 60
    with calls.one():
        for _ in range(5):
            with pytest.raises(NoAnswer) as caught:
                asked(hasty, server.url)
        assert hasty.time_left() <= 0
        assert not caught.value.sent
    assert len(server.requests) < 5
    assert hasty.time_left() > 0


def test_a_closed_client_waits_for_nothing(client: HTTPClient) -> None:
    client.close()

    tries = []

    def attempt() -> None:
        tries.append(1)
        raise NoAnswer(Unavailable("down"), sent=False, again=True)

    with pytest.raises(NoAnswer):
        client.retried(attempt, 3)
    assert len(tries) == 1
