"""Yorc behind TLS: who is let in, who is trusted, and which settings stop the start."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from hpcwaas.common.http import NoAnswer
from hpcwaas.engines.yorc.checks import problems
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.settings import PublicationSettings, YorcSettings
from hpcwaas.engines.yorc.transport import Transport
from hpcwaas.errors import ConfigurationError, Unavailable
from tests.certificates import Identity, identity

PUBLISH = (PublicationSettings(deployments=("*",), workflows=("*",)),)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b"" if self.command == "POST" else b'{"deployments": []}'
        self.send_response(200 if body else 201)
        self.send_header("Location", "/deployments/demo/tasks/1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the base class wants this name

    def log_message(self, *_: Any) -> None:
        return


class Server(http.server.ThreadingHTTPServer):
    """Lets in those with a certificate. The handshake is made in the connection's own thread."""

    daemon_threads = True

    def __init__(self, own: Identity, trusted: Path | None, version: ssl.TLSVersion | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*own)
        if trusted is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(trusted)
        if version is not None:
            context.maximum_version = version
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_: Any) -> None:
        return


@pytest.fixture(params=[None, ssl.TLSVersion.TLSv1_2], ids=["TLS 1.3", "TLS 1.2"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    known = identity(tmp_path, "known").certificate
    server = Server(identity(tmp_path, "server"), known, request.param)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def settings(address: str = "https://yorc.example.org:8800", **more: Any) -> YorcSettings:
    return YorcSettings(address=address, publish=PUBLISH, **more)


def client(server: Server, **more: Any) -> YorcClient:
    return YorcClient(Transport(settings(f"https://127.0.0.1:{server.server_address[1]}", **more)))


def test_a_certificate_opens(server: Server, tmp_path: Path) -> None:
    identity_ = {"client_certificate": tmp_path / "known.pem", "client_key": tmp_path / "known-key.pem"}
    yorc = client(server, ca_file=tmp_path / "server.pem", **identity_)
    assert yorc.deployments() == []
    assert yorc.run("demo", "hello", {}) == "1"
    yorc.transport.close()


@pytest.mark.parametrize("shown", [None, "stranger"])
def test_who_shows_no_known_certificate_reads_which_setting_to_check(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str | None
) -> None:
    monkeypatch.setattr("hpcwaas.common.http._PAUSE", 0.001)
    stranger = identity(tmp_path, "stranger")
    more = {} if shown is None else {"client_certificate": stranger.certificate, "client_key": stranger.key}
    yorc = client(server, ca_file=tmp_path / "server.pem", **more)
    with pytest.raises(Unavailable, match=r"yorc\.client_certificate"):
        yorc.deployments()
    with pytest.raises(NoAnswer) as caught:
        yorc.run("demo", "hello", {})
    assert isinstance(caught.value.error, Unavailable)
    yorc.transport.close()


def test_a_server_that_cant_be_trusted_is_sent_nothing(server: Server, tmp_path: Path) -> None:
    for ca_file in (None, tmp_path / "known.pem"):
        yorc = client(server, ca_file=ca_file)
        with pytest.raises(Unavailable, match=r"certificate of Yorc can't be verified: check yorc\.ca_file"):
            yorc.deployments()
        with pytest.raises(NoAnswer) as caught:
            yorc.run("demo", "hello", {})
        assert not caught.value.sent
        yorc.transport.close()


def test_a_server_that_doesnt_speak_tls(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yorc = YorcClient(Transport(settings(f"https://127.0.0.1:{server.server_address[1]}")))
    with pytest.raises(Unavailable, match="doesn't speak TLS"):
        yorc.deployments()
    yorc.transport.close()
    server.shutdown()
    server.server_close()
    thread.join()


def wrong(**more: Any) -> dict[str, str]:
    """What is wrong with settings; the start is stopped by the first of them."""
    given = settings(**more)
    found = dict(problems(given, False))
    if found:
        with pytest.raises(ConfigurationError) as caught:
            Transport(given)
        assert caught.value.key == f"yorc.{next(iter(found))}"
    return found


def test_files_that_are_right_stop_nothing(tmp_path: Path) -> None:
    own = identity(tmp_path, "own")
    assert wrong(ca_file=own.certificate, client_certificate=own.certificate, client_key=own.key) == {}
    own.key.chmod(0o640)
    assert wrong(client_certificate=own.certificate, client_key=own.key) == {}


def test_files_that_are_wrong_stop_the_start_by_the_settings_name(tmp_path: Path) -> None:
    own, other = identity(tmp_path, "own"), identity(tmp_path, "other")
    locked = identity(tmp_path, "locked", BestAvailableEncryption(b"secret"))
    empty, nonsense = tmp_path / "empty", tmp_path / "nonsense"
    empty.touch(0o600)
    nonsense.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\xff")
    nonsense.chmod(0o600)

    for path, word in ((tmp_path / "none", "there is no file"), (tmp_path, "is a directory"), (empty, "PEM")):
        assert word in wrong(ca_file=path)["ca_file"]
        assert word in wrong(client_certificate=path, client_key=own.key)["client_certificate"]
        assert word in wrong(client_certificate=own.certificate, client_key=path)["client_key"]
    assert "PEM" in wrong(ca_file=nonsense)["ca_file"]
    assert "PEM" in wrong(ca_file=own.key)["ca_file"]
    assert "PEM" in wrong(client_certificate=own.key, client_key=own.key)["client_certificate"]
    assert "PEM" in wrong(client_certificate=own.certificate, client_key=own.certificate)["client_key"]
    assert "isn't the key" in wrong(client_certificate=own.certificate, client_key=other.key)["client_key"]
    assert "passphrase" in wrong(client_certificate=locked.certificate, client_key=locked.key)["client_key"]
    assert wrong(client_certificate=own.certificate) == {"client_certificate": "needs `client_key` as well"}
    assert wrong(client_key=own.key) == {"client_key": "needs `client_certificate` as well"}


def test_a_key_is_kept_from_others(tmp_path: Path) -> None:
    own = identity(tmp_path, "own")
    for mode in (0o644, 0o602, 0o604):
        own.key.chmod(mode)
        found = wrong(client_certificate=own.certificate, client_key=own.key)
        assert "everybody on this machine" in found["client_key"]


def test_files_that_would_be_of_no_use(tmp_path: Path) -> None:
    own = identity(tmp_path, "own")
    more = {"ca_file": own.certificate, "client_certificate": own.certificate, "client_key": own.key}
    found = wrong(address="http://127.0.0.1:8800", **more)
    assert found.keys() == more.keys()
    assert all("https://" in problem for problem in found.values())
