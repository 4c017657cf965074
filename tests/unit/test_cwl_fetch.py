"""Downloads from a real server on this machine: complete or not at all, and never from a private address."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from hpcwaas.engines.cwl.inputs.fetch import FetchError, fetch
from hpcwaas.engines.cwl.inputs.networks import Networks


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        getattr(self, f"answer_{self.path.split('/')[1]}")()

    def answer_file(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x" * 100_000)

    def answer_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 10_000)

    def answer_slow(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def answer_short(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"x")

    def answer_missing(self) -> None:
        self.send_error(404)

    def answer_hop(self) -> None:
        left = int(self.path.split("/")[2])
        self.send_response(302)
        self.send_header("Location", f"/hop/{left - 1}" if left else "/file")
        self.send_header("Content-Length", str(10**12))
        self.end_headers()

    def answer_away(self) -> None:
        self.send_response(307)
        self.send_header("Location", "file:///etc/passwd")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what is tested."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.seen = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def anywhere(_: str) -> bool:
    return True


def url(server: Server, path: str) -> str:
    return f"http://user:secret@127.0.0.1:{server.server_port}{path}"


def refused(server: Server, path: str, target: Path, max_bytes: int = 10**6, timeout: float = 10) -> str:
    with pytest.raises(FetchError) as caught:
        fetch(url(server, path), target, max_bytes, timeout, anywhere)
    assert list(target.parent.iterdir()) == []
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_what_isn_t_wanted_any_more_is_broken_off(server: Server, tmp_path: Path) -> None:
    asked = iter((True, False))
    with pytest.raises(FetchError, match="isn't wanted any more"):
        fetch(url(server, "/file"), tmp_path / "a", 100_000, 10, anywhere, lambda: next(asked))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/file", "/hop/4"])
def test_files_arrive(server: Server, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    fetch(url(server, path), tmp_path / "a", 100_000, 10, anywhere)
    assert (tmp_path / "a").read_bytes() == b"x" * 100_000
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_too_much_is_refused(server: Server, tmp_path: Path) -> None:
    assert "larger than 99999 bytes" in refused(server, "/file", tmp_path / "a", 99_999)
    assert "larger than" in refused(server, "/endless", tmp_path / "a")


def test_time_is_limited_for_everything_together(server: Server, tmp_path: Path) -> None:
    start = time.monotonic()
    assert "not complete after 0.5 seconds" in refused(server, "/slow", tmp_path / "a", timeout=0.5)
    assert time.monotonic() - start < 60


def test_failures_are_told(server: Server, tmp_path: Path) -> None:
    assert "answered 404" in refused(server, "/missing", tmp_path / "a")
    assert "connection" in refused(server, "/short", tmp_path / "a")
    assert "more than 5 redirects" in refused(server, "/hop/6", tmp_path / "a")
    assert "file addresses" in refused(server, "/away", tmp_path / "a")


@pytest.mark.parametrize(
    "address", ["http://[/", "http:///x", "ftp://127.0.0.1/x", "http://a b/", "http://127.0.0.1:1/"]
)
def test_addresses_that_lead_nowhere(tmp_path: Path, address: str) -> None:
    with pytest.raises(FetchError):
        fetch(address, tmp_path / "a", 1, 5, anywhere)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0", "[::ffff:127.0.0.1]"])
def test_private_addresses_get_no_byte(server: Server, tmp_path: Path, scheme: str, host: str) -> None:
    with pytest.raises(FetchError, match=r"not one that files may come from"):
        fetch(f"{scheme}://{host}:{server.server_port}/file", tmp_path / "a", 10**6, 5, Networks().permit)
    assert server.seen == []  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_every_redirect_is_checked(server: Server, tmp_path: Path) -> None:
    asked: list[str] = []

    def first_only(address: str) -> bool:
        asked.append(address)
        return len(asked) == 1

    with pytest.raises(FetchError, match="not one that files may come from"):
        fetch(url(server, "/hop/1"), tmp_path / "a", 10**6, 5, first_only)
    assert asked == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "::7f00:1",
        "::ffff:0:7f00:1",
        "fec0::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "2001:db8::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not Networks().permit(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_addresses_that_are_public(address: str) -> None:
    assert Networks().permit(address)


OWN = "93.184.216.34"
NETWORKS = Networks(allowed=("10.1.0.0/16", "fd00:1::/32", "127.0.0.0/8", "93.184.0.0/16"), denied=("10.1.9.0/24",))


@pytest.fixture
def interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a public address."""
    found = {"eth0": [SimpleNamespace(family=socket.AF_INET, address=OWN)]}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)


@pytest.mark.usefixtures("interfaces")
@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("64:ff9b::a01:203", True),
        ("fd00:1::5", True),
        ("93.184.1.1", True),
        ("10.1.9.3", False),
        ("::ffff:10.1.9.3", False),
        ("2002:0a01:0903::1", False),
        ("10.2.0.1", False),
        ("8.8.8.8", False),
        ("127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        (OWN, False),
        (f"::ffff:{OWN}", False),
        ("64:ff9b::5db8:d822", False),
    ],
)
def test_networks_that_an_operator_allows_and_denies(address: str, permitted: bool) -> None:
    assert NETWORKS.permit(address) is permitted


@pytest.mark.usefixtures("interfaces")
def test_the_public_address_of_this_machine_is_no_place_to_fetch_from() -> None:
    assert not Networks().permit(OWN)
    assert Networks().permit("93.184.216.35")
    assert not Networks(denied=("93.184.216.35",)).permit("93.184.216.35")


def test_a_name_that_leads_elsewhere_the_second_time_is_asked_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    connected: list[str] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(FetchError):
        fetch(f"http://rebinding.test:{server.server_port}/file", tmp_path / "a", 10**6, 5, Networks().permit)
    assert connected == ["8.8.8.8"]
    assert server.seen == []  # type: ignore[attr-defined]
