"""Many documents of one server at once: whatever a server does, nothing waits for ever, and what failed is known."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcwaas.engines.yorc.at_once import fetch
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.faults import NO_LEADER, Refusal
from hpcwaas.engines.yorc.settings import PublicationSettings, YorcSettings
from hpcwaas.engines.yorc.transport import Transport
from hpcwaas.errors import ServiceError, Unavailable
from tests.certificates import identity
from tests.ports import free_port
from tests.simulators.faults import Fault, Kind
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_state import Script
from tests.simulators.yorc_worlds import failed, many
from tests.unit.test_yorc_tls import Server

COUNT = 60
NAMES = [f"App{number:04}" for number in range(COUNT)]
WORKFLOWS = ["exec_job", "install", "uninstall"]


@pytest.fixture
def yorc() -> Iterator[Simulator]:
    with Simulator([*many(COUNT, Script()), failed("broken")]) as simulator:
        yield simulator


@pytest.fixture
def client(yorc: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[YorcClient]:
    monkeypatch.setattr("hpcwaas.common.http._PAUSE", 0.001)
    found = of(yorc.url)
    yield found
    found.transport.close()


def of(url: str) -> YorcClient:
    publish = (PublicationSettings(deployments=("*",), workflows=("*",)),)
    return YorcClient(Transport(YorcSettings(address=url, publish=publish, connect_timeout=1, read_timeout=20)))


def as_it_is(_path: str, body: bytes) -> bytes:
    return body


def test_all_are_asked_for_once(yorc: Simulator, client: YorcClient) -> None:
    assert client.workflow_names_of([*NAMES, "broken", NAMES[0]]) == dict.fromkeys(NAMES, WORKFLOWS) | {"broken": []}
    assert yorc.call_count() == COUNT + 1
    assert client.workflow_names_of([]) == {}


def test_few_connections_serve_many(yorc: Simulator, client: YorcClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.engines.yorc.at_once.CONNECTIONS", 2)
    assert client.workflow_names_of(NAMES) == dict.fromkeys(NAMES, WORKFLOWS)
    by_port = Counter(call.port for call in yorc.calls())
    assert sorted(by_port.values()) == [COUNT // 2, COUNT // 2]


def test_what_isnt_there_is_known(client: YorcClient) -> None:
    found = client.workflow_names_of([*NAMES, "gone"])
    gone = found.pop("gone")
    assert isinstance(gone, Refusal)
    assert gone.unknown
    assert found == dict.fromkeys(NAMES, WORKFLOWS)


@pytest.mark.parametrize("kind", ["close", "reset", "cut", "truncate", "html", "empty", "trace"])
def test_what_goes_wrong_for_some_is_asked_for_again(yorc: Simulator, client: YorcClient, kind: Kind) -> None:
    yorc.fault(Fault(kind, "App00[1-3]", times=7))
    assert client.workflow_names_of(NAMES) == dict.fromkeys(NAMES, WORKFLOWS)


def test_a_server_that_is_down_is_asked_a_few_times_only(yorc: Simulator, client: YorcClient) -> None:
    yorc.down()
    found = client.workflow_names_of(NAMES)
    assert all(isinstance(error, Unavailable) for error in found.values())
    assert found.keys() == set(NAMES)


def test_a_store_without_a_leader(yorc: Simulator, client: YorcClient) -> None:
    yorc.no_leader()
    found = client.workflow_names_of(NAMES)
    assert {error.detail for error in found.values() if isinstance(error, ServiceError)} == {NO_LEADER}
    assert yorc.call_count() <= COUNT + 3


def test_nobody_waits_longer_than_for_any_call(yorc: Simulator) -> None:
    yorc.fault(Fault("hang"))
    paths = [f"/deployments/{name}/workflows" for name in NAMES]
    began = time.monotonic()
    assert fetch(yorc.url, paths, None, 0.5, as_it_is) == {}
    assert time.monotonic() - began < 30


@contextlib.contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that answers every connection as it is told."""
    listener = socket.create_server(("127.0.0.1", free_port()), backlog=512)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_connections_that_are_closed_after_each_answer() -> None:
    def answer(connection: socket.socket) -> None:
        request = connection.recv(65536).split(b"\r\n")[0].split(b" ")[1]
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(request) + request
        )

    paths = [f"/a/{number}" for number in range(40)]
    with raw(answer) as url:
        assert fetch(f"{url}/before/", paths, None, 60, as_it_is) == {path: f"/before{path}".encode() for path in paths}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00\xff nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
    ],
)
def test_servers_that_dont_speak_http(said: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    with raw(answer) as url:
        assert fetch(url, ["/a", "/b"], None, 60, as_it_is) == {}


def test_more_in_one_piece_than_one_answer() -> None:
    def answer(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"
            )

    with raw(answer) as url:
        found = fetch(url, ["/a"], None, 60, as_it_is)
    assert found == {}


def test_an_answer_without_an_end_is_taken_no_further() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:  # until the other side has hung up
            connection.sendall(b"1000\r\n" + 4096 * b"a" + b"\r\n")

    with raw(answer) as url:
        assert fetch(url, ["/a"], None, 60, as_it_is) == {}


def test_with_a_certificate(tmp_path: Path) -> None:
    own = identity(tmp_path, "server")
    known = identity(tmp_path, "known")
    server = Server(own, known.certificate, None)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    more = {"client_certificate": known.certificate, "client_key": known.key, "ca_file": own.certificate}
    publish = (PublicationSettings(deployments=("*",), workflows=("*",)),)
    transport = Transport(YorcSettings(address=url, publish=publish, **more))
    context = transport._tls()
    assert isinstance(context, ssl.SSLContext)
    assert fetch(url, ["/a", "/b", "/c"], context, 60, as_it_is) == dict.fromkeys(
        ("/a", "/b", "/c"), b'{"deployments": []}'
    )
    assert fetch(url, ["/a", "/b"], ssl.create_default_context(), 60, as_it_is) == {}
    transport.close()
    server.shutdown()
    server.server_close()
    thread.join()
