"""The list of workflows, also while Alien4Cloud changes or is down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.errors import Unavailable
from tests.engines.alien4cloud.helpers import Make
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Application, Environment, Workflow, World
from tests.simulators.alien4cloud_worlds import ADMIN, many
from tests.waiting import until as eventually


def test_the_list_of_many_applications(make: Make) -> None:
    with Simulator(many(1200)) as simulator:
        engine = make(simulator)
        assert len(engine.workflows()) == 1200
        assert simulator.call_count() == 5  # the login, and two calls for each of the two pages
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda _: engine.workflows(), range(200)))
        assert simulator.call_count() == 5


def test_the_list_is_fetched_by_one_thread(make: Make) -> None:
    with Simulator(many(50), delay=0.1) as simulator:
        engine = make(simulator)
        with ThreadPoolExecutor(32) as pool:
            assert {len(found) for found in pool.map(lambda _: engine.workflows(), range(32))} == {50}
        assert simulator.call_count() == 3


@pytest.mark.parametrize("named", [True, False])
def test_an_application_deleted_between_two_calls(make: Make, named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(many(20)) as simulator:
        engine = make(simulator)
        ask = engine._client.environments
        deleted: list[str] = []

        def delete_first(applications: list[str]) -> Any:
            if not deleted:
                deleted.append("App0007")
                simulator.delete_application("App0007")
            try:
                return ask(applications)
            except Exception as error:
                if not named:  # as another version may word it
                    error.message = "gone"  # type: ignore[attr-defined]
                raise

        monkeypatch.setattr(engine._client, "environments", delete_first)
        ids = [workflow.application_id for workflow in engine.workflows()]
        assert ids == [f"App{number:04}" for number in range(20) if number != 7]


def test_tags(make: Make) -> None:
    def application(name: str, status: str = "DEPLOYED", **tags: str) -> Application:
        named = tuple((f"hpcwaas-{key.replace('_', '-')}", value) for key, value in tags.items())
        workflow = Workflow(name="w")
        return Application(
            id=name, tags=named, workflows=(workflow,), environments=[Environment(id=f"e-{name}", status=status)]
        )

    world = World(
        [
            application(
                "A",
                workflows=" w ,, other,install,x@y, w",
                authorized_users="alice, bob,",
                authorized_groups=" a b ,,c",
            ),
            application("B", workflows="", authorized_users="alice"),
            application("C", workflows="w", authorized_users=" "),
            application("D", "UPDATED", workflows="w"),
            application("E", "UPDATE_IN_PROGRESS", workflows="w"),
            application("F", workflows="w", authorized_groups="climate"),
            application("G", workflows="w", authorized_groups=","),
        ],
        [ADMIN],
    )
    with Simulator(world) as simulator:
        engine = make(simulator)
        workflows, told = engine.workflows(), [each.problem for each in engine.problems()]
    assert told == [
        "application A: the workflow 'install' isn't published, because Alien4Cloud never runs it on demand",
        "application A: the workflow 'x@y' isn't published, because its name can't be a part of an id",
        "application E: nothing of it is deployed; its workflows aren't published until one of its environments is",
    ]
    assert {workflow.id: (workflow.authorized_users, workflow.authorized_groups) for workflow in workflows} == {
        "A@e-A@other": ({"alice", "bob"}, {"a b", "c"}),
        "A@e-A@w": ({"alice", "bob"}, {"a b", "c"}),
        "C@e-C@w": (frozenset(), None),
        "D@e-D@w": (None, None),
        "F@e-F@w": (None, {"climate"}),
        "G@e-G@w": (None, frozenset()),
    }


def test_the_list_is_served_while_alien4cloud_is_down(simulator: Simulator, make: Make) -> None:
    engine = make(simulator, cache_seconds=0.1)
    before = engine.workflows()
    assert engine.stale_since() is None
    simulator.down()
    eventually(lambda: engine.workflows() == before and engine.stale_since() is not None)
    stale_since = engine.stale_since()
    assert stale_since is not None
    assert stale_since < datetime.now(UTC)
    simulator.up()
    eventually(lambda: engine.workflows() == before and engine.stale_since() is None)


def test_nothing_to_serve_when_alien4cloud_is_down(simulator: Simulator, engine: Alien4CloudEngine) -> None:
    simulator.down()
    with pytest.raises(Unavailable, match="can't be reached"):
        engine.workflows()
    check = engine.checks()[0]
    assert check.status == "failed"
    assert check.latency < 30
    simulator.up()
