"""`/files`: uploads."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.service import IDLE, as_user, make_settings, serving


def test_upload_look_and_delete(alice: Any, bob: Any) -> None:
    content = b"\x00\x01" * 500_000
    answer = alice("POST", "/files?name=data.bin", data=content, headers={"Content-Type": "image/png; x=y"})
    upload = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/files/{upload['id']}"
    assert (upload["name"], upload["size"], upload["owner"]) == ("data.bin", len(content), "alice")
    assert upload["sha256"] == hashlib.sha256(content).hexdigest()
    assert alice("GET", f"/files/{upload['id']}").json() == upload
    assert bob("GET", f"/files/{upload['id']}").status_code == 404
    assert bob("DELETE", f"/files/{upload['id']}").status_code == 404
    assert alice("DELETE", f"/files/{upload['id']}").status_code == 204
    assert alice("DELETE", f"/files/{upload['id']}").status_code == 404
    assert alice("GET", f"/files/{upload['id']}").json()["detail"] == bob("GET", "/files/nope").json()["detail"]


@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", "text/csv", None])
def test_the_content_is_taken_as_it_is_whatever_its_type(alice: Any, media_type: str | None) -> None:
    content = b"a=b&c=d {]" * 100_000
    headers = {"Content-Type": media_type} if media_type else {}
    upload = alice("POST", "/files?name=x", data=content, headers=headers).json()
    assert upload["sha256"] == hashlib.sha256(content).hexdigest()


def test_chunked(alice: Any) -> None:
    def chunks() -> Iterator[bytes]:
        for index in range(100):
            yield bytes([index]) * 10_000

    assert alice("POST", "/files?name=x", data=chunks()).json()["size"] == 1_000_000


def test_listing(alice: Any) -> None:
    ids = [alice.upload(f"list-{index}", b"x") for index in range(5)]
    page = alice("GET", "/files?limit=2").json()
    found = [item["id"] for item in page["files"]]
    while page["next_cursor"] and len(found) < 5:
        page = alice("GET", f"/files?limit=2&cursor={page['next_cursor']}").json()
        found += [item["id"] for item in page["files"]]
    assert found[:5] == ids[::-1]
    assert alice("GET", "/files?cursor=x").status_code == 400


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a\\b", "a\x00b", "a\nb", "x" * 256, "é" * 128])
def test_bad_names(alice: Any, name: str) -> None:
    answer = alice("POST", "/files", params={"name": name}, data=b"x")
    assert answer.status_code == 400
    assert "name" in answer.json()["detail"]


def test_a_form_is_refused_with_advice(alice: Any) -> None:
    answer = alice("POST", "/files?name=x", files={"file": b"x"})
    assert answer.status_code == 415
    assert "--data-binary" in answer.json()["detail"]


def test_limit_and_interruption_leave_nothing(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, cwl=IDLE, files={"max_size": "100kB"})
    with serving(settings) as url:
        alice = as_user(url, "alice")
        assert alice("POST", "/files?name=x", data=b"x" * 100_000).status_code == 201
        too_large = alice("POST", "/files?name=x", data=b"x" * 100_001)
        assert too_large.status_code == 413
        assert too_large.json()["errors"][0]["id"] == "payload_too_large"
        assert alice("POST", "/files?name=x", data=iter([b"x" * 60_000] * 2)).status_code == 413

        for head in (b"Content-Length: 50000", b"Transfer-Encoding: chunked"):
            with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
                connection.sendall(
                    b"POST /files?name=cut HTTP/1.1\r\nHost: x\r\nAuthorization: "
                    + alice.headers["Authorization"].encode()
                    + b"\r\n"
                    + head
                    + b"\r\n\r\n"
                    + (b"400\r\n" + b"x" * 0x400 + b"\r\n" if b"chunked" in head else b"x" * 1000)
                )
        assert [item["name"] for item in alice("GET", "/files").json()["files"]] == ["x"]
    assert len([path for path in (tmp_path / "files").rglob("*") if path.is_file()]) == 1
