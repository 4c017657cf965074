"""What users get through the API when Alien4Cloud, or the way to it, fails: nothing is lost or started twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.service import Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_client import wait_for
from tests.simulators.alien4cloud_worlds import many, recorded
from tests.simulators.faults import Fault, Kind
from tests.upstream import executions, launches, problem

ENGINE = "hpcwaas.engines.alien4cloud"
ENVIRONMENT = "5de4279f-d629-47ca-ac92-586a8cc534fd"
RUN = f"RecApp1@{ENVIRONMENT}@"
LAUNCH = "POST .*workflows/"
Serve = Callable[..., Client]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is waited for comes soon here."""
    for name, seconds in {
        "hpcwaas.engines.orchestrated.starting._SEARCH": 1.0,
        "hpcwaas.engines.orchestrated.starting._SEARCH_EVERY": 0.1,
        f"{ENGINE}.log_reader._SETTLED": 0.3,
        "hpcwaas.common.cached._FAILURE_COUNTS": 0.1,
        "hpcwaas.engines.orchestrated.reach._PROBE_EVERY": 0.1,
        f"{ENGINE}.tracking._FRESH_EVENTS": 0.5,
        f"{ENGINE}.tracking._FRESH_POLLED": 0.5,
    }.items():
        monkeypatch.setattr(name, seconds)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(recorded(duration=1.0), lag=0.1, cancel_time=0.3) as simulator:
        yield simulator


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a service before an Alien4Cloud and gives a user of it."""
    with contextlib.ExitStack() as stack:

        def serve(address: str, **settings: Any) -> Client:
            settings = {"address": address, "connect_timeout": 1, "read_timeout": 30, "cache_seconds": 0.05} | settings
            return as_user(stack.enter_context(serving(make_settings(tmp_path, alien_config=settings))), "alice")

        yield serve


@pytest.fixture
def user(simulator: Simulator, serve: Serve) -> Client:
    return serve(simulator.url)


def test_a_refused_connection(serve: Serve) -> None:
    user = serve(f"http://127.0.0.1:{free_port()}")
    assert "can't be reached" in problem(user("GET", "/workflows"), 503, "service_unavailable")
    problem(user("POST", f"/workflows/{RUN}slow_job", json={}), 503, "service_unavailable")
    assert executions(user) == []


def test_a_connection_refused_at_the_start(user: Client, simulator: Simulator) -> None:
    user("GET", f"/workflows/{RUN}slow_job")
    simulator.down()
    answer = user("POST", f"/workflows/{RUN}slow_job", json={}, headers={"Idempotency-Key": "k"})
    assert "can't be reached" in problem(answer, 503, "service_unavailable")
    assert executions(user) == []
    simulator.up()
    again = user("POST", f"/workflows/{RUN}slow_job", json={}, headers={"Idempotency-Key": "k"})
    assert again.status_code == 201, again.text
    assert launches(simulator) == 1


@pytest.mark.parametrize(
    ("fault", "status", "identifier"),
    [
        (Fault("hang", "applications/search", seconds=3), 504, "gateway_timeout"),
        (Fault("slow", "applications/search", seconds=3), 504, "gateway_timeout"),
        (Fault("reset", "applications/search"), 503, "service_unavailable"),
        (Fault("close", "applications/search"), 503, "service_unavailable"),
        (Fault("cut", "applications/search"), 502, "bad_gateway"),
        (Fault("truncate", "applications/search"), 502, "bad_gateway"),
        (Fault("trace", "applications/search"), 502, "bad_gateway"),
        (Fault("html", "applications/search"), 502, "bad_gateway"),
        (Fault("html", "applications/search", status=200), 502, "bad_gateway"),
        (Fault("html", "applications/search", status=503), 503, "service_unavailable"),
        (Fault("empty", "applications/search", status=500), 502, "bad_gateway"),
        (Fault("expired", "/rest/"), 502, "bad_gateway"),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else None,
)
def test_a_list_that_fails(serve: Serve, simulator: Simulator, fault: Fault, status: int, identifier: str) -> None:
    user = serve(simulator.url, read_timeout=0.5 if status == 504 else 30)
    simulator.fault(fault)
    problem(user("GET", "/workflows"), status, identifier)
    calls = simulator.call_count()
    assert calls <= 10  # no loop without bound
    simulator.heal()
    wait_for(lambda: user("GET", "/workflows").status_code == 200)
    assert len(user("GET", "/workflows").json()["workflows"]) == 4


def test_a_wrong_password(simulator: Simulator, serve: Serve) -> None:
    user = serve(simulator.url, password="mistyped")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: user("GET", "/workflows"), range(16)))
    details = {problem(answer, 503, "service_unavailable") for answer in answers}
    assert len(details) == 1
    assert "alien_config.password" in details.pop()
    assert not any("mistyped" in answer.text for answer in answers)
    ready = user("GET", "/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert sum(call.path == "/login" for call in simulator.calls()) <= 2


def test_a_list_is_served_stale_with_a_warning(user: Client, simulator: Simulator) -> None:
    fresh = user("GET", "/workflows")
    assert "Warning" not in fresh.headers
    simulator.down()
    wait_for(lambda: "Warning" in user("GET", "/workflows").headers)
    stale = user("GET", "/workflows")
    assert stale.status_code == 200
    assert stale.headers["Warning"].startswith('110 - "Response is Stale"')
    assert stale.json() == fresh.json()
    simulator.up()
    wait_for(lambda: "Warning" not in user("GET", "/workflows").headers)


def test_one_login_when_the_session_expires_under_64_requests(user: Client, simulator: Simulator) -> None:
    paths = [user.trigger(f"{RUN}slow_job") for _ in range(8)]
    user("GET", "/workflows")
    simulator.expire_sessions()
    simulator.forget_calls()
    with ThreadPoolExecutor(64) as pool:
        wanted = ["/workflows", *paths] * 8
        answers = list(pool.map(lambda path: user("GET", path), wanted[:64]))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(call.path == "/login" for call in simulator.calls()) == 1


def test_a_restart_during_executions(user: Client, simulator: Simulator) -> None:
    paths = [user.trigger(f"{RUN}fail_job"), user.trigger(f"{RUN}exec_job", user_id="alice")]
    simulator.restart(0.5)
    assert user("GET", paths[0]).status_code == 200
    assert [user.finished(path)["status"] for path in paths] == ["FAILED", "SUCCEEDED"]
    assert user("GET", f"{paths[1]}/logs?timeout=5s&levels=15").json()["total_results"] == 5
    assert launches(simulator) == 2


def test_lost_events(user: Client, simulator: Simulator) -> None:
    simulator.lose_events()
    execution = user.finished(user.trigger(f"{RUN}exec_job", user_id="alice"))
    assert execution["status"] == "SUCCEEDED"
    assert execution["outputs"] == {"result": "result-of-exec_job"}


def test_1200_applications(serve: Serve) -> None:
    with Simulator(many(1200)) as simulator:
        user = serve(simulator.url, cache_seconds=30)
        found = user("GET", "/workflows").json()["workflows"]
        assert len({item["id"] for item in found}) == 1200
        assert sum(call.method == "POST" and "/rest/" in call.path for call in simulator.calls()) == 4
        assert user("POST", f"/workflows/{found[-1]['id']}", json={}).status_code == 201


def test_an_application_deleted_between_two_calls(
    user: Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (
        "hpcwaas.common.cached",
        "hpcwaas.engines.orchestrated.published",
        "hpcwaas.engines.orchestrated.engine",
    ):
        monkeypatch.setattr(f"{place}.PATIENCE", 60)
    assert len(user("GET", "/workflows").json()["workflows"]) == 4
    simulator.fault(Fault("slow", "POST .*applications/search", seconds=2, times=1))
    time.sleep(0.4)
    simulator.forget_calls()
    with ThreadPoolExecutor(1) as pool:
        listing = pool.submit(user, "GET", "/workflows")
        # The page of applications is on its way, their environments haven't been asked for.
        wait_for(lambda: any("applications/search" in call.path for call in simulator.calls()))
        simulator.delete_application("RecApp1")
        answer = listing.result()
    assert answer.status_code == 200, answer.text
    assert [item["application_id"] for item in answer.json()["workflows"]] == ["RecApp2"]
    wait_for(lambda: user("POST", f"/workflows/{RUN}slow_job", json={}).status_code == 404)
    problem(user("POST", f"/workflows/{RUN}slow_job", json={}), 404, "not_found")


@pytest.mark.parametrize("skew", [-300.0, 300.0])
def test_clock_skew(serve: Serve, skew: float) -> None:
    world = recorded(duration=1.0)
    world.skew = skew
    with Simulator(world, lag=0.1) as simulator:
        user = serve(simulator.url)
        assert user.finished(user.trigger(f"{RUN}fail_job"))["status"] == "FAILED"
        simulator.fault(Fault("reset", LAUNCH, after=True, times=1))
        assert user.finished(user.trigger(f"{RUN}exec_job", user_id="alice"))["status"] == "SUCCEEDED"
        assert launches(simulator) == 2


@pytest.mark.parametrize("kind", ["hang", "reset", "cut", "html", "truncate", "trace"])
def test_a_trigger_whose_answer_is_lost_is_found(serve: Serve, simulator: Simulator, kind: Kind) -> None:
    user = serve(simulator.url, read_timeout=2 if kind == "hang" else 30)
    user("GET", f"/workflows/{RUN}exec_job")
    simulator.fault(Fault(kind, LAUNCH, after=True, seconds=10, times=1))
    path = user.trigger(f"{RUN}exec_job", user_id="alice")
    assert user.finished(path)["status"] == "SUCCEEDED"
    assert [f"/executions/{item['id']}" for item in executions(user)] == [path]
    assert launches(simulator) == 1


def test_a_lost_trigger_is_pending_until_the_keeper_finds_it(
    simulator: Simulator, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcwaas.engines.orchestrated.starting._SEARCH", 0.0)
    user = serve(simulator.url)
    user("GET", f"/workflows/{RUN}exec_job")
    simulator.fault(Fault("reset", LAUNCH, after=True, times=1))
    headers = {"Idempotency-Key": "once"}
    body = {"inputs": {"user_id": "alice"}}
    answer = user("POST", f"/workflows/{RUN}exec_job", json=body, headers=headers)
    assert answer.status_code == 201
    path = answer.headers["Location"]
    assert user("GET", path).json()["status"] == "PENDING"
    again = user("POST", f"/workflows/{RUN}exec_job", json=body, headers=headers)
    assert again.headers["Location"] == path
    problem(user("DELETE", path), 409, "conflict")  # it can't be cancelled before it is found
    assert user.finished(path)["status"] == "SUCCEEDED"
    assert launches(simulator) == 1


def test_a_trigger_that_never_arrived_is_not_sent_again(serve: Serve, simulator: Simulator) -> None:
    user = serve(simulator.url, read_timeout=2)
    user("GET", f"/workflows/{RUN}slow_job")
    simulator.fault(Fault("hang", LAUNCH, seconds=10, times=1))
    path = user.trigger(f"{RUN}slow_job")
    assert user("GET", path).json()["status"] == "PENDING"
    assert launches(simulator) == 1


def test_followers_wait_out_a_restart(user: Client, simulator: Simulator) -> None:
    path = user.trigger(f"{RUN}slow_job")
    wait_for(lambda: user("GET", path).json()["status"] == "RUNNING")
    position, over = 0, False
    simulator.restart(0.3)
    simulator.hurry(list(simulator.executions.all)[-1])
    while not over:
        page = user("GET", f"{path}/logs", params={"from": position, "timeout": "5s", "levels": 15}).json()
        assert [entry["index"] for entry in page["logs"]] == list(range(position, position + len(page["logs"])))
        position, over = position + len(page["logs"]), page["over"]
    assert (position, page["status"]) == (5, "SUCCEEDED")


def test_resume(user: Client, simulator: Simulator) -> None:
    running = user.trigger(f"{RUN}slow_job")
    assert "only one that has FAILED" in problem(user("POST", f"{running}/resume"), 409, "conflict")
    path = user.trigger(f"{RUN}fail_job")
    assert user.finished(path)["status"] == "FAILED"
    stranger = as_user(user.url, "bob")
    problem(stranger("POST", f"{path}/resume"), 404, "not_found")
    assert user("POST", f"{path}/resume").status_code == 202
    assert user.finished(path)["status"] == "SUCCEEDED"
    problem(user("POST", f"{path}/resume"), 409, "conflict")


def test_a_resumption_that_alien4cloud_refuses(user: Client, simulator: Simulator) -> None:
    path = user.trigger(f"{RUN}fail_job")
    user.finished(path)
    simulator.undeploy(ENVIRONMENT)
    assert "still deployed" in problem(user("POST", f"{path}/resume"), 409, "conflict")
    assert user("GET", path).json()["status"] == "FAILED"
    simulator.down()
    problem(user("POST", f"{path}/resume"), 503, "service_unavailable")
    problem(user("POST", "/executions/unknown/resume"), 404, "not_found")


def test_a_cancellation_that_gets_no_answer(user: Client, simulator: Simulator) -> None:
    path = user.trigger(f"{RUN}slow_job")
    wait_for(lambda: user("GET", path).json()["status"] == "RUNNING")
    simulator.down()
    problem(user("DELETE", path), 503, "service_unavailable")
    simulator.up()
    assert user("DELETE", path).status_code == 202
    assert user.finished(path)["status"] == "CANCELLED"
