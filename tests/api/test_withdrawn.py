"""What is started is what Alien4Cloud publishes at that moment, to whom it does; the list may be older."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Application, Environment
from tests.simulators.alien4cloud_worlds import USERS, WORKFLOWS, recorded

ENVIRONMENT = "5de4279f-d629-47ca-ac92-586a8cc534fd"
WORKFLOW = f"/workflows/RecApp1@{ENVIRONMENT}@fail_job"


@pytest.fixture
def alien4cloud() -> Iterator[Simulator]:
    with Simulator(recorded(duration=1.0), lag=0.1) as simulator:
        yield simulator


@pytest.fixture
def alice(alien4cloud: Simulator, tmp_path: Path) -> Iterator[Client]:
    settings = make_settings(tmp_path, alien_config={"address": alien4cloud.url, "cache_seconds": 60})
    with serving(settings) as url:
        user = as_user(url, "alice")
        assert len(user("GET", "/workflows").json()["workflows"]) == 4
        assert user("POST", WORKFLOW, json={}).status_code == 201
        yield user


def launches(alien4cloud: Simulator) -> int:
    return sum(call.method == "POST" and "/workflows/" in call.path for call in alien4cloud.calls())


@pytest.mark.parametrize(
    "tags",
    [
        (),
        ((WORKFLOWS, "exec_job"),),
        ((WORKFLOWS, "fail_job"), (USERS, "bob")),
        ((WORKFLOWS, "fail_job"), ("hpcwaas-authorized-groups", "climate")),
    ],
    ids=["unpublished", "another one", "for another user", "for a group"],
)
def test_what_has_just_been_withdrawn_is_not_started(
    alice: Client, alien4cloud: Simulator, tags: tuple[tuple[str, str], ...]
) -> None:
    alien4cloud.world.applications["RecApp1"].tags = tags
    before = launches(alien4cloud)
    for query in ({}, {"dry_run": "true"}):
        assert alice("POST", WORKFLOW, json={}, params=query).status_code == 404
    assert launches(alien4cloud) == before


def test_what_has_just_been_published_is_started_at_once(alice: Client, alien4cloud: Simulator) -> None:
    workflow = alien4cloud.world.applications["RecApp1"].require("fail_job")
    new = Application(
        id="New", tags=((WORKFLOWS, "fail_job"),), workflows=(workflow,), environments=[Environment(id="e")]
    )
    alien4cloud.world.add(new)
    path = alice.trigger("New@e@fail_job")
    assert alice.finished(path)["status"] == "FAILED"
    for wrong in ("New@e@other", f"New@{ENVIRONMENT}@fail_job", "RecApp1@e@fail_job", "New@e@install"):
        assert alice("POST", f"/workflows/{wrong}", json={}).status_code == 404


def test_what_is_let_to_a_user_is_started_at_once(alice: Client, alien4cloud: Simulator) -> None:
    bob, application = as_user(alice.url, "bob"), alien4cloud.world.applications["RecApp1"]
    application.tags = ((WORKFLOWS, "fail_job"), (USERS, "bob"))
    assert bob("POST", WORKFLOW, json={}).status_code == 201
    application.tags = ((WORKFLOWS, "fail_job"), (USERS, "alice"))
    assert bob("POST", WORKFLOW, json={}).status_code == 404


def test_the_looks_do_not_wait_for_each_other(alice: Client, alien4cloud: Simulator) -> None:
    alien4cloud.delay(2)
    alien4cloud.forget_calls()
    assert alice("POST", WORKFLOW, json={}).status_code == 201
    calls = alien4cloud.calls()
    paths = [call.path.rpartition("/rest/latest")[2] for call in calls]
    assert set(paths[:2]) == {"/applications/RecApp1", f"/applications/RecApp1/environments/{ENVIRONMENT}"}
    assert calls[1].at - calls[0].at < 2  # before the first one is answered
