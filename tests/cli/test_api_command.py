"""`waas api`: any request of the contract, with the errors and exit codes of the other commands."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest


def test_get_prints_the_answer(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", []))
    assert alice("api", "get", f"/executions/{execution}").json == service.executions[execution].details()
    assert alice("api", "GET", "/executions?limit=1", "-o", "yaml").out.startswith("executions:\n- id: ")
    (listed,) = service.sent("GET", "^/executions$")
    assert listed.query == {"limit": "1"}
    assert listed.headers["Authorization"].startswith("Basic ")


def test_post_sends_json(alice: Any, service: Any) -> None:
    workflow = service.workflows[0]["id"]
    result = alice("api", "POST", f"/workflows/{workflow}", "-d", '{"inputs": {"x": 1.10}}', "--include")
    assert (result.code, result.out) == (0, "")
    assert "201" in result.err
    assert "Location: /executions/" in result.err
    (sent,) = service.sent("POST", "^/workflows/")
    assert (sent.body, sent.headers["Content-Type"]) == (b'{"inputs": {"x": 1.10}}', "application/json")


def test_bodies_from_files_and_stdin(alice: Any, service: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x00\xff")
    assert alice("api", "POST", "/files?name=a.txt", "-d", f"@{tmp_path / 'a.txt'}", "-H", "X-Word: 1").code == 0
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"a": 1}'), isatty=lambda: False))
    assert alice("api", "POST", "/files?name=b", "-d", "@-").code == 0
    first, second = service.sent("POST", "^/files$")
    assert (first.body, first.headers["Content-Type"], first.headers["X-Word"]) == (
        b"\x00\xff",
        "application/octet-stream",
        "1",
    )
    assert (json.loads(second.body), second.headers["Content-Type"]) == ({"a": 1}, "application/json")


@pytest.mark.parametrize(("path", "code"), [("/executions/unknown", 5), ("/nothing", 5)])
def test_errors_are_those_of_other_commands(alice: Any, path: str, code: int) -> None:
    result = alice("api", "GET", path, "-o", "json")
    assert (result.code, result.out, result.error["exit_code"]) == (code, "", code)


@pytest.mark.parametrize(
    "wrong",
    ["executions", "https://evil.example/x", "//evil.example/x", "@evil.example", "/a b", "/../x", "/\\evil", "/x#y"],
)
def test_credentials_go_to_the_service_alone(alice: Any, service: Any, wrong: str) -> None:
    result = alice("api", "GET", wrong)
    assert result.code == 2
    assert not service.requests


@pytest.mark.parametrize(
    "options",
    [
        ["-d", "no json"],
        ["-d", "@/nowhere/at/all"],
        ["-H", "Authorization: x"],
        ["-H", "Host: x"],
        ["-H", "no colon"],
        ["-H", "bad name: x"],
        ["-H", "X: a\r\nY: b"],
    ],
)
def test_what_cannot_be_sent_is_refused(alice: Any, service: Any, options: list[str]) -> None:
    assert alice("api", "POST", "/files", *options).code == 2
    assert not service.requests


def test_a_post_is_sent_once(alice: Any, service: Any) -> None:
    service.trouble = [("POST", "/files", 503, {"Retry-After": "0"})]
    assert alice("api", "POST", "/files?name=a", "-d", "{}").code == 1
    assert len(service.sent("POST", "/files")) == 1
