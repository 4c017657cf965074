"""What one user may have and do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from hpcwaas.configuration.settings import Settings
from tests.service import IDLE, Client, as_user, make_settings, serving


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("limits"), limits={"executions": 2})


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Callable[[str], Client]]:
    """A service with narrow limits."""
    with serving(settings) as url:
        yield lambda name: as_user(url, name)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("small"), limits={"stored": 1000})


@pytest.fixture(scope="module")
def small_service(small: Settings) -> Iterator[Callable[[str], Client]]:
    """A service in which nobody may store much."""
    with serving(small) as url:
        yield lambda name: as_user(url, name)


def used(client: Client, what: str) -> int:
    usage: int = client("GET", "/whoami").json()["limits"][what]["used"]
    return usage


def test_executions_that_have_not_ended(alice: Client, bob: Client) -> None:
    def trigger(client: Client, key: str, seconds: int = 60) -> requests.Response:
        inputs = {"inputs": {"seconds": seconds}}
        return client("POST", "/workflows/slow", json=inputs, headers={"Idempotency-Key": key})

    started = [trigger(alice, key) for key in ("a", "b")]
    assert [answer.status_code for answer in started] == [201, 201]
    refused = trigger(alice, "c")
    assert refused.status_code == 429
    detail = refused.json()["detail"]
    assert detail == "Your limit of executions that haven't ended is reached: 2. Wait for one to end, or cancel one."
    assert int(refused.headers["Retry-After"]) > 0
    assert used(alice, "executions") == 2
    again = trigger(alice, "b")  # a retry finds what it started
    assert again.headers["Location"] == started[1].headers["Location"]
    other = trigger(bob, "c")  # bob has limits of his own
    assert other.status_code == 201
    for answer, client in ((started[0], alice), (started[1], alice), (other, bob)):
        assert client("DELETE", answer.headers["Location"]).status_code == 202
    for answer in started:
        assert alice.finished(answer.headers["Location"])["status"] == "CANCELLED"
    assert used(alice, "executions") == 0
    assert alice.finished(trigger(alice, "c", 0).headers["Location"])["status"] == "SUCCEEDED"


def test_many_at_once_do_not_slip_under(service: Callable[[str], Client]) -> None:
    carol = service("carol")

    def trigger(_number: int) -> requests.Response:
        return carol("POST", "/workflows/slow", json={"inputs": {"seconds": 60}})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(trigger, range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [429] * 6
    for answer in answers:
        if answer.status_code == 201:
            carol("DELETE", answer.headers["Location"])
            carol.finished(answer.headers["Location"])


def test_resuming_counts_as_starting(service: Callable[[str], Client]) -> None:
    root = service("root")
    failed = root.trigger("fails")
    assert root.finished(failed)["status"] == "FAILED"
    started = [root.trigger("slow", seconds=60) for _ in range(2)]
    assert root("POST", f"{failed}/resume").status_code == 429
    for path in started:
        root("DELETE", path)
        root.finished(path)
    assert root("POST", f"{failed}/resume").status_code != 429


def test_stored_bytes(small_service: Callable[[str], Client]) -> None:
    alice, bob = small_service("alice"), small_service("bob")

    def upload(client: Client, size: int) -> requests.Response:
        return client("POST", "/files?name=a", data=b"x" * size)

    first = upload(alice, 600)
    assert first.status_code == 201
    refused = upload(alice, 401)
    assert refused.status_code == 429
    assert "600 bytes" in refused.json()["detail"]
    assert "1000" in refused.json()["detail"]
    assert refused.headers["Retry-After"] == "3600"
    assert upload(bob, 1000).status_code == 201
    assert used(alice, "stored") == 600
    second = upload(alice, 400)
    assert second.status_code == 201
    assert upload(alice, 1).status_code == 429
    dry = alice("POST", "/workflows/echo?dry_run=true", json={"inputs": {"message": "x"}})
    assert (dry.status_code, "another execution doesn't fit" in dry.text) == (429, True)
    assert upload(alice, 0).status_code == 201
    alice("DELETE", first.headers["Location"])
    assert used(alice, "stored") == 400
    assert upload(alice, 600).status_code == 201


def test_what_has_no_place_is_not_even_read(small_service: Callable[[str], Client]) -> None:
    alice = small_service("alice")
    address = urlsplit(alice.url)
    request = (
        f"POST /files?name=a HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 1001\r\n"
        f"Authorization: {alice.headers['Authorization']}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 429 ")


def test_two_uploads_at_once_do_not_slip_under(small_service: Callable[[str], Client], small: Settings) -> None:
    carol = small_service("carol")
    before = len(list(small.data_dir.joinpath("files").iterdir()))
    together = threading.Barrier(2)

    def content() -> Iterator[bytes]:
        yield b"x" * 300
        together.wait(timeout=60)  # both have begun, and there seemed to be room for each
        yield b"y" * 300

    def upload(_number: int) -> requests.Response:
        return carol("POST", "/files?name=a", data=content())

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(upload, range(2)))
    assert sorted(answer.status_code for answer in answers) == [201, 429]
    assert used(carol, "stored") == 600
    assert len(list(small.data_dir.joinpath("files").iterdir())) == before + 1


def test_requests_per_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(tmp_path, cwl=IDLE, limits={"requests": 10})
    with serving(settings) as url:
        alice, bob = as_user(url, "alice"), as_user(url, "bob")
        for path in ("/health/live", "/openapi.json", "/ui/", "/auth/methods", "/nothing"):
            for _ in range(5):
                alice("GET", path)  # whatever needs no credentials doesn't count
        wrong = Client(url, {"Authorization": "Basic YWxpY2U6d3Jvbmc="})
        for _ in range(3):
            assert wrong("GET", "/executions").status_code == 401  # nobody can use up what is another's
        # Not across the minute's end: what happened before it counts less and less.
        begin = time.time() // 60 * 60 + 70
        monkeypatch.setattr(time, "time", lambda: begin)
        answers: list[Any] = [alice("GET", "/whoami") for _ in range(10)]
        assert [answer.json()["limits"]["requests"]["used"] for answer in answers] == list(range(1, 11))
        refused = alice("GET", "/workflows")
        assert refused.status_code == 429
        wait = int(refused.headers["Retry-After"])
        assert 1 <= wait <= 60
        sentence = f"You have sent 10 requests in the last minute, which is the limit: wait {wait} second"
        assert refused.json()["detail"].startswith(sentence)
        assert bob("GET", "/workflows").status_code == 200
