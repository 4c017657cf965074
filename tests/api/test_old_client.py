"""What the command `waas` of the service before this one sends, header for header: it goes on working.

It announces no type of content, says nothing of how long to wait for a log, gives up after a minute, takes every input
for a text, and with `logs --follow` never stops asking.
"""

from __future__ import annotations

import http.client
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from tests.service import make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Application, Environment, Input, Workflow, World
from tests.simulators.alien4cloud_worlds import ADMIN, USERS, WORKFLOWS

HANDLERS = "hpcwaas.api.following"
SHORT, LONG, TYPED = "Public@env@short_wf", "Public@env@long_wf", "Public@env@typed"


@dataclass(frozen=True)
class Old:
    """The old command, with a user's name and password."""

    host: str
    user: str

    def __call__(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Sends a request as Go's client does; gives the document, or of an answer without one its headers."""
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        length = {} if content is None else {"Content-Length": str(len(content))}
        headers = {
            "User-Agent": "Go-http-client/1.1",
            **length,
            "Accept": "application/json",
            "Authorization": f"Basic {b64encode(self.user.encode()).decode()}",
            "Accept-Encoding": "gzip",
        }
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(content)
            answer = connection.getresponse()
            document = answer.read()
            assert answer.status == status, document
            return json.loads(document) if document else answer.headers
        finally:
            connection.close()

    def trigger(self, workflow_id: str, inputs: dict[str, str] | None = None) -> str:
        """Starts an execution; gives its id as the old command finds it."""
        location: str = self("POST", f"/workflows/{workflow_id}", {"inputs": inputs}, 201)["Location"]
        return location.rpartition("/")[2]

    def logs(self, execution_id: str, start: int = 0, levels: int = 14) -> Any:
        """Asks for lines of a log."""
        return self("GET", f"/executions/{execution_id}/logs?from={start}&levels={levels}&size=50")

    def ended(self, execution_id: str) -> str:
        """Waits for the end of an execution, and of its log."""
        while (status := self("GET", f"/executions/{execution_id}")["status"]) in ("PENDING", "RUNNING"):
            time.sleep(0.05)
        while not self.logs(execution_id)["over"]:
            time.sleep(0.05)
        return str(status)


@pytest.fixture(scope="module")
def alien4cloud() -> Iterator[Simulator]:
    levels = ("INFO", "DEBUG")
    typed = {
        "text": Input(),
        "number": Input(type="integer"),
        "part": Input(type="float"),
        "yes": Input(type="boolean"),
    }
    workflows = (
        Workflow(name="short_wf", duration=0.5, log_rate=120, levels=levels, frame=False),
        Workflow(name="long_wf", duration=60, frame=False),
        Workflow(name="typed", inputs=typed, duration=0.1),
    )
    names = ",".join(workflow.name for workflow in workflows)
    applications = [
        Application(id="Public", tags=((WORKFLOWS, names),), workflows=workflows, environments=[Environment(id="env")]),
        Application(
            id="AliceOnly",
            tags=((WORKFLOWS, "short_wf"), (USERS, "alice")),
            workflows=workflows[:1],
            environments=[Environment(id="env-alice")],
        ),
    ]
    with pytest.MonkeyPatch.context() as patch, Simulator(World(applications, [ADMIN]), lag=0.1) as simulator:
        patch.setattr("hpcwaas.engines.alien4cloud.log_reader._SETTLED", 0.3)
        yield simulator


@pytest.fixture(scope="module")
def host(alien4cloud: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = make_settings(tmp_path_factory.mktemp("service"), alien_config={"address": alien4cloud.url})
    with serving(settings) as url:
        yield url.removeprefix("http://")


@pytest.fixture
def waas(host: str) -> Old:
    return Old(host, "alice:alice's password")


def test_workflows_list(waas: Old) -> None:
    found = waas("GET", "/workflows")["workflows"]
    assert {item["id"] for item in found} == {SHORT, LONG, TYPED, "AliceOnly@env-alice@short_wf"}
    members = {"id", "name", "application_id", "environment_id", "environment_name"}
    assert all(isinstance(item[member], str) for item in found for member in members)


def test_workflows_trigger_and_executions_status(waas: Old) -> None:
    execution = waas.trigger(SHORT)  # `{"inputs":null}`
    found = waas("GET", f"/executions/{execution}")
    assert (found["id"], found["status"]) == (execution, "PENDING") or found["status"] == "RUNNING"
    assert waas.ended(execution) == "SUCCEEDED"
    assert waas("GET", f"/executions/{execution}")["outputs"] == {"result": "result-of-short_wf"}


def test_inputs_are_texts(waas: Old, alien4cloud: Simulator) -> None:
    inputs = {"text": "x=y", "number": "12345678901234567890", "part": "1.5", "yes": "true"}
    assert waas.ended(waas.trigger(TYPED, inputs)) == "SUCCEEDED"
    (sent,) = (json.loads(call.body) for call in alien4cloud.calls() if call.path.endswith("/workflows/typed"))
    assert {name: str(value) for name, value in sent["inputs"].items()} == inputs


def test_executions_logs(waas: Old) -> None:
    execution = waas.trigger(SHORT)
    waas.ended(execution)
    page = waas.logs(execution)
    assert {name: type(page[name]) for name in ("logs", "total_results", "from")} == {
        "logs": list,
        "total_results": int,
        "from": int,
    }
    assert [(entry["level"], entry["content"]) for entry in page["logs"]][:2] == [
        ("INFO", "operation custom.run stdout: line 0"),
        ("INFO", "operation custom.run stdout: line 2"),
    ]
    assert all(datetime.fromisoformat(entry["timestamp"]).tzinfo for entry in page["logs"])
    first = waas.logs(execution, levels=15)
    rest = waas.logs(execution, start=len(first["logs"]), levels=15)
    assert (len(first["logs"]), len(rest["logs"]), rest["from"]) == (50, 10, 50)


def test_executions_logs_follow_gives_the_service_a_rest(waas: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{HANDLERS}._OLD_CLIENT_RESTS", 50)
    execution = waas.trigger(SHORT)
    waas.ended(execution)
    asked = time.monotonic()
    lines = len(waas.logs(execution)["logs"])
    assert time.monotonic() - asked < 40  # what there is comes at once
    monkeypatch.setattr(f"{HANDLERS}._OLD_CLIENT_RESTS", 1.5)
    for _ in range(2):
        asked = time.monotonic()
        assert waas.logs(execution, start=lines)["logs"] == []
        assert 1.45 < time.monotonic() - asked < 40


def test_executions_logs_follow_is_answered_before_it_gives_up(waas: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{HANDLERS}._OLD_CLIENT_WAITS", 0.6)
    execution = waas.trigger(LONG)
    asked = time.monotonic()
    page = waas.logs(execution)
    assert (page["logs"], page["total_results"], page["from"]) == ([], 0, 0)
    assert 0.55 < time.monotonic() - asked < 40
    waas("DELETE", f"/executions/{execution}", status=202)


def test_executions_cancel(waas: Old) -> None:
    execution = waas.trigger(LONG)
    while waas("GET", f"/executions/{execution}")["status"] != "RUNNING":
        time.sleep(0.05)
    assert waas("DELETE", f"/executions/{execution}", status=202)["Content-Length"] == "0"
    assert waas("GET", f"/executions/{execution}")["status"] in ("CANCELLING", "CANCELLED")


@pytest.mark.parametrize("body", [{}, {"metadata": {"a": "b", "c": "d", "privateKey": "x"}}])
def test_ssh_keys_key_gen(waas: Old, body: dict[str, Any]) -> None:
    made = waas("POST", "/ssh_keys", body, 201)
    assert made["id"]
    assert made["public_key"].endswith("\n")


@pytest.mark.parametrize(
    ("user", "method", "path", "status", "identifier"),
    [
        ("alice:bad", "GET", "/workflows", 401, "unauthorized"),
        ("alice:bad", "DELETE", "/executions/x", 401, "unauthorized"),
        ("alice:bad", "GET", "/executions/x/logs?from=0&levels=14&size=50", 401, "unauthorized"),
        ("alice:alice's password", "GET", "/executions/unknown-id", 404, "not_found"),
        ("alice:alice's password", "DELETE", "/executions/unknown-id", 404, "not_found"),
        ("alice:alice's password", "POST", "/workflows/Nope@e@w", 404, "not_found"),
        ("alice:alice's password", "POST", "/workflows/a@b@c", 404, "not_found"),
        ("bob:bob:pässword", "POST", "/workflows/AliceOnly@env-alice@short_wf", 404, "not_found"),
    ],
)
def test_errors(host: str, user: str, method: str, path: str, status: int, identifier: str) -> None:
    (error,) = Old(host, user)(method, path, {"inputs": None} if method == "POST" else None, status)["errors"]
    assert (error["id"], error["status"]) == (identifier, status)
    assert isinstance(error["title"], str)
    assert isinstance(error["detail"], str)
