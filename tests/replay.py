"""What was recorded of the service that this one takes the place of, to be sent to this one."""

from __future__ import annotations

import http.client
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]

RECORDED = Path(__file__).parent / "data" / "original" / "rest.jsonl"
ROWS: dict[str, Row] = {row["name"]: row for row in map(json.loads, RECORDED.read_text("utf-8").splitlines())}


@dataclass(frozen=True)
class Answer:
    """What this service answers, and after how many seconds."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


class Replay:
    """Sends rows, with this service's ids of executions in place of the recorded ones."""

    def __init__(self, address: str) -> None:
        self._host = address.removeprefix("http://")
        self._ids: dict[str, str] = {}

    def send(self, row: Row) -> Answer:
        """Sends a row; where the recording shows a log or a status that takes time to come, as soon as it is there."""
        recorded, deadline = row["response"], time.monotonic() + 60
        while True:
            answer = self._send(row["request"])
            if self._arrived(row, answer) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if recorded["status"] == answer.status == 201 and "Location" in recorded["headers"]:
            self._ids[recorded["headers"]["Location"].split("/")[2]] = answer.headers["Location"].split("/")[2]
        return answer

    def _arrived(self, row: Row, answer: Answer) -> bool:
        recorded = row["response"]
        if row["request"]["method"] != "GET" or recorded["status"] != 200 or answer.status != 200:
            return True
        if not recorded["body"].startswith("{"):
            return True
        there, wanted = answer.json(), json.loads(recorded["body"])
        if wanted.get("logs"):
            return bool(there["total_results"] >= wanted["total_results"])
        return bool(there.get("status") == wanted["status"]) if "status" in wanted else True

    def _send(self, request: Row) -> Answer:
        path: str = request["path"]
        for recorded, ours in self._ids.items():
            path = path.replace(recorded, ours)
        connection = http.client.HTTPConnection(self._host, timeout=90)
        began = time.monotonic()
        try:
            connection.putrequest(request["method"], path, skip_accept_encoding=True)
            for name, value in request["headers"].items():
                connection.putheader(name, value)
            # The recording has U+FFFD where a byte was no UTF-8.
            connection.endheaders((request["body"] or "").encode().replace("\ufffd".encode(), b"\xff"))
            answer = connection.getresponse()
            return Answer(answer.status, answer.msg, answer.read(), time.monotonic() - began)
        finally:
            connection.close()


def check_problem(recorded: Row, answer: Answer) -> None:
    """A problem is JSON, in the recorded words but for its detail, and says nothing of what happened inside."""
    (error,) = answer.json()["errors"]
    assert error["status"] == answer.status
    assert error["detail"]
    if recorded["status"] == answer.status and recorded["body"].startswith("{"):
        (expected,) = json.loads(recorded["body"])["errors"]
        assert (error["id"], error["title"]) == (expected["id"], expected["title"])
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"].startswith(("Basic", "Bearer"))
    if answer.status == 503:
        assert int(answer.headers["Retry-After"]) > 0
    assert not any(word in answer.body for word in (b"java", b".go:", b"127.0.0.1", b"nginx"))


def check_document(name: str, recorded: Any, answer: Any) -> None:
    """Every recorded member is there; only what is mended has another value."""
    if "workflows" in recorded:
        user = USERS.get(ROWS[name]["request"]["headers"]["Authorization"], "alice")
        expected = {item["id"]: item for item in mended_list(recorded["workflows"] or [], user)}
        assert {item["id"]: {key: item[key] for key in MEMBERS} for item in answer["workflows"]} == expected
    elif "logs" in recorded:
        entries = [(item["level"], item["content"]) for item in recorded["logs"] or []]
        assert [(item["level"], item["content"]) for item in answer["logs"]][: len(entries)] == entries
        assert all(re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.\d{3}Z", item["timestamp"]) for item in answer["logs"])
        assert answer["from"] == recorded["from"]
        assert answer["total_results"] >= (recorded["total_results"] if entries else 0)
    elif "public_key" in recorded:
        assert answer["public_key"].startswith("ssh-")
        assert answer["public_key"].endswith("\n")
        assert answer["id"]
    else:
        assert answer["status"] == recorded["status"]
        assert answer["id"]


MEMBERS = ("id", "name", "application_id", "environment_id", "environment_name")
USERS = {"Basic Ym9iOmJvYnB3": "bob", "Basic Y2Fyb2w6cGE6c3Mgd8O2cmQ=": "carol"}


def mended_list(recorded: list[dict[str, str]], user: str) -> list[dict[str, str]]:
    """A recorded list with the blanks in tags left out of account, and without the workflow that has no name."""
    found = [item | {key: item[key].replace("@ ", "@").strip() for key in ("id", "name")} for item in recorded]
    if user == "bob":
        for name in ("exec_job", "second"):
            values = (f"AliceBobSpaces@env-abs@{name}", name, "AliceBobSpaces", "env-abs", "Environment")
            found.append(dict(zip(MEMBERS, values, strict=True)))
    return [item for item in found if item["name"]]
