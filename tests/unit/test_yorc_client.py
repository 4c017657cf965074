"""The calls that are made of Yorc, and how its answers are taken."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hpcwaas.common.http import NoAnswer
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.faults import Refusal
from hpcwaas.engines.yorc.settings import PublicationSettings, YorcSettings
from hpcwaas.engines.yorc.transport import Transport
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed

TASK = "a48d0b00-5c4e-40bf-b719-c5a3efb38533"


def error(status: int, identifier: str, detail: str = "secret") -> str:
    document = {"errors": [{"id": identifier, "status": status, "title": "Title", "detail": detail}]}
    return json.dumps(document) + "\n"


class Server(http.server.ThreadingHTTPServer):
    """Answers everything with what it is told to.

    Attributes:
        status, body, headers: of the answers.
        asked: method, path, headers and body of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body: str = "{}"
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    def answer(self, status: int, body: Any = "", **headers: str) -> None:
        self.status = status
        self.body = body if isinstance(body, str) else json.dumps(body)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.asked.append((self.command, self.path, dict(self.headers.items()), body))
        content = self.server.body.encode()
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        if self.server.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and self.server.status != 204:
            self.wfile.write(content)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - the base class wants these names

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[YorcClient]:
    publish = (PublicationSettings(deployments=("*",), workflows=("*",)),)
    transport = Transport(YorcSettings(address=f"http://127.0.0.1:{server.server_address[1]}", publish=publish))
    yield YorcClient(transport)
    transport.close()


Calls = Callable[[YorcClient], Any]


def test_accept_is_what_yorc_compares_it_with(server: Server, client: YorcClient) -> None:
    server.answer(200, {"deployments": []}, Content_Type="application/json")
    assert client.deployments() == []
    method, path, headers, _ = server.asked[0]
    assert (method, path, headers["Accept"]) == ("GET", "/deployments", "application/json")


def test_no_content_is_an_empty_list(server: Server, client: YorcClient) -> None:
    server.answer(204)
    assert client.deployments() == []


def test_a_start_always_has_a_body_and_its_inputs_are_texts(server: Server, client: YorcClient) -> None:
    server.answer(201, "", Location=f"/deployments/demo/tasks/{TASK}")
    assert client.run("demo", "a workflow", {}) == TASK
    assert client.run("demo", "hello", {"times": "3"}) == TASK
    assert [(path, json.loads(body)) for _, path, _, body in server.asked] == [
        ("/deployments/demo/workflows/a%20workflow", {"inputs": {}}),
        ("/deployments/demo/workflows/hello", {"inputs": {"times": "3"}}),
    ]


@pytest.mark.parametrize("location", ["", "/deployments/demo", "/deployments/demo/tasks/", "http://[x/tasks/1"])
def test_a_start_that_names_no_task_may_have_been_one(server: Server, client: YorcClient, location: str) -> None:
    server.answer(201, "", **({"Location": location} if location else {}))
    with pytest.raises(NoAnswer) as caught:
        client.run("demo", "hello", {})
    assert caught.value.sent
    assert isinstance(caught.value.error, UpstreamFailed)


def test_a_start_that_breaks_inside_of_yorc_may_have_been_one(server: Server, client: YorcClient) -> None:
    server.answer(500, error(500, "internal_server_error", "Something went wrong: [PANIC] secret"))
    with pytest.raises(NoAnswer) as caught:
        client.run("demo", "hello", {})
    assert caught.value.sent
    assert "secret" not in caught.value.error.detail
    assert len(server.asked) == 1


def test_a_refused_start_was_none(server: Server, client: YorcClient) -> None:
    server.answer(400, error(400, "bad_request"), Content_Type="text/plain; charset=utf-8")
    with pytest.raises(Refusal) as caught:
        client.run("demo", "hello", {})
    assert (caught.value.status, caught.value.error, caught.value.message) == (400, "bad_request", "secret")
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("status", "body", "unknown"),
    [
        (404, error(404, "not_found"), True),
        (404, error(404, "not_found") * 2, True),
        (400, error(400, "bad_request", 'Task with id "t" doesn\'t correspond to the deployment with id "d"'), True),
        (400, error(400, "bad_request"), False),
        (500, error(500, "internal_server_error"), False),
    ],
)
def test_refusals(server: Server, client: YorcClient, status: int, body: str, unknown: bool) -> None:
    server.answer(status, body, Content_Type="text/plain; charset=utf-8")
    with pytest.raises(Refusal) as caught:
        client.task("demo", TASK)
    assert (caught.value.status, caught.value.unknown) == (status, unknown)


@pytest.mark.parametrize(
    ("detail", "word"),
    [
        ("Something went wrong: [PANIC] Unexpected response code: 500 (No cluster leader)", "no leader"),
        ("Consul communication error: Unexpected response code: 500 (rpc error: No known leader)", "no leader"),
        ('Get "http://127.0.0.1:8500/v1/kv/x": dial tcp 127.0.0.1:8500: connect: connection refused', "store"),
    ],
)
def test_trouble_with_consul(server: Server, client: YorcClient, detail: str, word: str) -> None:
    server.answer(500, error(500, "internal_server_error", detail))
    with pytest.raises(Unavailable, match=word) as caught:
        client.deployments()
    assert "8500" not in caught.value.detail
    with pytest.raises(NoAnswer) as uncertain:
        client.run("demo", "hello", {})
    assert uncertain.value.sent


@pytest.mark.parametrize("call", [YorcClient.ping, YorcClient.log_index])
def test_errors_without_a_body(server: Server, client: YorcClient, call: Callable[..., Any]) -> None:
    server.answer(500)
    with pytest.raises(ServiceError) as caught:
        call(client, *([5.0] if call is YorcClient.ping else []))
    assert type(caught.value) is (Unavailable if call is YorcClient.ping else Refusal)


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (200, "<html>Sign in</html>", "can't be understood"),
        (200, '{"deployments":', "can't be understood"),
        (200, "[" * 100_000, "can't be understood"),
        (200, "[]", "about its deployments"),
        (200, '{"deployments": {}}', "about its deployments"),
        (200, '{"deployments": [{"id": 7, "status": "DEPLOYED"}]}', "about its deployments"),
        (301, "", "can't be understood"),
        (401, "<html>Sign in</html>", "can't be understood"),
        (404, "404 page not found\n", "can't be understood"),
        (400, "Client sent an HTTP request to an HTTPS server.\n", r"yorc\.address"),
        (502, "<html>Bad Gateway</html>", "proxy"),
        (503, "<html>Busy</html>", "down or overloaded"),
        (504, "", "proxy"),
    ],
)
def test_what_is_none_of_yorcs_answers(
    server: Server, client: YorcClient, monkeypatch: pytest.MonkeyPatch, status: int, body: str, word: str
) -> None:
    monkeypatch.setattr("hpcwaas.common.http._PAUSE", 0.001)
    server.answer(status, body, Location="http://elsewhere/")
    with pytest.raises(ServiceError, match=word):
        client.deployments()


def test_a_long_poll(server: Server, client: YorcClient) -> None:
    entry = {"timestamp": "2026-11-23T09:04:14.9Z", "level": "INFO", "content": "a\nb", "deploymentId": "demo"}
    server.answer(200, {"logs": [entry], "last_index": 408}, X_Yorc_Index="408")
    lines, index = client.logs(305, 2.5, "demo")
    assert ([line.content for line in lines], index) == (["a\nb"], 408)
    server.answer(200, {"events": None, "last_index": 7})
    assert client.events(0, 0.0) == ([], 7)
    assert [path for _, path, _, _ in server.asked] == [
        "/deployments/demo/logs?index=305&wait=2500ms",
        "/events?index=0&wait=0ms",
    ]


def test_an_index(server: Server, client: YorcClient) -> None:
    server.answer(200, "", X_Yorc_Index="316")
    assert (client.log_index(), client.event_index()) == (316, 316)
    assert [(method, path) for method, path, _, _ in server.asked] == [("HEAD", "/logs"), ("HEAD", "/events")]
    server.answer(200)
    with pytest.raises(UpstreamFailed, match="index"):
        client.log_index()


def test_ids_cant_leave_their_place(server: Server, client: YorcClient) -> None:
    server.answer(404, error(404, "not_found"))
    for deployment in ("a/b", "a?b", "é"):
        with pytest.raises(Refusal):
            client.deployment(deployment)
    for nothing in ("", ".", ".."):
        with pytest.raises(ValueError, match="no id"):
            client.deployment(nothing)
    assert [path for _, path, _, _ in server.asked] == [
        "/deployments/a%2Fb",
        "/deployments/a%3Fb",
        "/deployments/%C3%A9",
    ]
