"""Removing executions: what is noted, what a crash leaves, and what is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.engines import Engines
from hpcwaas.core.executions import Executions
from hpcwaas.core.leaving import Leavers
from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.core.people import Principal, Shares
from hpcwaas.core.removals import GIVEN_UP, Removals
from hpcwaas.errors import Conflict, NotFound, Unavailable
from hpcwaas.store.database import Database
from hpcwaas.store.stores import Stores

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=40)
ALICE = Principal("alice", "Alice")


class Engine:
    """Removes, as long as it can."""

    name = "cwl"

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.answer: Removal | Exception = Removal()
        self.gave_up = False

    def remove(self, reference: str, part: Part, *, give_up: bool = False) -> Removal:
        assert part is Part.ALL
        self.gave_up = give_up
        if isinstance(self.answer, Exception):
            raise self.answer
        self.removed.append(reference)
        return self.answer

    def __getattr__(self, name: str) -> Any:  # the other methods of an engine aren't called
        return lambda *_: None


class World:
    """A store with an execution of alice's that has ended, and what removes it."""

    def __init__(self, database: Database) -> None:
        self.stores = Stores(database)
        self.engine = Engine()
        self.acts: list[Mapping[str, object]] = []
        state = ExecutionState(Status.SUCCEEDED, ended_at=NOW, outputs={"a": 1})
        self.add(Execution("e", "alice", "w", "w", "cwl", {"secret": 1}, NOW, state, "ref"))
        self.removals = self.process()

    def process(self) -> Removals:
        """Another process of the service."""
        engines = Engines([cast(Any, self.engine)], {"cwl": ".+"})
        executions = Executions(engines, self.stores.executions, cast(Any, None), cast(Any, None), cast(Any, None))
        return Removals(engines, executions, self.stores.removals, self.acts.append)

    def add(self, execution: Execution) -> None:
        self.stores.executions.add(replace(execution, reference=None))
        if execution.reference:
            self.stores.executions.set_reference(execution.id, execution.reference)
        self.stores.executions.save_state(execution.id, execution.state)

    def stored(self) -> Execution:
        return self.stores.executions.find_execution("e", None)

    def is_gone(self) -> bool:
        try:
            self.stored()
        except NotFound:
            return True
        return False


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_what_is_private_is_forgotten_before_files_are_touched(world: World) -> None:
    world.stores.shares.put("e", Shares(frozenset({"bob"})))
    world.engine.answer = Unavailable("The site is down.")
    assert world.removals.remove(ALICE, "e").waits_for == "The site is down."
    stored = world.stored()
    assert (stored.inputs, stored.state.outputs, stored.state.steps) == ({}, None, ())
    assert (stored.state.status, stored.removal_problem) == (Status.SUCCEEDED, "The site is down.")
    assert world.stores.shares.shares_of("e") == Shares()


def test_a_process_that_is_killed_at_any_moment_leaves_what_another_goes_on_with(world: World) -> None:
    assert world.stores.removals.begin("e", NOW)  # and killed before the files are gone
    assert not world.stores.removals.begin("e", NOW)
    assert world.process().sweep() == 1
    assert world.is_gone()
    assert world.engine.removed == ["ref"]
    assert world.process().sweep() == 0


def test_files_that_are_gone_and_a_record_that_is_not(world: World) -> None:
    world.stores.removals.begin("e", NOW)
    world.engine.remove("ref", Part.ALL)  # and killed before the record is gone
    assert world.removals.remove(ALICE, "e") == Removal()
    assert world.is_gone()
    assert [act["operation"] for act in world.acts] == ["executionRemoved"]


def test_only_one_process_is_at_work_on_one(world: World) -> None:
    world.stores.removals.begin("e", NOW)
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert len(world.stores.removals.take(datetime.now(UTC), later, 5)) == 1
    assert world.process().sweep() == 0
    assert len(world.stores.removals.take(later, later, 5)) == 1


def test_a_defect_with_one_is_told_and_tried_again(world: World) -> None:
    world.engine.answer = ZeroDivisionError()
    assert "unexpected" in (world.removals.remove(ALICE, "e").waits_for or "")
    assert not world.is_gone()


def test_after_thirty_days_what_cannot_be_reached_is_left_and_recorded(world: World) -> None:
    world.stores.removals.begin("e", NOW - GIVEN_UP - timedelta(days=1))
    world.engine.answer = Removal(left="Files stay.")
    world.removals.sweep()
    assert world.engine.gave_up
    assert world.is_gone()
    assert world.acts[0]["left"] == "Files stay."


def test_whoever_takes_its_outputs_and_has_not_begun_is_waited_for(world: World) -> None:
    taker = Execution("t", "bob", "w", "w", "cwl", {}, NOW, ExecutionState(Status.PENDING), "r2", inputs_from=("e",))
    world.add(taker)
    assert "hasn't begun yet" in (world.removals.remove(ALICE, "e").waits_for or "")
    assert world.engine.removed == []
    world.stores.executions.save_state("t", ExecutionState(Status.RUNNING))
    assert world.removals.remove(ALICE, "e").waits_for is None
    assert world.stores.executions.find_execution("t", "bob").inputs_from == ("e",)


def test_nothing_brings_it_back(world: World) -> None:
    failed = ExecutionState(Status.FAILED, ended_at=NOW)
    world.add(Execution("f", "alice", "w", "w", "cwl", {}, NOW, failed, "r3"))
    world.stores.removals.begin("f", NOW)
    world.stores.executions.reopen("f")
    assert world.stores.executions.find_execution("f", None).state.status is Status.FAILED


def test_what_has_not_ended_is_not_removed(world: World) -> None:
    world.add(Execution("r", "alice", "w", "w", "cwl", {}, NOW, ExecutionState(Status.PENDING), "r4"))
    with pytest.raises(Conflict):
        world.removals.begin(world.stores.executions.find_execution("r", None))
    assert world.stores.removals.take(NOW, NOW, 5) == []


def test_somebody_who_leaves_goes_when_nothing_of_theirs_is_left(world: World) -> None:
    """What no engine will ever end is closed, and keys go after the executions whose sites they open."""
    done: list[str] = []
    state = ExecutionState(Status.UNKNOWN)
    world.add(Execution("lost", "alice", "w", "w", "gone-engine", {}, NOW, state, "r9"))
    keys = cast(
        Any, SimpleNamespace(erase=lambda _: done.append(f"keys after {world.stores.removals.number('alice')}"))
    )
    uploads = cast(Any, SimpleNamespace(erase=lambda *_: done.append("uploads")))
    engines, executions = world.removals._engines, world.removals._executions
    records = world.stores
    leavers = Leavers(
        engines,
        executions,
        records.executions,
        world.removals,
        records.removals,
        records.leavers,
        uploads,
        keys,
        world.acts.append,
    )
    records.leavers.leave("alice", NOW)
    records.leavers.leave("alice", NOW)
    leavers.sweep()
    assert "isn't configured any more" in (world.removals.remove(ALICE, "lost").waits_for or "")
    assert done == ["uploads"]
    for execution in records.removals.take(LATER, LATER, 9):  # thirty days later
        records.removals.finish(execution.id)
    leavers._next_look = 0.0
    leavers.sweep()
    assert done == ["uploads", "uploads", "keys after 0"]
    assert records.leavers.leaving() == []
    assert world.acts[-1]["operation"] == "userRemoved"
