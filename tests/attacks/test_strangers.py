"""Strangers, and users, who keep the service waiting: others are served meanwhile."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from hpcwaas.api.bodies import LARGEST_FORM
from hpcwaas.api.bodies import Patience as PatienceWithBodies
from hpcwaas.server.connections import Connections, Patience
from tests.attacks.crowd import Crowd, descriptors, times
from tests.e2e.processes import Service
from tests.service import IDLE, as_user, make_settings, serving

COUNT = 1500
FORMS = 4200
"""More than the requests that may be under way in a service with few threads."""

FORM = b"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service as an operator starts it."""
    descriptors(FORMS + 500)
    service = Service(tmp_path_factory.mktemp("service"), HWA_SERVER_THREADS="8")
    try:
        service.start()
        assert service.user("GET", "/workflows").status_code == 200  # the first look at the catalogue takes long
        yield service
    finally:
        service.end()


@pytest.mark.parametrize(
    ("count", "first", "more"),
    [
        pytest.param(FORMS, FORM + b"Content-Length: 1000\r\n\r\n", b"x", id="forms"),
        pytest.param(COUNT, FORM + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunks"),
        pytest.param(COUNT, b"GET /workflows HTTP/1.1\r\nHost: x\r\nX-Drip: ", b"x", id="heads"),
        pytest.param(COUNT, b"", b"", id="silence"),
        pytest.param(COUNT, b"GET /ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n", b"", id="answers-not-read"),
        pytest.param(
            COUNT,
            b"GET /executions/x/logs?timeout=60s HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST /workflows/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
            b"x",
            id="followers-without-credentials",
        ),
    ],
)
def test_thousands_of_slow_connections_hold_up_nobody(victim: Service, count: int, first: bytes, more: bytes) -> None:
    user = dict(victim.user.headers)
    with Crowd(victim.url, count, first, more).attacking():
        requests.get(f"{victim.url}/health/live", timeout=60)  # behind all that came at the same moment
        took = times(victim.url, 2, ("/workflows", user), ("/health/live", {}), ("/auth/methods", {}))
    assert statistics.median(took) < 10


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[str]:
    """A service that waits for nobody for long."""
    patience = Patience(head=1, stranger=1, idle=60, rest=0.5, slow=0.5, look=0.05)
    bodies = PatienceWithBodies(form=0.5, window=0.5)
    with serving(make_settings(tmp_path, cwl=IDLE), Connections((), patience), patience=bodies) as url:
        yield url


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that waits for everybody for long."""
    patience = Patience(head=300, stranger=300, idle=300, rest=300, slow=300)
    with serving(make_settings(tmp_path_factory.mktemp("patient"), cwl=IDLE), Connections((), patience)) as url:
        yield url


def connect(url: str) -> socket.socket:
    """A connection whose kernel keeps little."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", urlsplit(url).port or 0))
    return connection


def rest(connection: socket.socket) -> bytes:
    """What comes until the connection ends."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


def dripped(url: str, first: bytes, more: bytes, seconds: float = 60) -> tuple[float, int | None]:
    """Sends a byte now and then; gives how long that went well, and the status of the answer."""
    with connect(url) as connection:
        began = time.monotonic()
        connection.sendall(first)
        connection.settimeout(0.1)
        received = b""
        while time.monotonic() - began < seconds:
            try:
                received = connection.recv(65536)
                break
            except TimeoutError:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(more)
            except ConnectionError:
                break
        return time.monotonic() - began, int(received.split()[1]) if received else None


@pytest.mark.parametrize(
    ("first", "more", "status"),
    [
        pytest.param(b"", b"", None, id="silence"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n", 408, id="head"),
        pytest.param(b"\r\n", b"\r\n", 408, id="empty-lines"),
        pytest.param(FORM + b"Content-Length: 1000\r\n\r\n", b"x", 408, id="form"),
        pytest.param(FORM + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 408, id="chunks"),
        pytest.param(FORM + b"Transfer-Encoding: chunked\r\n\r\n5", b";x", 408, id="chunk-extension"),
        pytest.param(FORM + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n", 408, id="trailers"),
    ],
)
def test_what_drips_has_an_end(impatient: str, first: bytes, more: bytes, status: int | None) -> None:
    took, answered = dripped(impatient, first, more)
    assert 0.4 < took < 30
    assert answered == status


@pytest.mark.parametrize("path", ["/files?name=x", "/workflows/echo", "/ssh_keys", "/tokens"])
def test_a_users_body_has_a_lowest_rate(impatient: str, path: str) -> None:
    user = as_user(impatient, "alice").headers["Authorization"]
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {user}\r\nContent-Type: application/json\r\n"
    took, status = dripped(impatient, f"{head}Content-Length: 1000000\r\n\r\n".encode(), b"x")
    assert status == 408
    assert took < 30


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (FORM + b"Content-Length: %d\r\n\r\n" % (LARGEST_FORM + 1), 413),
        (FORM + b"Transfer-Encoding: chunked\r\n\r\n5000\r\n" + b"x" * 0x5000, 413),
        (b"GET /" + b"x" * 30_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_is_too_much_is_refused(patient: str, head: bytes, status: int) -> None:
    with connect(patient) as connection:
        connection.sendall(head)
        answer = rest(connection)
    assert int(answer.split()[1]) == status
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == status


def test_chunks_of_a_byte_are_refused(patient: str) -> None:
    user = as_user(patient, "alice").headers["Authorization"]
    with connect(patient) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(
            f"POST /files?name=x HTTP/1.1\r\nHost: x\r\nAuthorization: {user}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(100):
            connection.sendall(b"1\r\nx\r\n" * 1000)
        assert rest(connection).startswith(b"HTTP/1.1 400")
    assert as_user(patient, "alice")("GET", "/files").json()["files"] == []


@pytest.mark.parametrize("body", [b"", b"x" * 100])
def test_the_rest_of_a_body_that_was_refused_is_not_waited_for_without_end(impatient: str, body: bytes) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + body)
        assert rest(connection).startswith(b"HTTP/1.1 404")


def test_who_waits_for_leave_to_send_a_body_and_is_refused_cannot_have_the_next_request_taken_for_it(
    patient: str,
) -> None:
    with connect(patient) as connection:
        connection.sendall(b"POST /nope HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 404")


def test_an_output_that_is_not_taken_is_given_up(impatient: str) -> None:
    alice = as_user(impatient, "alice")
    threads = []
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connect(impatient))
            connection.sendall(
                b"GET /ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 17
            )  # more than kernels keep
            threads.append(connection)
        time.sleep(2)
        assert alice("GET", "/workflows").status_code == 200
        for connection in threads:
            rest(connection)  # which has an end


@pytest.mark.parametrize(("requests_sent", "answered"), [(10, 10), (200, 17)])
def test_requests_that_are_sent_ahead_are_answered_up_to_a_number(
    impatient: str, requests_sent: int, answered: int
) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(impatient) as connection:
        connection.sendall(request * requests_sent)
        assert rest(connection).count(b"HTTP/1.1 200") == answered


def test_nonsense_behind_a_request_is_not_the_answer_to_it(patient: str) -> None:
    with connect(patient) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        answers = rest(connection)
    assert answers.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answers
    assert answers.count(b"HTTP/1.1") == 1


def test_a_connection_of_a_user_may_rest_longer_than_a_strangers(impatient: str) -> None:
    alice = as_user(impatient, "alice")
    with requests.Session() as session:
        session.get(f"{impatient}/workflows", headers=dict(alice.headers), timeout=60)
        (pool,) = session.get_adapter(impatient).poolmanager.pools._container.values()  # type: ignore[attr-defined]
        time.sleep(1)
        session.get(f"{impatient}/workflows", headers=dict(alice.headers), timeout=60)
        assert pool.num_connections == 1


def test_each_address_and_all_strangers_have_a_share_of_the_connections(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, cwl=IDLE)
    with serving(settings, Connections((), most=20)) as url, contextlib.ExitStack() as stack:
        alice = as_user(url, "alice")
        first = stack.enter_context(connect(url))
        for _ in range(30):
            connection = stack.enter_context(connect(url))
            connection.sendall(b"GET /workflows HTTP/1.1\r\nHost: x\r\nX-Drip: ")
            assert alice("GET", "/workflows").status_code == 200
        assert rest(first) == b""
        assert requests.get(f"{url}/health/live", timeout=60).status_code == 200
        second = stack.enter_context(connect(url))
        second.sendall(b"GET /workflows HTTP/1.1\r\nHost: x\r\nX-Drip: ")
        for _ in range(30):
            stack.enter_context(connect(url))
        assert rest(second).startswith(b"HTTP/1.1 429")


def test_passwords_that_many_strangers_guess_hold_up_nobody(tmp_path: Path) -> None:
    """Each comes from an address of their own, so that no throttle of an address helps."""
    settings = make_settings(tmp_path, cwl=IDLE, server={"trusted_proxies": ["127.0.0.1"], "threads": 8})
    end, answered = threading.Event(), Counter[int]()

    def guess(stranger: int, url: str) -> None:
        attempt = 0
        while not end.is_set():
            attempt += 1
            credentials = (f"user-{stranger}-{attempt}", "guess")
            headers = {"X-Forwarded-For": f"10.{stranger}.{attempt // 250}.{attempt % 250}"}
            answered[requests.get(f"{url}/workflows", auth=credentials, headers=headers, timeout=60).status_code] += 1

    with serving(settings) as url, ThreadPoolExecutor(32) as pool:
        alice = as_user(url, "alice")
        assert alice("GET", "/workflows").status_code == 200
        strangers = [pool.submit(guess, stranger, url) for stranger in range(32)]
        try:
            took = times(url, 2, ("/workflows", dict(alice.headers)), ("/health/live", {}))
        finally:
            end.set()
        for stranger in strangers:
            stranger.result()
    assert answered[401] > 32
    assert set(answered) <= {401, 429, 503}
    assert statistics.median(took) < 10
