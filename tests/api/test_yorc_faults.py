"""What users get through the API when Yorc, or the way to it, fails: nothing is lost or started twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.service import Client, as_user, make_settings, serving
from tests.simulators.faults import Fault, Kind
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_worlds import demo, jobs
from tests.upstream import executions, launches, problem
from tests.waiting import until

ENGINE = "hpcwaas.engines.yorc"
HELLO = "/workflows/demo-Environment@hello"
LAUNCH = "POST .*workflows/"
Serve = Callable[..., Client]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is waited for comes soon here."""
    for name, seconds in {
        "hpcwaas.engines.orchestrated.starting._SEARCH": 1.0,
        "hpcwaas.engines.orchestrated.starting._SEARCH_EVERY": 0.1,
        "hpcwaas.common.cached._FAILURE_COUNTS": 0.1,
        "hpcwaas.engines.orchestrated.reach._PROBE_EVERY": 0.1,
        f"{ENGINE}.polls.WAIT": 1.0,
        f"{ENGINE}.polls._LONGEST_PAUSE": 0.5,
        f"{ENGINE}.tracking._FRESH_EVENTS": 0.5,
        f"{ENGINE}.tracking._FRESH_POLLED": 0.5,
    }.items():
        monkeypatch.setattr(name, seconds)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator([demo(), jobs()]) as simulator:
        yield simulator


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a service before a Yorc and gives a user of it."""
    with contextlib.ExitStack() as stack:

        def serve(address: str, **settings: Any) -> Client:
            section = {
                "address": address,
                "publish": [{"deployments": ["*"], "workflows": ["*"]}],
                "connect_timeout": 1,
                "cache_seconds": 0.05,
                **settings,
            }
            return as_user(stack.enter_context(serving(make_settings(tmp_path, yorc=section))), "alice")

        yield serve


@pytest.fixture
def user(simulator: Simulator, serve: Serve) -> Client:
    return serve(simulator.url)


def running(user: Client, workflow: str, **inputs: Any) -> str:
    """An execution that runs."""
    path = user.trigger(workflow, **inputs)
    until(lambda: user("GET", path).json()["status"] == "RUNNING")
    return path


def test_a_refused_connection(serve: Serve, simulator: Simulator) -> None:
    nobody = serve(f"http://127.0.0.1:{free_port()}")
    assert "can't be reached" in problem(nobody("GET", "/workflows"), 503, "service_unavailable")
    problem(nobody("POST", HELLO, json={"inputs": {"who": "bob"}}), 503, "service_unavailable")
    assert executions(nobody) == []


@pytest.mark.parametrize(
    ("fault", "status", "identifier"),
    [
        (Fault("hang", "GET /deployments", seconds=3), 504, "gateway_timeout"),
        (Fault("reset", "GET /deployments"), 503, "service_unavailable"),
        (Fault("cut", "GET /deployments"), 502, "bad_gateway"),
        (Fault("truncate", "GET /deployments"), 502, "bad_gateway"),
        (Fault("trace", "GET /deployments"), 502, "bad_gateway"),
        (Fault("html", "GET /deployments"), 502, "bad_gateway"),
        (Fault("html", "GET /deployments", status=200), 502, "bad_gateway"),
        (Fault("html", "GET /deployments", status=503), 503, "service_unavailable"),
        (Fault("empty", "GET /deployments", status=500), 502, "bad_gateway"),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else None,
)
def test_a_list_that_fails(serve: Serve, simulator: Simulator, fault: Fault, status: int, identifier: str) -> None:
    user = serve(simulator.url, read_timeout=0.5 if status == 504 else 30)
    simulator.fault(fault)
    problem(user("GET", "/workflows"), status, identifier)
    simulator.heal()
    until(lambda: user("GET", "/workflows").status_code == 200)


def test_a_store_without_a_leader(user: Client, simulator: Simulator) -> None:
    path = running(user, "jobs@plain")
    simulator.no_leader()
    assert "no leader" in problem(user("POST", HELLO, json={"inputs": {"who": "bob"}}), 503, "service_unavailable")
    assert "no leader" in problem(user("DELETE", path), 503, "service_unavailable")
    until(lambda: "Warning" in user("GET", path).headers)
    assert user("GET", path).json()["status"] == "RUNNING"
    simulator.heal()
    assert user("DELETE", path).status_code == 202
    assert user.finished(path)["status"] == "CANCELLED"
    assert launches(simulator) == 1


@pytest.mark.parametrize("kind", ["hang", "reset", "html", "trace"])
def test_a_trigger_whose_answer_is_lost_is_found(serve: Serve, simulator: Simulator, kind: Kind) -> None:
    user = serve(simulator.url, read_timeout=2 if kind == "hang" else 30)
    simulator.fault(Fault(kind, LAUNCH, after=True, seconds=10, times=1))
    path = user.trigger("demo-Environment@hello", who="bob")
    assert user.finished(path)["outputs"] == {"greeting": "hello bob x2"}
    assert [f"/executions/{item['id']}" for item in executions(user)] == [path]
    assert launches(simulator) == 1


def test_a_lost_trigger_is_pending_until_the_keeper_finds_it(
    simulator: Simulator, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcwaas.engines.orchestrated.starting._SEARCH", 0.0)
    user = serve(simulator.url)
    simulator.fault(Fault("reset", LAUNCH, after=True, times=1))
    headers, body = {"Idempotency-Key": "once"}, {"inputs": {"who": "bob"}}
    answer = user("POST", HELLO, json=body, headers=headers)
    assert answer.status_code == 201
    path = answer.headers["Location"]
    assert user("GET", path).json()["status"] == "PENDING"
    assert user("POST", HELLO, json=body, headers=headers).headers["Location"] == path
    assert user.finished(path)["status"] == "SUCCEEDED"
    assert launches(simulator) == 1


def test_a_deployment_that_goes_away(user: Client, simulator: Simulator) -> None:
    path = running(user, "jobs@plain")
    until(lambda: user("GET", f"{path}/logs").json()["total_results"] > 3)
    simulator.remove("jobs")
    until(lambda: user("GET", path).json()["status"] == "UNKNOWN")
    assert "deployment was removed" in user("GET", path).json()["reason"]
    problem(user("POST", "/workflows/jobs@plain", json={}), 404, "not_found")
    assert "no trace" in problem(user("DELETE", path), 409, "conflict")
    log = user("GET", f"{path}/logs?timeout=30s&from=1000").json()
    assert (log["over"], log["total_results"] > 3) == (True, True)
    assert user("POST", f"{path}/close", json={"reason": "gone"}).json()["status"] == "CANCELLED"


def test_a_failure_is_told_and_resumed(user: Client, simulator: Simulator) -> None:
    path = user.trigger("demo-Environment@fail")
    failed = user.finished(path)
    assert failed["reason"] == 'Workflow "fail" step "Greeter_fail" failed; the log says more.'
    simulator.fail_script("demo-Environment", "custom.fail", fails=False)
    assert user("POST", f"{path}/resume").status_code == 202
    done = user.finished(path)
    assert (done["status"], done["reason"]) == ("SUCCEEDED", None)
    assert next(it["reason"] for it in done["attempts"]) == failed["reason"]
    problem(user("POST", f"{path}/resume"), 409, "conflict")


def test_what_goes_on_after_cancelling_is_said_at_once(user: Client) -> None:
    path = running(user, "jobs@plain")
    answer = user("DELETE", path)
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["Warning"].startswith('299 - "Yorc ends the workflow, and not the jobs')
    ended = user.finished(path)
    assert (ended["status"], "squeue --me" in ended["reason"]) == ("CANCELLED", True)
    assert user("DELETE", path).headers["Warning"] == answer.headers["Warning"]
    assert "Warning" not in user("DELETE", running(user, "jobs@cancellable")).headers


def test_operators_alone_read_the_entries_of_level_debug(user: Client) -> None:
    operator, friend = as_user(user.url, "root"), as_user(user.url, "bob")
    path = user.trigger("demo-Environment@fail")
    user.finished(path)
    assert user("PUT", f"{path}/shares", json={"users": ["bob"], "groups": []}).ok
    whole = operator("GET", f"{path}/logs?levels=15&timeout=30s").json()
    levels = [entry["level"] for entry in whole["logs"]]
    assert levels.count("DEBUG") > 0
    assert whole["total_results"] == len(levels)
    for reader in (user, friend):
        seen = reader("GET", f"{path}/logs?levels=15&timeout=30s").json()
        assert seen["logs"] == [entry for entry in whole["logs"] if entry["level"] != "DEBUG"]
        assert (seen["total_results"], seen["over"]) == (len(seen["logs"]), True)
        last = reader("GET", f"{path}/logs?levels=15&from={len(seen['logs']) - 2}&size=1").json()
        assert last["logs"] == seen["logs"][-2:-1]
        nothing = reader("GET", f"{path}/logs?levels=1&timeout=30s").json()
        assert (nothing["logs"], nothing["total_results"], nothing["over"]) == ([], 0, True)
    # Who follows isn't woken by what they don't see.
    slow = running(user, "demo-Environment@wait_long", seconds=600)
    until(lambda: operator("GET", f"{slow}/logs?levels=1").json()["total_results"] > 0)
    quiet = user("GET", f"{slow}/logs?levels=1&timeout=1s").json()
    assert (quiet["logs"], quiet["over"]) == ([], False)
    user("DELETE", slow)
