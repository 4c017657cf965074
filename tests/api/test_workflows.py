"""`/workflows`: listing, details, triggering."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

KEPT = {"id", "name", "application_id", "environment_id", "environment_name"}


def test_lists_what_the_user_may_run(alice: Any, bob: Any) -> None:
    mine = alice("GET", "/workflows").json()["workflows"]
    assert [workflow["id"] for workflow in mine] == ["echo", "fails", "names", "slow", "values"]
    assert mine[0].keys() >= KEPT
    assert mine[0]["label"] == "Echo"
    assert "private" in {workflow["id"] for workflow in bob("GET", "/workflows").json()["workflows"]}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=ECHO", ["echo"]),
        ("q=writes message", ["echo"]),
        ("q=", ["echo", "fails", "names", "slow", "values"]),
        ("q=nope", []),
    ],
)
def test_searches(alice: Any, query: str, expected: list[str]) -> None:
    assert [item["id"] for item in alice("GET", f"/workflows?{query}").json()["workflows"]] == expected


def test_pages(alice: Any) -> None:
    first = alice("GET", "/workflows?limit=3").json()
    second = alice("GET", f"/workflows?limit=3&cursor={first['next_cursor']}").json()
    assert [item["id"] for page in (first, second) for item in page["workflows"]] == [
        "echo",
        "fails",
        "names",
        "slow",
        "values",
    ]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1_0", "limit=x", "limit=1001", "cursor=x", "cursor=W10", "cursor="]
)
def test_bad_queries(alice: Any, query: str) -> None:
    answer = alice("GET", f"/workflows?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["detail"]


def test_shows_inputs_outputs_and_steps(alice: Any) -> None:
    details = alice("GET", "/workflows/echo").json()
    assert details["inputs"]["required"] == ["message"]
    assert details["inputs"]["properties"]["times"]["default"] == 1
    assert details["inputs"]["properties"]["message"]["x-type"] == "string"
    assert {output["name"]: output["type"] for output in details["outputs"]} == {"text": "File", "size": "File"}
    assert {step["name"]: step["after"] for step in details["steps"]} == {"write": [], "count": ["write"]}


@pytest.mark.parametrize("workflow_id", ["private", "nope", "a@b@c", "a%40b%40c", "%F0%9F%92%A9", "x" * 900])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_foreign_and_unknown_workflows_say_the_same(alice: Any, method: str, workflow_id: str) -> None:
    answer = alice(method, f"/workflows/{workflow_id}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no such workflow."


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"inputs": null}', b'{"inputs": {}}', b'{"other": 1}'])
def test_no_inputs_in_all_spellings(alice: Any, body: bytes) -> None:
    answer = alice("POST", "/workflows/fails", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (201, b"", "0")
    assert answer.headers["Location"].startswith("/executions/")


def test_all_problems_of_the_inputs_at_once(alice: Any) -> None:
    answer = alice("POST", "/workflows/echo", json={"inputs": {"mesage": "x", "times": "three"}})
    assert answer.status_code == 400
    problems = {problem["input"]: problem for problem in answer.json()["inputs"]}
    assert problems.keys() == {"mesage", "message", "times"}
    assert problems["mesage"]["suggestion"] == "message"
    assert "three" in problems["times"]["given"]
    assert "int" in problems["times"]["expected"]
    for problem in problems.values():
        assert problem["detail"] in answer.json()["detail"]


def test_dry_run_checks_and_starts_nothing(alice: Any) -> None:
    before = alice("GET", "/executions?limit=1000").json()
    good = alice("POST", "/workflows/echo?dry_run=true", json={"inputs": {"message": "x"}})
    assert (good.status_code, good.json()["valid"]) == (200, True)
    assert alice("POST", "/workflows/echo?dry_run=true", json={"inputs": {}}).status_code == 400
    assert alice("POST", "/workflows/nope?dry_run=true").status_code == 404
    after = alice("GET", "/executions?limit=1000").json()
    assert {item["id"] for item in after["executions"]} == {item["id"] for item in before["executions"]}


def test_an_idempotency_key_starts_once(alice: Any, bob: Any) -> None:
    def trigger(client: Any, key: str, message: str = "once") -> Any:
        return client(
            "POST", "/workflows/echo", json={"inputs": {"message": message}}, headers={"Idempotency-Key": key}
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: trigger(alice, "key-1"), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert trigger(alice, "key-2").headers["Location"] != answers[0].headers["Location"]
    assert trigger(bob, "key-1").headers["Location"] != answers[0].headers["Location"]
    assert trigger(alice, "key-1", "another").status_code == 409


@pytest.mark.parametrize("key", ["", "with blank", "é", "x" * 256])
def test_bad_idempotency_keys(alice: Any, key: str) -> None:
    answer = alice("POST", "/workflows/fails", headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "../../etc/passwd",
        "file-0123456789abcdef0123456789abcdef",
        "http://127.0.0.1/",
        "https://example.org/x",
        "ftp://example.org/x",
        "data:,x",
    ],
)
def test_files_that_are_not_the_users_uploads_are_refused(alice: Any, location: str) -> None:
    for value in (location, {"class": "File", "location": location}, {"class": "File", "path": location}):
        answer = alice("POST", "/workflows/values", json={"inputs": {"file": value}})
        assert answer.status_code == 400, (value, answer.text)
        assert [problem["input"].split(".")[0] for problem in answer.json()["inputs"]] == ["file"]


def test_a_foreign_upload_is_refused_like_an_unknown_one(alice: Any, bob: Any) -> None:
    foreign = bob.upload("x.txt", b"bob's")
    unknown = "file-" + "0" * 32
    said = [
        alice("POST", "/workflows/values", json={"inputs": {"file": file}}).json()["detail"].replace(file, "ID")
        for file in (foreign, unknown)
    ]
    assert said[0] == said[1]


def test_ids_may_be_quoted(alice: Any) -> None:
    assert alice("GET", f"/workflows/{quote('echo'.replace('e', '%65', 1), safe='%')}").json()["id"] == "echo"
