"""What the simulator of Alien4Cloud does beyond the recordings: caps, checks, faults, restarts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from tests.simulators.alien4cloud import Simulator, SimulatorProcess
from tests.simulators.alien4cloud_client import login, wait_for
from tests.simulators.alien4cloud_state import Application, Environment, Input, Step, Workflow
from tests.simulators.alien4cloud_worlds import many, original
from tests.simulators.faults import Fault, Kind


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(original(duration=0.3), lag=0.01) as simulator:
        yield simulator


@pytest.fixture
def api(simulator: Simulator) -> Callable[..., requests.Response]:
    session = requests.Session()
    session.cookies.set("JSESSIONID", login(simulator.url))

    def call(method: str, path: str, **arguments: Any) -> requests.Response:
        url = f"{simulator.url}{path if path.startswith('/rest') else f'/rest/latest{path}'}"
        return session.request(method, url, timeout=60, **arguments)

    return call


Api = Callable[..., requests.Response]
LAUNCH = "/applications/Public/environments/env-pub/workflows/exec_job"
LOGS = "/deployment/logs/search"


def test_pages_are_capped_and_the_rest_is_reachable() -> None:
    with Simulator(many(1200)) as simulator:
        cookies = {"JSESSIONID": login(simulator.url)}
        seen: list[str] = []
        for start in (0, 1000):
            url = f"{simulator.url}/rest/latest/applications/search"
            body = {"from": start, "size": 5000, "filters": {"tags.name": ["hpcwaas-workflows"]}}
            page = requests.post(url, json=body, cookies=cookies, timeout=60).json()["data"]
            assert page["totalResults"] == 1200
            seen += [one["id"] for one in page["data"]]
        assert len(set(seen)) == len(seen) == 1200


def test_long_logs_are_capped_at_a_thousand_lines_and_ten_thousand_in_all(simulator: Simulator, api: Api) -> None:
    long = Workflow(
        name="long", duration=60.0, log_rate=200.0, line="line {index}", levels=("INFO", "WARN"), frame=False
    )
    simulator.world.applications["Public"].workflows += (long,)
    execution = simulator.remember("env-pub", "long")
    order = {"sortBy": "rawtimestamp", "ascending": True}

    def search(**more: Any) -> Any:
        filters = {"executionId": [execution], **more.pop("filters", {})}
        return api("POST", LOGS, json={"filters": filters, "sortConfiguration": order, **more}).json()

    page = search(size=5000)["data"]
    assert [line["content"] for line in page["data"]] == [f"line {index}" for index in range(1000)]
    assert page["totalResults"] == 12000
    assert search(**{"from": 9500, "size": 600})["error"]["code"] == 500
    last = search(**{"from": 9999, "size": 1})["data"]["data"][0]
    window = search(fromDate=last["timestamp"], size=1000)["data"]
    assert window["data"][-1]["content"] == "line 10998"
    assert search(filters={"level": ["WARN"]}, size=1)["data"]["totalResults"] == 6000


def test_inputs_of_every_kind_are_declared_and_checked(api: Api, simulator: Simulator) -> None:
    inputs = {
        "name": Input(required=True, constraints=({"pattern": "[a-z]+"}, {"minLength": 2}, {"maxLength": 4})),
        "code": Input(constraints=({"length": 3},)),
        "kind": Input(constraints=({"validValues": ["small", "big"]},), default="small"),
        "share": Input(type="float", constraints=({"greaterThan": "0"}, {"lessOrEqual": "1"})),
        "count": Input(type="integer", constraints=({"greaterOrEqual": "1"}, {"lessThan": "5"})),
        "same": Input(type="integer", constraints=({"equal": "7"},)),
        "flags": Input(type="list", entry="boolean"),
        "pairs": Input(type="map", entry="string"),
    }
    steps = (Step("a"), Step("b", ("a",)), Step("c", ("a",)))
    simulator.world.add(
        Application(
            id="Every",
            workflows=(Workflow(name="all", inputs=inputs, steps=steps),),
            environments=[Environment(id="env-every", status="UPDATED")],
        )
    )
    topology = api("GET", "/applications/Every/environments/env-every/runtime-topology").json()["data"]["topology"]
    declared = topology["workflows"]["all"]
    assert declared["inputs"]["kind"]["default"]["value"] == "small"
    assert declared["inputs"]["flags"]["entrySchema"]["type"] == "boolean"
    assert declared["steps"]["a"]["onSuccess"] == ["b", "c"]
    assert declared["steps"]["c"]["precedingSteps"] == ["a"]

    def launch(**given: Any) -> Any:
        path = "/applications/Every/environments/env-every/workflows/all"
        return api("POST", path, json={"inputs": given}).json()["error"]

    assert launch(name="abc", code="xyz", kind="big", share="0.5", count=4, same="7", flags=[1], pairs={"a": 1}) is None
    wrong: dict[str, list[Any]] = {
        "name": ["A", "a", "abcde", ["abc"]],
        "code": ["ab"],
        "kind": ["huge"],
        "share": ["0", "1.1", "x"],
        "count": ["0", "5", "many"],
        "same": ["8"],
        "flags": [{"a": 1}, "true"],
        "pairs": [["a"]],
    }
    for name, values in wrong.items():
        for value in values:
            assert launch(**{name: value})["code"] == 800, (name, value)
    for unusable in (True, 0.5, 2**40, 2**70):
        assert launch(count=unusable)["code"] == 501


def test_failed_executions_resume_and_others_do_not(simulator: Simulator, api: Api) -> None:
    failed = simulator.launch("env-pub", "fail_wf")
    executions = simulator.executions.all
    wait_for(lambda: executions[failed].status == "FAILED")
    assert api("POST", f"/executions/{failed}/resume", json={}).json() == {"data": None, "error": None}
    assert api("POST", f"/executions/{failed}/resume", json={}).status_code == 500
    wait_for(lambda: executions[failed].status == "SUCCEEDED")
    assert api("POST", "/executions/unknown/resume", json={}).json()["error"]["code"] == 504


def test_sessions_end_when_idle_and_at_a_restart() -> None:
    with Simulator(original(duration=0.1), session_life=600, lag=0.01) as simulator:
        sessions = simulator._inner.sessions

        def code(cookie: str) -> Any:
            url = f"{simulator.url}/rest/latest/executions/search"
            return (requests.get(url, cookies={"JSESSIONID": cookie}, timeout=60).json()["error"] or {}).get("code")

        cookie = login(simulator.url)
        for _ in range(5):
            sessions.age(400)
            assert code(cookie) is None
        sessions.age(601)
        assert code(cookie) == 100
        execution = simulator.launch("env-pub", "exec_job")
        cookie = login(simulator.url)
        simulator.restart()
        assert code(cookie) == 100
        wait_for(lambda: simulator.executions.all[execution].status == "SUCCEEDED")


def test_refuses_connections_while_down(simulator: Simulator) -> None:
    simulator.down()
    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.get(f"{simulator.url}/rest/auth/status", timeout=60)
    simulator.up()
    assert requests.get(f"{simulator.url}/rest/auth/status", timeout=60).ok


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("close", "RemoteDisconnected"),
        ("reset", "ConnectionResetError"),
        ("hang", "RemoteDisconnected"),
        ("cut", "ConnectionResetError"),
        ("slow", 200),
        ("truncate", 200),
        ("html", 502),
        ("empty", 502),
        ("trace", 500),
        ("expired", 403),
    ],
)
def test_faults_show_as_told(simulator: Simulator, api: Api, kind: Kind, outcome: str | int) -> None:
    simulator.fault(Fault(kind, path="^POST .*/workflows/", nth=2, seconds=0.1))
    assert api("POST", LAUNCH, json={}).json()["error"] is None
    started = len(simulator.executions.all)
    if isinstance(outcome, str):
        with pytest.raises(requests.RequestException, match=outcome):
            api("POST", LAUNCH, json={})
    else:
        answer = api("POST", LAUNCH, json={})
        assert answer.status_code == outcome
        if kind == "truncate":
            with pytest.raises(requests.JSONDecodeError):
                answer.json()
    took_effect = kind in ("cut", "slow", "truncate")
    assert len(simulator.executions.all) - started == took_effect
    assert api("POST", LAUNCH, json={}).json()["error"] is None


def test_a_fault_may_come_after_the_effect(simulator: Simulator, api: Api) -> None:
    simulator.fault(Fault("close", path="/workflows/", after=True, times=1))
    with pytest.raises(requests.ConnectionError):
        api("POST", LAUNCH, json={})
    assert len(simulator.executions.all) == 1


def test_dates_are_skewed_and_raw_ones_are_not() -> None:
    world = many(1, Workflow(name="exec_job", duration=0.05))
    world.skew = 3600.0
    with Simulator(world, lag=0.01) as simulator:
        execution = simulator.remember("env-0000", "exec_job", ago=0.0)
        cookies = {"JSESSIONID": login(simulator.url)}
        url = f"{simulator.url}/rest/latest{LOGS}"
        body = {"filters": {"executionId": [execution]}}
        line = requests.post(url, json=body, cookies=cookies, timeout=60).json()["data"]["data"][0]
    assert 3400 < line["timestamp"] / 1000 - time.time() < 3610
    assert abs((datetime.fromisoformat(line["rawtimestamp"]) - datetime.now(UTC)).total_seconds()) < 200


def test_deleted_applications_fail_bulk_calls_whole(simulator: Simulator, api: Api) -> None:
    both = ["Public", "AliceBob"]
    assert list(api("POST", "/applications/environments", json=both).json()["data"]) == both
    simulator.delete_application("AliceBob")
    answer = api("POST", "/applications/environments", json=both)
    assert answer.status_code == 404
    assert answer.json() == {"data": None, "error": {"code": 504, "message": "Application [AliceBob] cannot be found"}}


def test_counts_calls_with_their_bodies(simulator: Simulator, api: Api) -> None:
    simulator.forget_calls()
    api("POST", LAUNCH, json={"inputs": {"n": 3}})
    (call,) = simulator.calls()
    assert (call.method, call.path) == ("POST", f"/rest/latest{LAUNCH}")
    assert json.loads(call.body) == {"inputs": {"n": 3}}
    assert abs(call.at - time.time()) < 200


def test_runs_as_a_process() -> None:
    with SimulatorProcess("--port", "0", "--applications", "3", "--duration", "0.1", "--delay", "0.05") as simulator:
        form = {"username": "admin", "password": "admin"}
        session = requests.Session()
        session.post(f"{simulator.url}/login", data=form, timeout=60)
        started = time.monotonic()
        answer = session.post(f"{simulator.url}/rest/latest/applications/search", json={}, timeout=60)
        assert time.monotonic() - started >= 0.05
        assert [one["id"] for one in answer.json()["data"]["data"]] == ["App0000", "App0001", "App0002"]
        assert simulator.call_count() == 3
        simulator.restart(down=0.05)
        assert session.get(f"{simulator.url}/rest/latest/executions/x", timeout=60).json()["error"]["code"] == 100
    assert simulator.process.returncode is not None
