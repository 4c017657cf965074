"""What the simulator of Yorc does beyond its recordings: what follows from how Yorc works, and what goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.simulators import go
from tests.simulators.alien4cloud_client import wait_for
from tests.simulators.faults import Fault, Kind
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_state import Script
from tests.simulators.yorc_worlds import RUN, demo, jobs, one

DEMO = "/deployments/demo-Environment"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def yorc() -> Iterator[Simulator]:
    with Simulator([demo(seconds=0.05), jobs(seconds=60)], cancel_time=0.05) as simulator:
        yield simulator


def ask(yorc: Simulator, path: str, method: str = "GET", **options: Any) -> requests.Response:
    return requests.request(method, yorc.url + path, headers=JSON, timeout=60, **options)


def run(yorc: Simulator, path: str, **inputs: str) -> str:
    answer = ask(yorc, path, "POST", json={"inputs": inputs})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def ended(yorc: Simulator, task: str, status: str) -> Any:
    wait_for(lambda: ask(yorc, task).json()["status"] == status)
    return ask(yorc, task).json()


def test_a_chain_of_polls_gives_everything_once_and_in_order(yorc: Simulator) -> None:
    index = ask(yorc, "/logs?index=0").json()["last_index"]
    task = run(yorc, f"{DEMO}/workflows/hello", who="eve", times="3")
    chained: list[Any] = []
    while not chained or 'changed to "done"' not in chained[-1]["content"]:
        answer = ask(yorc, f"/logs?index={index}&wait=60s").json()
        assert answer["last_index"] >= index
        index = answer["last_index"]
        chained += answer["logs"]
    whole = ask(yorc, "/logs?index=0").json()["logs"]
    assert whole[-len(chained) :] == chained
    assert [entry["timestamp"] for entry in chained] == sorted(entry["timestamp"] for entry in chained)
    own = [entry for entry in chained if entry.get("executionId") == task.rpartition("/")[2]]
    assert 0 < len(own) < len(chained)


def test_steps_come_in_any_order(yorc: Simulator) -> None:
    task = run(yorc, f"{DEMO}/workflows/hello", who="eve", times="1")
    orders: set[tuple[str, ...]] = set()
    while len(orders) < 2:
        orders.add(tuple(step["name"] for step in ask(yorc, f"{task}/steps").json()))


def test_a_poll_waits_for_its_own_deployment(yorc: Simulator) -> None:
    index = ask(yorc, "/deployments/jobs/events?index=0").json()["last_index"]
    found: list[Any] = []

    def poll() -> None:
        found.extend(ask(yorc, f"/deployments/jobs/events?index={index}&wait=60s").json()["events"])

    thread = threading.Thread(target=poll)
    thread.start()
    ended(yorc, run(yorc, f"{DEMO}/workflows/hello", who="eve", times="1"), "DONE")
    assert thread.is_alive()
    task = run(yorc, "/deployments/jobs/workflows/plain")
    thread.join(60)
    assert found[0]["alienExecutionId"] == task.rpartition("/")[2]
    ask(yorc, task, "DELETE")


@pytest.mark.parametrize(("workflow", "goes_on"), [("plain", True), ("cancellable", False)])
def test_a_slurm_job_goes_on_unless_its_workflow_cancels_it(yorc: Simulator, workflow: str, goes_on: bool) -> None:
    task = run(yorc, f"/deployments/jobs/workflows/{workflow}")
    wait_for(lambda: {"name": "Job_run", "status": "RUNNING"} in ask(yorc, f"{task}/steps").json())
    assert ask(yorc, task, "DELETE").status_code == 202
    ended(yorc, task, "CANCELED")
    assert yorc.tasks[task.rpartition("/")[2]].goes_on is goes_on


def test_a_resumed_task_doesnt_do_again_what_is_done(yorc: Simulator) -> None:
    yorc.fail_script("jobs", RUN)
    task = run(yorc, "/deployments/jobs/workflows/plain")
    yorc.hurry(task.rpartition("/")[2])
    ended(yorc, task, "FAILED")
    yorc.fail_script("jobs", RUN, fails=False)
    index = ask(yorc, "/events?index=0").json()["last_index"]
    assert ask(yorc, task, "PUT").status_code == 202
    ended(yorc, task, "DONE")
    events = ask(yorc, f"/events?index={index}&wait=1s").json()["events"]
    assert {event["stepId"] for event in events if event["type"] == "WorkflowStep"} == {"Job_run"}


def test_a_task_that_is_held_can_be_cancelled(yorc: Simulator) -> None:
    yorc.hold("INITIAL")
    task = run(yorc, f"{DEMO}/workflows/hello", who="eve", times="1")
    assert ask(yorc, task).json()["status"] == "INITIAL"
    assert ask(yorc, task, "DELETE").status_code == 202
    ended(yorc, task, "CANCELED")
    yorc.hold(None)


def test_lines_of_a_job_come_while_it_runs() -> None:
    with Simulator([one("App", Script(seconds=60, rate=50, job=True))]) as yorc:
        task = run(yorc, "/deployments/App/workflows/exec_job")
        wait_for(lambda: ask(yorc, "/logs?index=0").text.count("StdOut") > 3)
        yorc.hurry(task.rpartition("/")[2])
        ended(yorc, task, "DONE")


@pytest.mark.parametrize("keep", [True, False])
def test_a_store_that_was_made_anew_has_low_indexes(keep: bool) -> None:
    with Simulator([demo(seconds=0.01)]) as yorc:
        for _ in range(5):
            ended(yorc, run(yorc, f"{DEMO}/workflows/hello", who="eve", times="1"), "DONE")
        before = ask(yorc, "/logs?index=0").json()
        yorc.rebuild_store(keep=keep)
        after = ask(yorc, f"/logs?index={before['last_index']}&wait=10ms").json()
        assert after["logs"] == []
        assert after["last_index"] < before["last_index"]
        assert ask(yorc, "/logs?index=0").json()["logs"] == (before["logs"] if keep else [])


def test_a_store_without_a_leader_and_a_removed_deployment() -> None:
    with Simulator([demo(seconds=0.01)]) as yorc:
        task = run(yorc, f"{DEMO}/workflows/hello", who="eve", times="1")
        yorc.no_leader()
        answer = ask(yorc, "/deployments")
        assert (answer.status_code, "No cluster leader" in answer.text) == (500, True)
        assert ask(yorc, "/server/health").ok
        yorc.heal()
        ended(yorc, task, "DONE")
        yorc.purge_task(task.rpartition("/")[2])
        assert ask(yorc, task).status_code == 404
        yorc.remove("demo-Environment")
        assert ask(yorc, f"{DEMO}/workflows").status_code == 404
        assert ask(yorc, "/deployments").status_code == 204


@pytest.mark.parametrize("kind", ["close", "reset"])
def test_a_start_whose_answer_is_lost_was_one(yorc: Simulator, kind: Kind) -> None:
    before = set(yorc.tasks)
    yorc.fault(Fault(kind, "^POST .*/hello", times=1, after=True))
    with pytest.raises(requests.ConnectionError):
        ask(yorc, f"{DEMO}/workflows/hello", "POST", json={"inputs": {"who": "eve", "times": "1"}})
    assert len(set(yorc.tasks) - before) == 1
    yorc.heal()


def test_a_restart(yorc: Simulator) -> None:
    task = run(yorc, "/deployments/jobs/workflows/plain")
    yorc.restart()
    assert ask(yorc, task).status_code == 200
    yorc.hurry(task.rpartition("/")[2])
    ended(yorc, task, "DONE")


def test_a_delay(yorc: Simulator) -> None:
    yorc.delay(0.1)
    began = time.monotonic()
    ask(yorc, "/server/health")
    assert time.monotonic() - began >= 0.1
    yorc.delay(0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (-1.5, "-1.5"),
        (100000, "100000"),
        (1000000, "1e+06"),
        (12345678, "1.2345678e+07"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (0, "0"),
        (10**23, "1e+23"),
        ({"b": [None, True], "a": ""}, "map[a: b:[<nil> true]]"),
    ],
)
def test_texts_of_what_is_none(value: Any, text: str) -> None:
    assert go.text(value) == text


@pytest.mark.parametrize(
    ("written", "seconds"), [("5s", 5), ("300ms", 0.3), ("1m30s", 90), ("1.5h", 5400), ("0", 0), ("-2s", -2)]
)
def test_durations(written: str, seconds: float) -> None:
    assert go.duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["", "5", "xyz", "s", "5d", ".s"])
def test_what_is_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match="time: "):
        go.duration(written)
