"""Executions that Alien4Cloud never will end are closed here, and what it says later still counts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_client import wait_for
from tests.simulators.alien4cloud_executions import Execution
from tests.simulators.alien4cloud_worlds import recorded

ENGINE = "hpcwaas.engines.alien4cloud"
RUN = "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@"
REASON = {"reason": " Alien4Cloud was killed. "}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{ENGINE}.tracking._FRESH_EVENTS", 0.3)
    monkeypatch.setattr(f"{ENGINE}.tracking._USABLE", 0.3)
    monkeypatch.setattr("hpcwaas.core.keeper._WATCH_EVERY", 0.3)
    monkeypatch.setattr(f"{ENGINE}.log_reader._SETTLED", 0.3)


@pytest.fixture(scope="module")
def alien4cloud() -> Iterator[Simulator]:
    with Simulator(recorded(duration=1.0), lag=0.1, cancel_time=0.3) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def alice(alien4cloud: Simulator, data: Path) -> Iterator[Client]:
    settings = make_settings(data, alien_config={"address": alien4cloud.url}, limits={"requests": None})
    with serving(settings) as url:
        yield as_user(url, "alice")


def stuck(alice: Client, alien4cloud: Simulator) -> tuple[str, Execution]:
    """An execution that Alien4Cloud takes for running, and the orchestrator knows to be done."""
    path = alice.trigger(f"{RUN}slow_job")
    execution = list(alien4cloud.executions.all.values())[-1]
    wait_for(lambda: alice("GET", path).json()["started_at"] is not None)
    execution.lost = True
    return path, execution


def unfinished(user: Client) -> int:
    used: int = user("GET", "/whoami").json()["limits"]["executions"]["used"]
    return used


def acts(data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data / "audit.jsonl").read_text().splitlines()]


def test_an_owner_closes_what_cannot_be_cancelled(alice: Client, alien4cloud: Simulator, data: Path) -> None:
    path, execution = stuck(alice, alien4cloud)
    before = unfinished(alice)
    assert alice("DELETE", path).status_code == 409
    answer = alice("POST", f"{path}/close", json=REASON)
    assert answer.status_code == 200, answer.text
    closed = alice("GET", path).json()
    assert closed["status"] == "CANCELLED"
    assert closed["ended_at"] is not None
    assert (closed["closed"]["by"], closed["closed"]["reason"]) == ("alice", "Alien4Cloud was killed.")
    assert closed["reason"] == "Closed by alice: Alien4Cloud was killed. The engine never reported how it ended."
    assert unfinished(alice) == before - 1
    assert alice("GET", f"{path}/logs?timeout=30s&from=1000").json()["over"]
    assert alice("POST", f"{path}/close", json=REASON).status_code == 409
    assert alice("DELETE", path).status_code == 202
    assert alice("POST", f"{path}/resume").status_code == 409
    assert path.rpartition("/")[2] in alice("GET", "/executions?status=CANCELLED").text
    act = next(it for it in acts(data) if it["operation"] == "closeExecution" and it["result"] == 200)
    assert (act["who"], act["reason"], act["status_before"]) == ("alice", "Alien4Cloud was killed.", "RUNNING")
    # What Alien4Cloud says later isn't lost.
    execution.lost, execution.status = False, "SUCCEEDED"
    execution.ended = execution.started + 1
    wait_for(lambda: alice("GET", path).json()["status"] == "SUCCEEDED")
    late = alice("GET", path).json()
    assert late["closed"]["by"] == "alice"
    assert late["ended_at"] is not None
    assert late["ended_at"] < closed["ended_at"]


def test_what_runs_is_cancelled_and_not_closed_by_its_owner(alice: Client, alien4cloud: Simulator) -> None:
    path = alice.trigger(f"{RUN}slow_job")
    wait_for(lambda: alice("GET", path).json()["started_at"] is not None)
    answer = alice("POST", f"{path}/close", json=REASON)
    assert answer.status_code == 409
    assert "was asked to cancel it" in answer.json()["detail"]
    assert alice.finished(path)["status"] == "CANCELLED"
    assert alice("GET", path).json()["closed"] is None


def test_an_operator_closes_any_and_others_none(alice: Client, alien4cloud: Simulator, data: Path) -> None:
    path = alice.trigger(f"{RUN}slow_job")
    bob, root = as_user(alice.url, "bob"), as_user(alice.url, "root")
    assert bob("POST", f"{path}/close", json=REASON).status_code == 404
    alice("PUT", f"{path}/shares", json={"users": ["bob"]})
    assert bob("POST", f"{path}/close", json=REASON).status_code == 403
    wait_for(lambda: alice("GET", path).json()["started_at"] is not None)
    assert root("POST", f"{path}/close", json=REASON).status_code == 200
    assert alice("GET", path).json()["closed"]["by"] == "root"
    act = [it for it in acts(data) if it["operation"] == "closeExecution"][-1]
    assert (act["who"], act["owner"]) == ("root", "alice")


def test_one_without_a_trace_is_closed(alice: Client, alien4cloud: Simulator) -> None:
    path = alice.trigger(f"{RUN}slow_job")
    execution = list(alien4cloud.executions.all.values())[-1]
    wait_for(lambda: execution.known)
    time.sleep(0.8)
    assert alice("GET", path).json()["started_at"] is not None  # Alien4Cloud has it on record, and then hasn't
    execution.known = False
    wait_for(lambda: alice("GET", path).json()["status"] == "UNKNOWN")
    assert alice("POST", f"{path}/close", json=REASON).status_code == 200
    assert alice("GET", path).json()["status"] == "CANCELLED"


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": 5}, None])
def test_a_reason_is_needed(alice: Client, body: Any) -> None:
    answer = alice("POST", "/executions/unknown/close", json=body)
    assert answer.status_code == 400
    assert alice("POST", "/executions/unknown/close", json=REASON).status_code == 404
