"""Alien4Cloud accepts connections and says nothing: what is known is shown at once, and nobody waits for long."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.service import Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_client import wait_for
from tests.simulators.alien4cloud_worlds import recorded
from tests.simulators.faults import Fault

ENGINE = "hpcwaas.engines.alien4cloud"
RUN = "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {
        f"{ENGINE}.log_reader._SETTLED": 0.3,
        "hpcwaas.common.cached._FAILURE_COUNTS": 0.1,
        "hpcwaas.common.cached.PATIENCE": 0.3,
        "hpcwaas.engines.orchestrated.published.PATIENCE": 0.3,
        "hpcwaas.engines.orchestrated.engine.PATIENCE": 0.3,
        f"{ENGINE}.followed_logs.PATIENCE": 0.3,
        f"{ENGINE}.tracking._FRESH_EVENTS": 0.2,
        f"{ENGINE}.tracking._FRESH_POLLED": 0.2,
        f"{ENGINE}.tracking._USABLE": 0.3,
        "hpcwaas.engines.orchestrated.reach._PROBE_EVERY": 0.1,
        "hpcwaas.engines.orchestrated.reach._RETRY_AFTER": 5,
    }.items():
        monkeypatch.setattr(name, seconds)


@pytest.fixture
def alien4cloud() -> Iterator[Simulator]:
    with Simulator(recorded(duration=1.0), lag=0.1) as simulator:
        yield simulator


def settings(alien4cloud: Simulator, directory: Path, read_timeout: float = 2) -> Any:
    alien_config = {"address": alien4cloud.url, "connect_timeout": 1, "cache_seconds": 0.05}
    alien_config |= {"read_timeout": read_timeout}
    return make_settings(directory, alien_config=alien_config)


@pytest.fixture
def alice(alien4cloud: Simulator, tmp_path: Path) -> Iterator[Client]:
    with serving(settings(alien4cloud, tmp_path)) as url:
        yield as_user(url, "alice")


def freeze(alien4cloud: Simulator) -> None:
    alien4cloud.disconnect()
    alien4cloud.fault(Fault("hang", seconds=600))  # `Client` waits a minute: what comes has not waited for it


def thaw(alien4cloud: Simulator) -> None:
    """Lets go of whoever waits."""
    alien4cloud.heal()
    alien4cloud.disconnect()


def stale(answer: requests.Response) -> bool:
    assert answer.status_code == 200, answer.text
    return answer.headers.get("Warning", "").startswith('110 - "Response is Stale"')


class Known:
    """What a user knows of an execution and of the workflows, before Alien4Cloud freezes."""

    def __init__(self, alice: Client, alien4cloud: Simulator) -> None:
        self._alice = alice
        self.path = alice.trigger(f"{RUN}slow_job")
        wait_for(lambda: alice("GET", self.path).json()["started_at"] is not None)
        wait_for(lambda: alice("GET", f"{self.path}/logs?timeout=0").json()["total_results"] > 0)
        self._lines = alice("GET", f"{self.path}/logs?timeout=0").json()["logs"]
        self._workflows = alice("GET", "/workflows").json()
        wait_for(lambda: alice("GET", self.path).json()["stale_since"] is None)
        freeze(alien4cloud)
        time.sleep(0.5)

    def is_shown(self) -> None:
        """As it was, and as stale."""
        status = self._alice("GET", self.path)
        assert stale(status)
        assert status.json()["status"] == "RUNNING"
        assert status.json()["stale_since"] is not None
        log = self._alice("GET", f"{self.path}/logs?timeout=0")
        assert stale(log)
        assert log.json()["logs"] == self._lines
        listed = self._alice("GET", "/workflows")
        assert stale(listed)
        assert listed.json() == self._workflows


def test_what_is_known_is_shown_before_a_call_has_failed(alien4cloud: Simulator, tmp_path: Path) -> None:
    with serving(settings(alien4cloud, tmp_path, read_timeout=200)) as url:
        Known(as_user(url, "alice"), alien4cloud).is_shown()
        thaw(alien4cloud)


def test_what_is_known_is_shown_and_the_rest_fails_soon(alice: Client, alien4cloud: Simulator) -> None:
    known = Known(alice, alien4cloud)
    for _ in range(2):  # before it is known to be frozen, and after
        known.is_shown()
        assert alice("POST", f"/workflows/{RUN}slow_job", json={}).status_code in (503, 504)
    with ThreadPoolExecutor(16) as pool:  # nobody waits any more
        answers = list(pool.map(lambda _: alice("POST", f"/workflows/{RUN}slow_job", json={}), range(16)))
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"5"}
    assert alice("DELETE", known.path).status_code == 503
    alien4cloud.heal()
    wait_for(lambda: not stale(alice("GET", known.path)))
    wait_for(lambda: alice("POST", f"/workflows/{RUN}slow_job", json={}).status_code == 201)


def test_a_start_that_freezes_is_waited_for_once(alice: Client, alien4cloud: Simulator) -> None:
    alice.trigger(f"{RUN}slow_job")
    alien4cloud.fault(Fault("hang", "POST .*workflows/", seconds=600))
    answer = alice("POST", f"/workflows/{RUN}slow_job", json={})
    assert answer.status_code == 201
    assert alice("GET", answer.headers["Location"]).json()["status"] == "PENDING"  # it may have been started


def test_after_a_restart_what_was_known_is_shown(
    alien4cloud: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(settings(alien4cloud, tmp_path)) as url:
        alice = as_user(url, "alice")
        ended = alice.trigger(f"{RUN}fail_job")
        assert alice.finished(ended)["status"] == "FAILED"
        wait_for(lambda: alice("GET", f"{ended}/logs?timeout=0").json()["over"])
        done = alice.trigger(f"{RUN}exec_job", user_id="alice")
        assert alice.finished(done)["outputs"] == {"result": "result-of-exec_job"}
        running = alice.trigger(f"{RUN}slow_job")
        wait_for(lambda: alice("GET", running).json()["started_at"] is not None)
        known = {path: alice("GET", path).json() for path in (ended, done, running)}
        logs = alice("GET", f"{ended}/logs?timeout=0").json()["logs"]
        workflows = alice("GET", "/workflows").json()
    alien4cloud.down()
    caplog.clear()
    caplog.set_level(logging.INFO)
    with serving(settings(alien4cloud, tmp_path)) as url:
        alice, bob = as_user(url, "alice"), as_user(url, "bob")
        ready = alice("GET", "/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        for _ in range(3):
            listed = alice("GET", "/workflows")
            assert stale(listed)
            assert listed.json() == workflows
            assert len(bob("GET", "/workflows").json()["workflows"]) == 4
            assert len(as_user(url, "carol")("GET", "/workflows").json()["workflows"]) == 3  # rights are kept, too
            for path in (ended, done):
                assert alice("GET", path).json() == known[path]
            assert alice("GET", f"{done}/outputs/result").json() == "result-of-exec_job"
            assert stale(alice("GET", running))
            assert alice("GET", f"{ended}/logs?timeout=0").json()["logs"] == logs
            assert alice("POST", f"/workflows/{RUN}slow_job", json={}).status_code == 503
        told = [it for it in caplog.records if it.levelno >= logging.WARNING and it.name.startswith("hpcwaas")]
        outage = [it for it in told if "no answer from Alien4Cloud since" in it.getMessage()]
        assert len(outage) == 1
        assert len(told) <= 4  # beside it, that no events come, and what health found of both
        assert all(it.exc_info is None for it in told)
        alien4cloud.up()
        wait_for(lambda: not stale(alice("GET", "/workflows")))
