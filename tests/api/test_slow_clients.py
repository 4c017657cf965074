"""Clients that send or take nothing, or far too much, and what the others notice of it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from hpcwaas.api.bodies import Patience
from tests.service import IDLE, as_user, make_settings, serving
from tests.waiting import until


@pytest.fixture
def small(tmp_path: Path) -> Iterator[str]:
    """A service with few threads."""
    with serving(make_settings(tmp_path, cwl=IDLE, server={"threads": 8})) as url:
        yield url


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[str]:
    """A service with little patience."""
    with serving(make_settings(tmp_path, cwl=IDLE), patience=Patience(window=0.5)) as url:
        yield url


def connect(url: str) -> socket.socket:
    """Opens a connection to the service."""
    return socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=60)


def answer(connection: socket.socket) -> tuple[int, Any]:
    """Status and problem of an answer that closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_slow_uploads_take_a_share_of_the_threads_only(small: str) -> None:
    alice, bob = as_user(small, "alice"), as_user(small, "bob")
    head = (
        "POST /files?name=slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        f"Authorization: {alice.headers['Authorization']}\r\n\r\nxx"
    )
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(small)).sendall(head.encode())
        until(lambda: alice("POST", "/files?name=x", data=b"x").status_code == 429)
        assert requests.get(f"{small}/health/live", timeout=60).status_code == 200
        assert bob("GET", "/workflows").status_code == 200
        bob.upload("mine.txt", b"bob's")
        refused = alice("POST", "/files?name=x", data=b"x")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
    deadline = time.monotonic() + 60
    while alice("POST", "/files?name=x", data=b"x").status_code != 201:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("path", ["/files?name=x", "/workflows/echo", "/ssh_keys"])
def test_half_a_body_is_not_waited_for_without_end(impatient: str, path: str) -> None:
    authorization = as_user(impatient, "alice").headers["Authorization"]
    with connect(impatient) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: 100\r\nAuthorization: {authorization}\r\n\r\n{{".encode()
        )
        status, problem = answer(connection)
    assert (status, problem["errors"][0]["id"]) == (408, "request_timeout")


def test_a_head_without_end(small: str) -> None:
    with connect(small) as connection:
        connection.sendall(b"GET /workflows HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError):
            for index in range(200):
                connection.sendall(b"X-%d: %s\r\n" % (index, b"x" * 1000))
        status, problem = answer(connection)
    assert (status, problem["status"]) == (431, 431)


def test_what_is_no_http_gets_a_problem_too(small: str) -> None:
    with connect(small) as connection:
        connection.sendall(b"HELO there\r\n\r\n")
        status, problem = answer(connection)
    assert (status, problem["errors"][0]["id"]) == (400, "bad_request")


def test_large_inputs_make_listings_no_heavier(small: str) -> None:
    alice = as_user(small, "alice")
    for _ in range(3):
        alice.trigger("echo", message="x" * 250_000)
    listed = alice("GET", "/executions")
    assert len(listed.json()["executions"]) == 3
    assert len(listed.content) < 10_000
