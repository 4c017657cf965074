"""What would be ignored or guessed is refused by name, whatever the client."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from tests.api.test_http import check_problem
from tests.service import Client

BODY = b'{"inputs": {"message": "x"}}'
JSON = {"Content-Type": "application/json"}


def raw(user: Client, method: str, target: str, version: str, fields: Mapping[str, str], body: bytes = b"") -> bytes:
    """Sends bytes, and reads until the connection ends."""
    lines = [f"{method} {target} HTTP/{version}", "Host: x", *(f"{name}: {value}" for name, value in fields.items())]
    lines += [f"Authorization: {user.headers['Authorization']}", "", ""]
    with socket.create_connection(("127.0.0.1", urlsplit(user.url).port or 0), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("path", ["/files?name=x", "/workflows/echo", "/ssh_keys", "/tokens", "/auth/token"])
@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "GZIP"])
def test_encoded_bodies_are_refused_everywhere(alice: Client, path: str, coding: str) -> None:
    answer = alice("POST", path, data=gzip.compress(BODY), headers={**JSON, "Content-Encoding": coding})
    assert coding in check_problem(answer, 415, "unsupported_media_type")["detail"]
    assert answer.headers["Accept-Encoding"] == "identity"


def test_the_coding_that_changes_nothing_is_accepted(alice: Client) -> None:
    headers = {**JSON, "Content-Encoding": "identity"}
    assert alice("POST", "/workflows/echo?dry_run=true", data=BODY, headers=headers).status_code == 200


def test_an_unknown_expectation_is_refused(alice: Client) -> None:
    answer = alice("POST", "/workflows/echo", data=BODY, headers={**JSON, "Expect": "a miracle"})
    check_problem(answer, 417, "expectation_failed")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/workflows/echo"), ("POST", "/ssh_keys"), ("POST", "/tokens"), ("PUT", "/executions/x/shares")],
)
@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"twice": 1, "twice": 1}', "`twice`"),
        (b'{"a": {"twice": 1, "tw\\u0069ce": 2}}', "`twice`"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e400}', "`a`"),
        (b'{"a": ' + b"1" * 5000 + b"}", "too long"),
        (b'{"a": "\\ud800"}', "`a`"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_json_is_read_strictly_everywhere(alice: Client, method: str, path: str, body: bytes, named: str) -> None:
    answer = alice(method, path, data=body, headers=JSON)
    assert named in check_problem(answer, 400, "bad_request")["detail"]


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/executions?limit=1&limit=2", "`limit`"),
        ("/executions?workflow=%ff", "`workflow`"),
        ("/executions?workflow=a%zz", "`%zz`"),
        ("/executions?workflow=%00", "NUL"),
        ("/workflows/%ff", "%FF"),
        ("/workflows/%ed%a0%80", "UTF-8"),
        ("/workflows/50%", "`%`"),
    ],
)
def test_addresses_are_read_strictly(alice: Client, target: str, named: str) -> None:
    answer = raw(alice, "GET", target, "1.1", {"Connection": "close"})
    assert answer.startswith(b"HTTP/1.1 400")
    assert named in answer.decode()


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key", "Host"])
def test_a_header_that_is_one_stands_there_once(alice: Client, name: str) -> None:
    given = {name: "x", name.lower(): "y", "Connection": "close"}
    answer = raw(alice, "POST", "/workflows/echo", "1.1", given)
    assert answer.startswith(b"HTTP/1.1 400")
    assert name in answer.decode()


@pytest.mark.parametrize(
    ("version", "fields", "status"),
    [
        ("1.1", {"Transfer-Encoding": "chunked", "Content-Length": "28"}, 400),
        ("1.1", {"Content-Length": "28", "Transfer-Encoding": "chunked"}, 400),
        ("1.1", {"Content-Length": "28", "content-length": "28"}, 400),
        ("1.1", {"Content-Length": "+28"}, 400),
        ("1.1", {"Content-Length ": "28"}, 400),
        ("1.1", {"Transfer-Encoding": "gzip, chunked"}, 501),
        ("1.1", {"Transfer-Encoding": "gzip"}, 501),
        ("1.1", {"Transfer-Encoding": "chunked, chunked"}, 400),
        ("1.0", {"Transfer-Encoding": "chunked"}, 400),
        ("1.1", {"Connection": "upgrade", "Upgrade": "h2c", "Content-Length": "28"}, 501),
        ("2.0", {}, 505),
    ],
)
def test_what_a_proxy_might_understand_in_another_way_is_refused(
    alice: Client, version: str, fields: dict[str, str], status: int
) -> None:
    answer = raw(alice, "POST", "/workflows/echo?dry_run=true", version, fields | JSON, BODY)
    assert int(answer.split()[1]) == status
    assert answer.count(b"\r\n\r\n") == 1


def test_trailers_and_names_with_underscores_mean_nothing(alice: Client) -> None:
    fields = {"Transfer-Encoding": "chunked", "X_Hpcwaas_Upload_Type": "text/evil", "Connection": "close"}
    body = b"1\r\nx\r\n0\r\nX-Hpcwaas-Upload-Type: text/worse\r\n\r\n"
    answer = raw(alice, "POST", "/files?name=x", "1.1", fields, body)
    assert answer.startswith(b"HTTP/1.1 201")
    assert b"evil" not in answer
    assert b"worse" not in answer


@pytest.mark.parametrize("credentials", ["Bearer abc\tdef", "Bearer abc def", "Basic YWxp Y2U6eA=="])
def test_white_space_in_credentials_is_named(alice: Client, credentials: str) -> None:
    answer = alice("GET", "/workflows", headers={"Authorization": credentials})
    assert "white space" in check_problem(answer, 401, "unauthorized")["detail"]


def test_white_space_around_credentials_is_none_of_theirs(alice: Client) -> None:
    scheme, _, credentials = alice.headers["Authorization"].partition(" ")
    assert alice("GET", "/workflows", headers={"Authorization": f"{scheme}   {credentials}  "}).status_code == 200
