"""Event streams of executions and their logs."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from hpcwaas.errors import Unavailable
from hpcwaas.store.execution_store import ExecutionStore
from tests.event_streams import Stream, whole
from tests.service import Client, as_user, make_settings, serving
from tests.waiting import until

RUNNER = """\
import json, pathlib, subprocess, sys
job = json.loads(pathlib.Path(sys.argv[4]).read_text())
sys.exit(subprocess.run(["sh", "-c", job["message"]]).returncode or print("{}"))
"""
ACCEPT = {"Accept": "text/event-stream"}


class Gates:
    """Holds executions up until they are let go on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._number = 0

    def script(self, *lines: str, status: int = 0) -> tuple[str, list[Path]]:
        """A script that writes each line as soon as its gate is open, and ends behind one more."""
        gates = []
        parts = []
        for line in (*lines, None):
            self._number += 1
            gates.append(self.directory / f"gate{self._number}")
            parts.append(f"while [ ! -e {gates[-1]} ]; do sleep 0.05; done")
            if line is not None:
                parts.append(f"echo '{line}' >&2")
        return "; ".join([*parts, f"exit {status}"]), gates


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("streams")
    runner = gates.directory / "runner.py"
    runner.write_text(RUNNER)
    catalogue = Path(__file__).parent / "catalogue"
    cwl = {
        "catalogue": catalogue,
        "max_running": 8,
        "runner": {"command": ["python3", str(runner)]},
        "writable": [gates.directory],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcwaas.api.streaming.BEAT", 0.4)
        with serving(make_settings(directory, cwl=cwl)) as url:
            yield url


@pytest.fixture(scope="module")
def alice(url: str) -> Client:
    return as_user(url, "alice")


@pytest.fixture
def bob(url: str) -> Client:
    return as_user(url, "bob")


def contents(stream: Stream) -> list[str]:
    return [entry["content"] for entry in stream.of("log")]


def test_each_line_of_a_log_comes_once_and_then_the_end(alice: Client, gates: Gates) -> None:
    script, (first, second, last) = gates.script("one", "two")
    path = alice.trigger("echo", message=script)
    with Stream(alice, f"{path}/logs") as stream:
        until(lambda: "RUNNING" in [each["status"] for each in stream.of("execution")])
        first.touch()
        until(lambda: "one" in contents(stream))
        assert "two" not in contents(stream)
        second.touch()
        until(lambda: "two" in contents(stream))
        comments = stream.parser.comments
        until(lambda: stream.parser.comments > comments)  # nothing happens: a sign of life
        last.touch()
        end = stream.end()
    assert end == {"reason": "over", "status": "SUCCEEDED", "detail": None}
    page = alice("GET", f"{path}/logs?levels=14").json()
    assert stream.of("log") == page["logs"]
    told = [event for event in stream.events if event.kind == "log"]
    assert [event.last_id for event in told] == [str(entry["index"]) for entry in page["logs"]]
    assert stream.of("execution")[-1]["status"] == "SUCCEEDED"
    assert stream.events[-1].last_id == f"{page['logs'][-1]['index']}-end"
    assert stream.parser.retry
    headers = stream.answer.headers
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"], headers["Vary"]) == ("no-store", "no", "Accept")


def test_a_log_goes_on_behind_any_of_its_events(alice: Client, gates: Gates) -> None:
    script, ends = gates.script("one", "two", "three", status=3)
    for gate in ends:
        gate.touch()
    path = alice.trigger("echo", message=script)
    assert alice.finished(path)["status"] == "FAILED"
    for levels in (0, 8, 15):
        everything = [it for it in whole(alice, f"{path}/logs", levels=levels) if it.kind == "log"]
        assert everything or levels == 8
        for at, event in enumerate(everything):
            # Whatever levels were wanted before.
            rest = whole(alice, f"{path}/logs", event.last_id, levels=levels)
            assert [it for it in rest if it.kind == "log"] == everything[at + 1 :], (levels, event)
    last = whole(alice, f"{path}/logs")[-1]
    assert last.value["status"] == "FAILED"
    assert last.value["detail"]
    again = alice("GET", f"{path}/logs", headers={**ACCEPT, "Last-Event-ID": last.last_id})
    assert (again.status_code, again.content) == (204, b"")  # which tells browsers to leave it at that
    beyond = whole(alice, f"{path}/logs", "1000000")
    assert [it.kind for it in beyond] == ["execution", "end"]


def test_how_an_execution_changes(alice: Client, gates: Gates) -> None:
    script, (first, last) = gates.script("one")
    path = alice.trigger("echo", message=script)
    with Stream(alice, f"{path}/events") as stream:
        until(lambda: "RUNNING" in [each["status"] for each in stream.of("execution")])
        running = stream.events[-1].last_id
    with Stream(alice, f"{path}/events", running) as again, Stream(alice, f"{path}/events", "AAAAAAAA") as other:
        until(lambda: bool(other.events) and again.parser.comments > 1)
        assert again.of("execution") == []  # it knows
        assert other.of("execution")[0]["status"] == "RUNNING"
        first.touch()
        last.touch()
        assert again.end()["status"] == other.end()["status"] == "SUCCEEDED"
    ended = alice("GET", path).json()
    assert {name: ended[name] for name in again.of("execution")[-1]} == again.of("execution")[-1]
    for event in again.events[-2:]:
        answer = alice("GET", f"{path}/events", headers={**ACCEPT, "Last-Event-ID": event.last_id}, stream=True)
        assert answer.status_code == (204 if event.kind == "end" else 200)
        answer.close()


def test_all_executions_of_a_user_are_told_once_each_time_they_change(url: str, gates: Gates) -> None:
    carol = as_user(url, "carol")
    first, (first_gate,) = gates.script()
    second, (second_gate,) = gates.script(status=1)
    others = as_user(url, "bob").trigger("echo", message="true")
    with Stream(carol, "/executions/events") as stream:
        one = carol.trigger("echo", message=first).rpartition("/")[2]
        until(lambda: (one, "RUNNING") in seen(stream))
        place = stream.events[-1].last_id
    two = carol.trigger("echo", message=second).rpartition("/")[2]
    three = carol.trigger("echo", message="true").rpartition("/")[2]
    first_gate.touch()
    for name in (one, three):
        carol.finished(f"/executions/{name}")
    with Stream(carol, "/executions/events", place) as stream:
        until(lambda: {(one, "SUCCEEDED"), (two, "RUNNING"), (three, "SUCCEEDED")} <= {*seen(stream)})
        second_gate.touch()
        until(lambda: (two, "FAILED") in seen(stream))
        assert len(seen(stream)) == len({*seen(stream)})
        assert others.rpartition("/")[2] not in {name for name, _ in seen(stream)}
        place = stream.events[-1].last_id
    with Stream(carol, "/executions/events", place) as stream:
        until(lambda: stream.parser.comments > 1)
        assert stream.events == []


def seen(stream: Stream) -> list[tuple[str, str]]:
    return [(each["id"], each["status"]) for each in stream.of("execution")]


def test_who_may_read_no_longer_is_told_so(url: str, alice: Client, bob: Client, gates: Gates) -> None:
    script, ends = gates.script()
    path = alice.trigger("echo", message=script)
    assert alice("PUT", f"{path}/shares", json={"users": ["bob"]}).ok
    token = alice("POST", "/tokens", json={"name": "streams", "scopes": ["executions:read"]}).json()
    script_user = Client(url, {"Authorization": f"Bearer {token['token']}"})
    with ExitStack() as stack:
        paths = (f"{path}/logs", f"{path}/events", "/executions/events?shared=true")
        shared = [stack.enter_context(Stream(bob, each)) for each in paths]
        by_token = [stack.enter_context(Stream(script_user, each)) for each in paths[:2]]
        owner = stack.enter_context(Stream(alice, f"{path}/events"))
        until(lambda: all(stream.of("execution") for stream in shared))
        assert alice("DELETE", f"{path}/shares").ok
        assert [stream.end()["reason"] for stream in shared[:2]] == ["gone", "gone"]
        until(lambda: bool(shared[2].of("removed")))
        assert alice("DELETE", f"/tokens/{token['id']}").ok
        assert [stream.end()["reason"] for stream in by_token] == ["withdrawn", "withdrawn"]
        assert not owner.over
        ends[0].touch()
        assert owner.end()["reason"] == "over"


def test_a_stream_ends_with_the_deletion_of_its_execution(alice: Client, gates: Gates) -> None:
    script, ends = gates.script()
    path = alice.trigger("echo", message=script)
    ends[0].touch()
    alice.finished(path)
    assert alice("DELETE", path, params={"purge": "true"}).status_code in (202, 204)
    until(lambda: alice("GET", path).status_code == 404)
    for each in ("logs", "events"):
        assert alice("GET", f"{path}/{each}", headers=ACCEPT).status_code == 404


def test_trouble_behind_the_service_is_told_and_its_end(
    alice: Client, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, (first, last) = gates.script("late")
    path = alice.trigger("echo", message=script)
    with Stream(alice, f"{path}/events") as stream:
        until(lambda: bool(stream.of("execution")))
        with monkeypatch.context() as patch:

            def fail(_store: ExecutionStore, _ids: object) -> list[Any]:
                raise Unavailable("The database can't be reached.")

            patch.setattr(ExecutionStore, "those", fail)
            until(lambda: bool(stream.of("problem")))
            assert stream.of("problem")[0]["status"] == 503
        until(lambda: bool(stream.of("recovered")))
        first.touch()
        last.touch()
        assert stream.end()["status"] == "SUCCEEDED"
    assert len(stream.of("problem")) == 1


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        ("*/*", False),
        ("application/json", False),
        ("text/event-stream", True),
        ("text/event-stream, application/json", True),
        ("text/event-stream;q=0.4, application/json;q=0.5", False),
        ("text/event-stream;q=0, */*", False),
        ("TEXT/Event-Stream", True),
    ],
)
def test_who_gets_a_stream(alice: Client, accept: str, streamed: bool) -> None:
    path = alice.trigger("echo", message="true")
    answer = alice("GET", f"{path}/logs?timeout=0", headers={"Accept": accept}, stream=True)
    assert answer.headers["Content-Type"] == ("text/event-stream" if streamed else "application/json")
    assert answer.headers["Vary"] == "Accept"
    answer.close()


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream;q=0", "text/html"])
def test_streams_are_all_that_events_come_by(alice: Client, accept: str) -> None:
    path = alice.trigger("echo", message="true")
    for each in (f"{path}/events", "/executions/events"):
        answer = alice("GET", each, headers={"Accept": accept})
        assert answer.status_code == 406
        assert "text/event-stream" in answer.json()["detail"]


@pytest.mark.parametrize("last", ["x", "-1", "1-END", "3 4", "9" * 30])
def test_an_id_that_is_none_is_refused(alice: Client, last: str) -> None:
    path = alice.trigger("echo", message="true")
    for each in (f"{path}/logs", f"{path}/events", "/executions/events"):
        answer = alice("GET", each, headers={**ACCEPT, "Last-Event-ID": last})
        assert answer.status_code == 400, each
        assert "Last-Event-ID" in answer.json()["detail"]


def test_the_head_of_a_stream_is_all_of_a_head(alice: Client) -> None:
    path = alice.trigger("echo", message="true")
    for each in (f"{path}/logs", f"{path}/events", "/executions/events"):
        answer = alice("HEAD", each, headers=ACCEPT)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")


def test_a_client_of_http_1_0_gets_a_stream_that_the_connection_ends(alice: Client) -> None:
    path = alice.trigger("echo", message="echo it >&2")
    host, port = alice.url.removeprefix("http://").split(":")
    lines = [f"GET {path}/logs HTTP/1.0", "Accept: text/event-stream"]
    lines += [f"{name}: {value}" for name, value in alice.headers.items()]
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body.startswith(b"retry: ")
    assert b"event: end\n" in body.rpartition(b"id: ")[2]


def test_hundreds_of_streams_hold_no_thread_and_share_their_looks(
    alice: Client, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 300
    script, (gate, last) = gates.script("now")
    path = alice.trigger("echo", message=script)
    looks: list[int] = []
    usual = ExecutionStore.those

    def those(store: ExecutionStore, ids: Any) -> Any:
        looks.append(len(ids))
        return usual(store, ids)

    monkeypatch.setattr(ExecutionStore, "those", those)
    before = threading.active_count()
    with ExitStack() as stack:
        kinds = [f"{path}/logs", f"{path}/events", "/executions/events"]
        answers = []
        for number in range(count):
            answer = requests.get(
                alice.url + kinds[number % 3], headers={**alice.headers, **ACCEPT}, stream=True, timeout=60
            )
            assert answer.status_code == 200, answer.text
            stack.callback(answer.close)
            answers.append(answer)
        began, so_far = time.monotonic(), len(looks)
        until(lambda: len(looks) > so_far + 3)
        assert (len(looks) - so_far) <= (time.monotonic() - began) / 0.5 + 2
        assert {*looks} == {1}
        assert threading.active_count() < before + 30
        gate.touch()
        last.touch()
        for answer, kind in zip(answers, kinds * count, strict=False):
            ended, last_words = b"", b'"SUCCEEDED"' if kind == "/executions/events" else b"event: end"
            while last_words not in ended:
                ended += answer.raw.read1(65536)
            assert (b"now" in ended) is kind.endswith("logs")
    until(lambda: alice("GET", "/whoami").ok)


def test_who_does_not_read_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hpcwaas.api.streaming._PATIENCE", 0.5)
    caplog.set_level(logging.INFO, "hpcwaas.access")
    user = as_user(url, "alice")
    path = user.trigger("echo", message="seq 1 60000 | sed 's/$/ and a line that fills the buffers of sockets/' >&2")
    user.finished(path)
    host, port = url.removeprefix("http://").split(":")
    lines = [f"GET {path}/logs HTTP/1.1", "Host: here", "Accept: text/event-stream"]
    lines += [f"{name}: {value}" for name, value in user.headers.items()]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect((host, int(port)))
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        until(lambda: "getExecutionLogs" in [getattr(each, "operation", None) for each in caplog.records])
        got = 0
        try:
            while content := connection.recv(65536):
                got += len(content)
                assert b"event: end" not in content
        except ConnectionResetError:
            pass
    assert got < 8_000_000
