"""The connection: retries, errors in words, credentials, TLS."""

from __future__ import annotations

import datetime
import http.server
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests
import responses
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from waas_cli import config
from waas_cli.client import Client
from waas_cli.errors import ExitCode, NotFound, Unreachable, WaasError
from waas_cli.retry import pause, retry_after
from waas_cli.urls import path

URL = "http://service.test/waas"


class Clock:
    def __init__(self) -> None:
        self.waits: list[float] = []
        self.notes: list[str] = []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(home: Path, clock: Clock) -> Client:
    found = config.load({"api_url": URL, "access_token": "s3cret"}, {})
    return Client(found, note=clock.notes.append, sleep=clock.waits.append)


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def test_get_is_tried_again(client: Client, clock: Clock, answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/x", body=requests.ConnectionError("reset"))
    answers.get(f"{URL}/x", status=502)
    answers.get(f"{URL}/x", status=503, headers={"Retry-After": "3"})
    answers.get(f"{URL}/x", json={"a": 1})
    assert client.ask("GET", "/x") == {"a": 1}
    assert clock.waits == [0.5, 1.0, 3.0]
    assert clock.notes == ["The service answered 503 Service Unavailable. Trying again in 3 seconds (try 4 of 4)."]


def test_how_long_it_will_try_is_said(client: Client, clock: Clock, answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/x", status=503, headers={"Retry-After": "5"}, json={"detail": "Down."})
    with pytest.raises(Unreachable):
        client.ask("GET", "/x")
    assert clock.waits == [5.0, 5.0, 5.0]
    assert clock.notes == [
        "Down. Trying again in 5 seconds (try 2 of 4; giving up in about 15 seconds).",
        "Down. Trying again in 5 seconds (try 3 of 4; giving up in about 10 seconds).",
        "Down. Trying again in 5 seconds (try 4 of 4).",
    ]


def test_a_wait_for_an_answer_is_said(
    client: Client, clock: Clock, answers: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waas_cli.client._SILENCE_SECONDS", 0.01)

    def slow(_: Any) -> tuple[int, dict[str, str], str]:
        time.sleep(0.2)
        return 200, {}, "{}"

    answers.add_callback("GET", f"{URL}/x", slow)
    client.request("GET", "/x", quiet=True)
    assert clock.notes == []
    client.ask("GET", "/x")
    assert clock.notes == [f"{URL} hasn't answered yet. Waiting up to 70 seconds."]


def test_not_for_ever(client: Client, clock: Clock, answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/x", status=503, json={"detail": "Down.", "request_id": "r-1"})
    with pytest.raises(Unreachable, match="Down") as failure:
        client.ask("GET", "/x")
    assert len(clock.waits) == 3
    assert "r-1" in str(failure.value.hint)


def test_not_when_the_service_asks_for_a_long_wait(
    client: Client, clock: Clock, answers: responses.RequestsMock
) -> None:
    answers.get(f"{URL}/x", status=503, headers={"Retry-After": "3600"})
    with pytest.raises(Unreachable) as failure:
        client.ask("GET", "/x")
    assert (clock.waits, failure.value.retry_after) == ([], 3600.0)


def test_other_requests_are_not_tried_again(client: Client, clock: Clock, answers: responses.RequestsMock) -> None:
    answers.post(f"{URL}/x", status=503)
    with pytest.raises(Unreachable):
        client.request("POST", "/x")
    answers.post(f"{URL}/y", body=requests.ConnectionError("reset"))
    with pytest.raises(Unreachable):
        client.request("POST", "/y")
    assert clock.waits == []


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, WaasError, ExitCode.USAGE),
        (401, WaasError, ExitCode.UNAUTHORIZED),
        (403, WaasError, ExitCode.UNAUTHORIZED),
        (404, NotFound, ExitCode.NOT_FOUND),
        (409, WaasError, ExitCode.ERROR),
        (500, WaasError, ExitCode.ERROR),
    ],
)
@pytest.mark.parametrize(
    "body",
    [{"detail": "So it is."}, {"errors": [{"detail": "So it is."}, {"title": "x"}]}, [1], None, {"errors": None}],
)
def test_errors_of_the_service(
    client: Client, answers: responses.RequestsMock, status: int, kind: type[WaasError], code: ExitCode, body: Any
) -> None:
    answers.get(f"{URL}/x", status=status, json=body)
    with pytest.raises(kind) as failure:
        client.ask("GET", "/x")
    assert failure.value.code == code
    assert ("So it is." if isinstance(body, dict) and body.get("errors", 1) else str(status)) in failure.value.message


def test_what_is_no_service(client: Client, answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/x", body="<html>")
    with pytest.raises(WaasError, match="isn't JSON") as failure:
        client.ask("GET", "/x")
    assert failure.value.hint == "Check that it is the address of the service."
    answers.get(f"{URL}/y", status=302, headers={"Location": "https://login"})
    with pytest.raises(WaasError, match="redirects to https://login"):
        client.ask("GET", "/y")


def test_a_slow_service(client: Client, clock: Clock, answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/x", body=requests.ReadTimeout("60"))
    with pytest.raises(Unreachable, match=r"http://service\.test/waas .* didn\'t answer in time"):
        client.ask("GET", "/x")
    assert clock.waits == []


def test_netrc_is_not_asked(
    client: Client, home: Path, answers: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".netrc").write_text("machine service.test login evil password evil\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    answers.get(f"{URL}/x", json={})
    client.ask("GET", "/x")
    assert answers.calls[0].request.headers["Authorization"] == "Bearer s3cret"
    anonymous = Client(config.load({"api_url": URL}, {}), note=print)
    anonymous.ask("GET", "/x")
    assert "Authorization" not in answers.calls[1].request.headers


def test_passwords_may_hold_colons_and_any_letters(home: Path, answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/x", json={})
    Client(config.load({"api_url": URL, "user": "zoë:a:b€"}, {}), note=print).ask("GET", "/x")
    assert answers.calls[0].request.headers["Authorization"] == "Basic em/DqzphOmLigqw="


def test_debug_traces_without_secrets(alice: Any, service: Any) -> None:
    result = alice("--debug", "-t", "s3cret-token", "workflows", "list", "-o", "json")
    assert result.json == service.workflows
    assert "s3cret" not in result.err
    notes = result.err
    assert "GET" in notes
    assert "Authorization: ***" in notes
    assert "< 200" in notes


def test_paths_are_quoted() -> None:
    assert path("workflows", "a b@c/d?e#f%") == "/workflows/a%20b@c%2Fd%3Fe%23f%25"
    for part in ("", ".", ".."):
        with pytest.raises(NotFound):
            path("workflows", part)


@pytest.mark.parametrize(("header", "seconds"), [(None, None), ("", None), ("7", 7.0), ("soon", None), ("-1", None)])
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_a_date() -> None:
    assert retry_after("Mon, 23 Nov 2020 10:00:00 GMT") == 0.0
    assert (retry_after("Mon, 23 Nov 2099 10:00:00 GMT") or 0) > 1e8


def test_pauses_grow_to_a_limit() -> None:
    assert [pause(attempt) for attempt in (1, 2, 3, 1000)] == [0.5, 1.0, 2.0, 10.0]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1", "Can't connect to http://127.0.0.1:1 (from the command line): connection refused."),
        ("http://nowhere.invalid", "the name of the host is unknown"),
    ],
)
def test_no_service(waas: Any, url: str, message: str) -> None:
    result = waas("workflows", "list", "--api_url", url, "-u", "alice:alicepw")
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert "alicepw" not in result.err
    as_json = waas("workflows", "list", "--api_url", url, "-u", "alice:alicepw", "-o", "json")
    assert (as_json.code, as_json.out) == (1, "")
    assert message in as_json.error["error"]


def test_no_service_named(waas: Any, answers: responses.RequestsMock) -> None:
    refused = requests.ConnectionError()
    refused.__cause__ = ConnectionRefusedError("nothing listens")
    answers.get("https://127.0.0.1:9090/workflows", body=refused)
    result = waas("workflows", "list", "-t", "t")
    assert "Can't connect to https://127.0.0.1:9090 (from the default): connection refused." in result.err
    assert "waas login --api_url URL" in result.err
    assert "HW_API_URL" in result.err


def test_https_to_a_plain_server(waas: Any, service: Any) -> None:
    result = waas("w", "--api_url", service.url.replace("http:", "https:"), "-u", "alice:alicepw")
    assert result.code == 1
    assert "begins with http://" in result.err


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(__import__("ipaddress").ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@pytest.fixture
def https(certificate: Path) -> Iterator[str]:
    """A service with TLS that wants a client certificate that it knows."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"workflows": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    server = Quiet(("127.0.0.1", 0), Empty)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("way", ["ca_file", "ca_path"])
def test_own_authority_and_client_certificate(
    waas: Any, https: str, certificate: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    (certificate.parent / "README").write_text("not a certificate")
    trusted = str(certificate if way == "ca_file" else certificate.parent)
    words = ["w", "-o", "json", "--api_url", https, f"--{way}", trusted, "--cert_file", str(certificate)]
    result = waas(*words, "--key-file", str(certificate))
    assert (result.code, result.out, result.err) == (0, "[]\n", "")
    assert waas(*words).code == 0
    assert waas(*words[:-2]).code == 1


def test_skip_tls_verify_is_loud(waas: Any, https: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    words = ["w", "-o", "json", "--api_url", https, "--cert_file", str(certificate)]
    result = waas(*words, "--skip_tls_verify")
    assert (result.code, result.out) == (0, "[]\n")
    assert "NOT checked" in result.err


def test_a_certificate_that_nobody_vouches_for(waas: Any, https: str) -> None:
    result = waas("w", "--api_url", https, "-t", "t")
    assert (result.code, result.out) == (1, "")
    assert "can't be trusted: self-signed certificate" in result.err
    assert "--ca_file" in result.err


def test_named_authorities_are_the_only_ones(
    waas: Any, https: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    words = ["w", "--api_url", https, "--cert_file", str(certificate)]
    assert waas(*words).code == 0
    assert waas(*words, "--ca_file", certifi.where()).code == 1


def test_files_without_a_certificate(waas: Any, https: str, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nonsense")
    for way, value in (("--ca_file", tmp_path / "x.pem"), ("--ca_path", tmp_path)):
        result = waas("w", "--api_url", https, way, str(value))
        assert result.code == 2
        assert "certificate" in result.err
