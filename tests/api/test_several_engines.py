"""`cwl`, Alien4Cloud and Yorc side by side: one list, each execution with its own engine, and one that is down or
frozen delays nothing of the other."""

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
from tests.simulators.yorc import Simulator as Yorc
from tests.simulators.yorc_worlds import demo
from tests.waiting import until

DEMO = "demo-Environment@"
RUN = "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@"
FROZEN = Fault("hang", seconds=600)
"""Longer than the engine waits, and that is longer than `Client` does: what comes has not waited for it."""


@pytest.fixture
def alien4cloud() -> Iterator[Simulator]:
    with Simulator(recorded(duration=1.0), lag=0.1, cancel_time=0.3) as simulator:
        yield simulator


@pytest.fixture
def yorc() -> Iterator[Yorc]:
    with Yorc([demo()]) as simulator:
        yield simulator


def settings(directory: Path, alien4cloud: Simulator | None, yorc: Yorc | None = None, *, cwl: bool = True) -> Any:
    quick = {"connect_timeout": 1, "read_timeout": 120, "cache_seconds": 0.05}
    catalogue = directory / "catalogue"
    catalogue.mkdir(exist_ok=True)
    for name in ("echo.cwl", "slow.cwl"):
        shutil.copy(CATALOGUE / name, catalogue)
    sections: dict[str, Any] = {"cwl": {"catalogue": catalogue}} if cwl else {}
    if alien4cloud is not None:
        sections["alien_config"] = {"address": alien4cloud.url, **quick}
    if yorc is not None:
        publish = {"deployments": ["demo-*"], "workflows": ["*"], "users": ["alice"]}
        sections["yorc"] = {"address": yorc.url, **quick, "publish": [publish]}
    return make_settings(directory, **sections)


@pytest.fixture
def alice(alien4cloud: Simulator, yorc: Yorc, tmp_path: Path) -> Iterator[Client]:
    with serving(settings(tmp_path, alien4cloud, yorc)) as url:
        yield as_user(url, "alice")


def thaw(*simulators: Simulator | Yorc) -> None:
    """Lets go of whoever waits."""
    for simulator in simulators:
        simulator.heal()
        simulator.disconnect()


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
    assert [listed(alice)[name] for name in ("echo", f"{RUN}exec_job", f"{DEMO}hello")] == [
        "cwl",
        "alien4cloud",
        "yorc",
    ]
    assert DEMO not in str(listed(as_user(alice.url, "bob")))
    quick = [
        alice.trigger("echo", message="hello"),
        alice.trigger(f"{RUN}exec_job", user_id="alice"),
        alice.trigger(f"{DEMO}hello", who="alice"),
    ]
    slow = [
        alice.trigger("slow", seconds=60),
        alice.trigger(f"{RUN}slow_job"),
        alice.trigger(f"{DEMO}wait_long", seconds=60),
    ]
    assert len(alien4cloud.executions.all) == 2
    assert [alice.finished(path)["engine"] for path in quick] == ["cwl", "alien4cloud", "yorc"]
    assert alice("GET", f"{quick[0]}/outputs/text").text == "hello\n"
    assert alice("GET", quick[2]).json()["outputs"] == {"greeting": "hello alice x2"}
    for path in quick:
        wait_for(partial(log_is_over, alice, path))
        assert alice("GET", f"{path}/logs?timeout=0").json()["total_results"] > 0
    for path in slow:
        wait_for(partial(has_begun, alice, path))
        assert alice("DELETE", path).status_code == 202
        assert alice.finished(path)["status"] == "CANCELLED"
    engines = {each["engine"] for each in alice("GET", "/executions").json()["executions"]}
    assert engines == {"cwl", "alien4cloud", "yorc"}
    for unknown in ("nope", "a@b", "a@b@c", "cwl:echo", f"cwl:{RUN}exec_job", f"yorc:{DEMO}hello", f"{DEMO}install"):
        assert alice("GET", f"/workflows/{unknown}").status_code == 404


def test_outputs_do_not_go_from_one_engine_to_another(alice: Client) -> None:
    until(lambda: "warnings" not in alice("GET", "/workflows").json())
    path = alice.trigger("echo", message="hello")
    output = alice.finished(path)["outputs"]["text"]
    for workflow, name in ((f"{DEMO}hello", "who"), (f"{RUN}exec_job", "user_id")):
        answer = alice("POST", f"/workflows/{workflow}", json={"inputs": {name: output}})
        assert answer.status_code == 400
        [problem] = answer.json()["inputs"]
        assert problem["input"] == name
        assert "outputs of executions can't be inputs here" in problem["detail"]


def test_health_shows_each(alice: Client, alien4cloud: Simulator, yorc: Yorc) -> None:
    root = as_user(alice.url, "root")

    def states() -> dict[str, str]:
        return {each["name"]: each["status"] for each in root("GET", "/health/ready").json()["checks"]}

    names = {
        "catalogue",
        "cwl-executions",
        "alien4cloud",
        "alien4cloud-events",
        "yorc",
        "yorc-catalogue",
        "workflow-ids",
    }
    until(lambda: names < states().keys() and states()["alien4cloud"] == "ok")
    alien4cloud.down()
    until(lambda: states()["alien4cloud"] != "ok")
    assert (states()["cwl-executions"], states()["yorc"]) == ("ok", "ok")
    yorc.remove("demo-Environment")
    until(lambda: states()["yorc-catalogue"] == "degraded")
    yorc.down()
    until(lambda: states()["yorc"] != "ok")
    assert states()["cwl-executions"] == "ok"
    assert root("GET", "/health/ready").json()["status"] == "degraded"


@pytest.mark.parametrize("frozen", [False, True], ids=["down", "frozen"])
def test_engines_that_never_answered_hide_and_delay_nothing_of_the_other(
    frozen: bool, alien4cloud: Simulator, yorc: Yorc, tmp_path: Path
) -> None:
    for simulator in (alien4cloud, yorc):
        simulator.fault(FROZEN) if frozen else simulator.down()
    with serving(settings(tmp_path, alien4cloud, yorc)) as url:
        alice = as_user(url, "alice")
        until(lambda: alice("GET", "/workflows/echo").status_code == 200)  # which is read for the first time
        for _ in range(3):
            answer = alice("GET", "/workflows")
            assert answer.status_code == 200
            assert {each["engine"] for each in answer.json()["workflows"]} == {"cwl"}
            for engine, missing in zip(("alien4cloud", "yorc"), answer.json()["warnings"], strict=True):
                assert missing.startswith(f"The workflows of the engine `{engine}` are missing. ")
        assert alice("GET", "/workflows/echo").status_code == 200
        assert alice.finished(alice.trigger("echo", message="hello"))["status"] == "SUCCEEDED"
        assert len(alice("GET", "/executions").json()["executions"]) == 1
        if frozen:
            thaw(alien4cloud, yorc)


def test_what_runs_elsewhere_delays_nothing_when_its_engine_freezes(
    alice: Client, alien4cloud: Simulator, yorc: Yorc
) -> None:
    there = [alice.trigger(f"{RUN}slow_job") for _ in range(3)]
    there += [alice.trigger(f"{DEMO}wait_long", seconds=60) for _ in range(3)]
    wait_for(lambda: all(has_begun(alice, path) for path in there))
    assert {f"{RUN}slow_job", f"{DEMO}wait_long"} < listed(alice).keys()
    for simulator in (alien4cloud, yorc):
        simulator.disconnect()
        simulator.fault(FROZEN)
    here = alice.trigger("echo", message="hello")
    assert set(listed(alice).values()) == {"cwl", "alien4cloud", "yorc"}
    assert len(alice("GET", "/executions").json()["executions"]) == 7
    assert alice.finished(here)["status"] == "SUCCEEDED"
    thaw(alien4cloud, yorc)


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
