"""How the session takes what a server may do that the simulator doesn't."""

from __future__ import annotations

import http.server
import ipaddress
import json
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from urllib3.exceptions import InsecureRequestWarning

from hpcwaas.common.http import NoAnswer
from hpcwaas.engines.alien4cloud import transport as module
from hpcwaas.engines.alien4cloud.faults import NO_RIGHTS, Refusal
from hpcwaas.engines.alien4cloud.settings import Alien4CloudSettings
from hpcwaas.engines.alien4cloud.transport import Transport
from hpcwaas.errors import ConfigurationError, Unavailable, UpstreamFailed, UpstreamTimeout


class Handler(http.server.BaseHTTPRequestHandler):
    """Logs everybody in, and answers what the path says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(302)
        self.send_header("Location", f"http://elsewhere{self.server.way}")  # type: ignore[attr-defined]
        self.send_header("Set-Cookie", "other=1, JSESSIONID=node0abc;Path=/;Expires=Thu, 01-Jan-2099 00:00:00 GMT")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        assert self.headers["Cookie"] == "JSESSIONID=node0abc"
        if self.path == "/drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            try:
                for _ in range(600):
                    self.wfile.write(b" " * 10)
                    time.sleep(0.1)
            except OSError:
                pass
            return
        if self.path.startswith("/chunked"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b'8\r\n{"data":\r\n' + b'10\r\n"x","error":null\r\n')
            self.wfile.write(b"5\r\n" if self.path == "/chunked-cut" else b"1\r\n}\r\n0\r\n\r\n")
            self.close_connection = True
            return
        status, document = {
            "/big": (200, {"data": 12345678901234567890, "error": None}),
            "/large": (200, {"data": "x" * 5000, "error": None}),
            "/deep": (200, "[" * 100_000),
            "/spring": (404, {"timestamp": 1, "status": 404, "error": "Not Found"}),
            "/moved": (302, ""),
            "/maintenance": (503, {"data": None, "error": {"code": 0, "message": "secret"}}),
            "/disabled": (500, {"data": None, "error": {"code": 370, "message": "secret"}}),
            "/forbidden": (403, {"data": None, "error": {"code": NO_RIGHTS, "message": "secret"}}),
            "/odd-error": (200, {"data": None, "error": "secret"}),
        }[self.path]
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


def certificate(directory: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.way = "/rest/auth/status"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def session(server: http.server.ThreadingHTTPServer, scheme: str = "http", **settings: Any) -> Transport:
    address = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    return Transport(Alien4CloudSettings(address=address, **settings))


def test_numbers_are_exact(server: http.server.ThreadingHTTPServer) -> None:
    assert session(server).call("GET", "/big") == 12345678901234567890


def test_bodies_in_chunks(server: http.server.ThreadingHTTPServer) -> None:
    assert session(server).call("GET", "/chunked") == "x"
    with pytest.raises(NoAnswer) as caught:
        session(server).call("GET", "/chunked-cut")
    assert (caught.value.sent, caught.value.again) == (True, True)


@pytest.mark.parametrize("path", ["/deep", "/spring", "/moved", "/odd-error"])
def test_nonsense(server: http.server.ThreadingHTTPServer, path: str) -> None:
    with pytest.raises(NoAnswer) as caught:
        session(server).call("GET", path)
    assert isinstance(caught.value.error, UpstreamFailed)
    assert (caught.value.sent, caught.value.again) == (True, False)
    assert "secret" not in caught.value.error.detail


@pytest.mark.parametrize(("path", "word"), [("/maintenance", "maintenance"), ("/disabled", "switched off")])
def test_down_for_a_reason(server: http.server.ThreadingHTTPServer, path: str, word: str) -> None:
    with pytest.raises(Unavailable, match=word):
        session(server).call("GET", path)


def test_missing_rights_are_no_reason_to_log_in_again(server: http.server.ThreadingHTTPServer) -> None:
    with pytest.raises(Refusal, match=r"alien_config\.user") as caught:
        session(server).call("GET", "/forbidden")
    assert (caught.value.code, caught.value.message) == (NO_RIGHTS, "secret")


def test_answers_are_bounded_in_size(server: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_ANSWER", 1000)
    with pytest.raises(NoAnswer, match="far too large"):
        session(server).call("GET", "/large")


def test_answers_are_bounded_in_time(server: http.server.ThreadingHTTPServer) -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswer) as caught:
        session(server, connect_timeout=0.2, read_timeout=0.3).call("GET", "/drip")
    assert isinstance(caught.value.error, UpstreamTimeout)
    assert time.monotonic() - began < 40


def test_something_else_at_the_address(server: http.server.ThreadingHTTPServer) -> None:
    server.way = "/somewhere"  # type: ignore[attr-defined]
    with pytest.raises(UpstreamFailed, match=r"alien_config\.address"):
        session(server).call("GET", "/big")


def test_certificates(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    assert session(server, "https", ca_file=path).call("GET", "/big")
    with pytest.raises(Unavailable, match=r"alien_config\.ca_file"):
        session(server, "https").call("GET", "/big")
    with pytest.raises(ConfigurationError, match="there is no file"):
        session(server, "https", ca_file=tmp_path / "nope.pem")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        assert session(server, "https", skip_secure=True).call("GET", "/big")
