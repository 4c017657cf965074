"""Following by event streams: what comes in pieces, is cut, or isn't there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from waas_cli import config
from waas_cli.client import Client
from waas_cli.follow import Follower, Wanted
from waas_cli.streams import News

ENTRIES = [{"index": number, "level": "INFO", "timestamp": "", "content": f"line {number}"} for number in range(3)]


def event(kind: str, data: Any, event_id: str = "") -> str:
    return (f"id: {event_id}\n" if event_id else "") + f"event: {kind}\ndata: {json.dumps(data)}\n\n"


RUNNING = event("execution", {"id": "x", "status": "RUNNING"})
LINES = [event("log", entry, str(entry["index"])) for entry in ENTRIES]
END = event("end", {"reason": "over", "status": "SUCCEEDED", "detail": None}, "2-end")


class Server(ThreadingHTTPServer):
    """Answers each request for a stream with the next list of pieces; a None cuts it. Without any, with a page."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[list[str | None]] = []
        self.asked: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((path, self.headers.get("Last-Event-ID")))
        if path.endswith(("/logs", "/events")) and self.server.answers:
            self._stream(self.server.answers.pop(0))
            return
        page = {"logs": ENTRIES, "total_results": 3, "over": True} if path.endswith("/logs") else {}
        content = json.dumps({"id": "x", "status": "SUCCEEDED", **page}).encode()
        self.send_response(404 if path.endswith("/events") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, pieces: list[str | None]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        for piece in pieces:
            if piece is None:
                return
            content = piece.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    address = f"http://127.0.0.1:{server.server_address[1]}"
    client = Client(config.load({"api_url": address, "access_token": "t"}, {}), note=lambda _: None)
    yield client
    client.close()


class Listener:
    """Notes what a follower shows."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.statuses: list[str] = []

    def execution(self, execution: dict[str, Any]) -> None:
        self.statuses.append(execution["status"])

    def entry(self, entry: dict[str, Any]) -> None:
        self.lines.append(entry["content"])

    def note(self, message: str) -> None:
        raise AssertionError(message)


def follow(client: Client, *, logs: bool = True) -> Listener:
    listener = Listener()
    follower = Follower(client, "x", listener, Wanted(logs=logs), sleep=lambda _: None)
    assert follower.run()["status"] == "SUCCEEDED"
    return listener


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_come_in_any_pieces(server: Server, client: Client, size: int) -> None:
    text = "".join(["retry: 5\n\n", ":\n\n", RUNNING, *LINES, END]).replace("\n", "\r\n" if size == 7 else "\n")
    server.answers = [[text[at : at + size] for at in range(0, len(text), size)]]
    listener = follow(client)
    assert listener.lines == ["line 0", "line 1", "line 2"]
    assert "RUNNING" in listener.statuses
    assert [path for path, _ in server.asked] == ["/executions/x", "/executions/x/logs", "/executions/x"]


def test_a_stream_that_is_cut_is_gone_on_with(server: Server, client: Client) -> None:
    server.answers = [[LINES[0], LINES[1], LINES[2][:20], None], [LINES[2]], [END]]
    assert follow(client).lines == ["line 0", "line 1", "line 2"]
    assert [last for path, last in server.asked if path.endswith("/logs")] == [None, "1", "2"]


def test_a_proxy_that_lets_no_stream_through_is_gone_round(server: Server, client: Client) -> None:
    server.answers = [[None], [], [None]]
    assert follow(client).lines == ["line 0", "line 1", "line 2"]
    assert [path for path, _ in server.asked].count("/executions/x/logs") == 4


def test_a_service_without_streams_is_asked_once_for_the_log(server: Server, client: Client) -> None:
    assert follow(client).lines == ["line 0", "line 1", "line 2"]
    assert [path for path, _ in server.asked] == ["/executions/x", "/executions/x/logs", "/executions/x"]


def test_news_are_waited_for_where_there_are_streams(server: Server, client: Client) -> None:
    slept: list[float] = []
    server.answers = [[":\n\n", RUNNING, event("removed", {"id": "y"}, "7"), None], [":\n\n", RUNNING]]
    news = News(client, "/executions/events", sleep=slept.append)
    news.wait(9, 30)
    news.wait(9, 30)
    assert 9 not in slept
    news.wait(9, 30)  # it was cut
    news.wait(9, 30)
    assert slept.count(9) == 1
    assert [last for _, last in server.asked] == [None, "7"]
    news.close()
    news.wait(9, 30)  # there is none any more
    news.wait(9, 30)
    assert slept.count(9) == 3
    assert len(server.asked) == 3
