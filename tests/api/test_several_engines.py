"""`cwl` and Alien4Cloud side by side: one list, each execution with its own engine, and one that is down or frozen
delays nothing of the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.service import CATALOGUE, Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_client import wait_for
from tests.simulators.alien4cloud_worlds import recorded
from tests.simulators.faults import Fault
from tests.waiting import until

RUN = "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@"
FROZEN = Fault("hang", seconds=600)
"""Longer than the engine waits, and that is longer than `Client` does: what comes has not waited for it."""


@pytest.fixture
def alien4cloud() -> Iterator[Simulator]:
    with Simulator(recorded(duration=1.0), lag=0.1, cancel_time=0.3) as simulator:
        yield simulator


def settings(directory: Path, alien4cloud: Simulator | None, *, cwl: bool = True) -> Any:
    quick = {"connect_timeout": 1, "read_timeout": 120, "cache_seconds": 0.05}
    catalogue = directory / "catalogue"
    catalogue.mkdir(exist_ok=True)
    for name in ("echo.cwl", "slow.cwl"):
        shutil.copy(CATALOGUE / name, catalogue)
    sections: dict[str, Any] = {"cwl": {"catalogue": catalogue}} if cwl else {}
    if alien4cloud is not None:
        sections["alien_config"] = {"address": alien4cloud.url, **quick}
    return make_settings(directory, **sections)


@pytest.fixture
def alice(alien4cloud: Simulator, tmp_path: Path) -> Iterator[Client]:
    with serving(settings(tmp_path, alien4cloud)) as url:
        yield as_user(url, "alice")


def thaw(alien4cloud: Simulator) -> None:
    """Lets go of whoever waits."""
    alien4cloud.heal()
    alien4cloud.disconnect()


def has_begun(user: Client, path: str) -> bool:
    return user("GET", path).json()["started_at"] is not None


def log_is_over(user: Client, path: str) -> bool:
    return bool(user("GET", f"{path}/logs?timeout=0").json()["over"])


def listed(user: Client) -> dict[str, str]:
    return {each["id"]: each["engine"] for each in user("GET", "/workflows").json()["workflows"]}


def test_one_list_and_each_execution_belongs_to_the_engine_that_started_it(
    alice: Client, alien4cloud: Simulator
) -> None:
    until(lambda: "warnings" not in alice("GET", "/workflows").json())  # a busy machine describes workflows slowly
    workflows = alice("GET", "/workflows").json()
    ids = [each["id"] for each in workflows["workflows"]]
    assert ids == sorted(ids)
    assert (listed(alice)["echo"], listed(alice)[f"{RUN}exec_job"]) == ("cwl", "alien4cloud")
    here, there = alice.trigger("echo", message="hello"), alice.trigger(f"{RUN}exec_job", user_id="alice")
    slow_here, slow_there = alice.trigger("slow", seconds=60), alice.trigger(f"{RUN}slow_job")
    assert len(alien4cloud.executions.all) == 2
    assert alice.finished(here)["engine"] == "cwl"
    assert alice("GET", f"{here}/outputs/text").text == "hello\n"
    assert alice.finished(there)["engine"] == "alien4cloud"
    for path in (here, there):
        wait_for(partial(log_is_over, alice, path))
        assert alice("GET", f"{path}/logs?timeout=0").json()["total_results"] > 0
    for path in (slow_here, slow_there):
        wait_for(partial(has_begun, alice, path))
        assert alice("DELETE", path).status_code == 202
        assert alice.finished(path)["status"] == "CANCELLED"
    engines = {each["engine"] for each in alice("GET", "/executions").json()["executions"]}
    assert engines == {"cwl", "alien4cloud"}
    for unknown in ("nope", "a@b@c", "cwl:echo", f"cwl:{RUN}exec_job", f"alien4cloud:{RUN}exec_job"):
        assert alice("GET", f"/workflows/{unknown}").status_code == 404


def test_health_shows_each(alice: Client, alien4cloud: Simulator) -> None:
    root = as_user(alice.url, "root")

    def states() -> dict[str, str]:
        return {each["name"]: each["status"] for each in root("GET", "/health/ready").json()["checks"]}

    names = {"catalogue", "cwl-executions", "alien4cloud", "alien4cloud-events", "workflow-ids"}
    until(lambda: names < states().keys() and states()["alien4cloud"] == "ok")
    alien4cloud.down()
    until(lambda: states()["alien4cloud"] != "ok")
    assert states()["cwl-executions"] == "ok"
    assert root("GET", "/health/ready").json()["status"] == "degraded"


@pytest.mark.parametrize("frozen", [False, True], ids=["down", "frozen"])
def test_an_engine_that_never_answered_hides_and_delays_nothing_of_the_other(
    frozen: bool, alien4cloud: Simulator, tmp_path: Path
) -> None:
    alien4cloud.fault(FROZEN) if frozen else alien4cloud.down()
    with serving(settings(tmp_path, alien4cloud)) as url:
        alice = as_user(url, "alice")
        for _ in range(3):
            answer = alice("GET", "/workflows")
            assert answer.status_code == 200
            assert {each["engine"] for each in answer.json()["workflows"]} == {"cwl"}
            (missing,) = answer.json()["warnings"]
            assert missing.startswith("The workflows of the engine `alien4cloud` are missing. ")
        assert alice("GET", "/workflows/echo").status_code == 200
        assert alice.finished(alice.trigger("echo", message="hello"))["status"] == "SUCCEEDED"
        assert len(alice("GET", "/executions").json()["executions"]) == 1
        if frozen:
            thaw(alien4cloud)


def test_what_runs_elsewhere_delays_nothing_when_its_engine_freezes(alice: Client, alien4cloud: Simulator) -> None:
    there = [alice.trigger(f"{RUN}slow_job") for _ in range(3)]
    wait_for(lambda: all(has_begun(alice, path) for path in there))
    assert f"{RUN}slow_job" in listed(alice)
    alien4cloud.disconnect()
    alien4cloud.fault(FROZEN)
    here = alice.trigger("echo", message="hello")
    assert set(listed(alice).values()) == {"cwl", "alien4cloud"}
    assert len(alice("GET", "/executions").json()["executions"]) == 4
    assert alice.finished(here)["status"] == "SUCCEEDED"
    thaw(alien4cloud)


def test_an_execution_waits_for_its_engine_whatever_else_is_configured(alien4cloud: Simulator, tmp_path: Path) -> None:
    with serving(settings(tmp_path, alien4cloud)) as url:
        alice = as_user(url, "alice")
        running, done = alice.trigger(f"{RUN}slow_job"), alice.trigger(f"{RUN}exec_job", user_id="alice")
        lost, other = alice.trigger(f"{RUN}slow_job"), alice.trigger("echo", message="hello")
        wait_for(partial(has_begun, alice, running))
        finished, own = alice.finished(done), alice.finished(other)
    reason = "The engine `alien4cloud`, which this execution was started by, isn't configured any more."
    with serving(settings(tmp_path, None)) as url:
        alice = as_user(url, "alice")
        shown = alice("GET", running).json()
        assert (shown["status"], shown["reason"]) == ("UNKNOWN", reason)
        assert shown["started_at"] is not None  # what is known stays
        assert alice("GET", "/executions", params={"status": "UNKNOWN"}).json()["executions"]
        assert alice("GET", done).json() == finished
        assert alice("GET", other).json() == own
        for method, path in (("DELETE", running), ("GET", f"{running}/logs?timeout=0"), ("POST", f"{lost}/resume")):
            refused = alice(method, path)
            assert refused.status_code == 409, (method, path, refused.text)
            assert method == "POST" or reason in refused.json()["detail"]
        closed = alice("POST", f"{lost}/close", json={"reason": "Alien4Cloud was given up."})
        assert (closed.status_code, closed.json()["status"]) == (200, "CANCELLED")
        assert alice("GET", f"/workflows/{RUN}slow_job").status_code == 404
    with serving(settings(tmp_path, alien4cloud, cwl=False)) as url:
        alice = as_user(url, "alice")
        wait_for(lambda: alice("GET", running).json()["status"] == "RUNNING")
        assert alice("GET", running).json()["reason"] is None
        assert alice("GET", f"{other}/outputs/text").status_code == 409
        assert {*listed(alice).values()} == {"alien4cloud"}
        assert alice("DELETE", running).status_code == 202
        assert alice.finished(running)["status"] == "CANCELLED"
