"""Attempts, closings, and lists that are kept, as the store has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hpcwaas.common import written
from hpcwaas.core.endings import Closing
from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.listings import ListingStore

BEGIN = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


@pytest.fixture
def store(database: Database) -> ExecutionStore:
    return ExecutionStore(database)


def running(store: ExecutionStore, name: str = "one") -> str:
    state = ExecutionState(Status.PENDING)
    inputs = written.loads('{"share": 1.10, "many": [1e3, 12345678901234567890]}')
    store.add(Execution(name, "alice", "wf", "wf", "alien4cloud", inputs, at(-1), state))
    store.set_reference(name, f"a@b@{name}")
    store.save_state(name, ExecutionState(Status.RUNNING, started_at=at(0)))
    return name


def test_inputs_are_kept_as_they_were_written(store: ExecutionStore) -> None:
    found = store.find_execution(running(store), "alice")
    assert written.dumps(found.inputs) == '{"share": 1.10, "many": [1e3, 12345678901234567890]}'


def test_attempts_are_kept_and_the_first_start_stays(store: ExecutionStore) -> None:
    name = running(store)
    for number in range(3):
        failed = ExecutionState(Status.FAILED, at(number * 10), at(number * 10 + 5), f"attempt {number + 1} failed")
        assert store.save_state(name, failed).state.status is Status.FAILED
        store.reopen(name)
        store.reopen(name)  # by another process at the same moment
        assert store.save_state(name, failed).state.status is Status.RUNNING  # what it heard of the attempt before
        store.save_state(name, ExecutionState(Status.RUNNING, started_at=at(number * 10 + 10)))
    found = store.find_execution(name, "alice")
    assert found.started_at == at(0)
    assert found.state.started_at == at(30)
    assert [(it.started_at, it.ended_at, it.reason) for it in found.attempts] == [
        (at(number * 10), at(number * 10 + 5), f"attempt {number + 1} failed") for number in range(3)
    ]


def test_a_closed_execution_takes_how_it_really_ended_once(store: ExecutionStore) -> None:
    name = running(store)
    assert store.count_unfinished("alice") == 1
    closed = store.close(name, Closing("root", at(20), "gone"), "Closed by root: gone", at(60))
    assert closed.state.status is Status.CANCELLED
    assert closed.closed == Closing("root", at(20), "gone")
    assert closed.watched_until == at(60)
    assert not closed.settled
    assert (store.count_unfinished("alice"), store.unfinished()) == (0, [])
    assert [it.id for it in store.watched(at(59))] == [name]
    assert store.watched(at(61)) == []
    again = store.close(name, Closing("alice", at(21), "me too"), "Closed by alice", at(60))
    assert again.closed is not None
    assert again.closed.by == "root"
    assert store.save_state(name, ExecutionState(Status.RUNNING, started_at=at(0))).state == closed.state
    ended = ExecutionState(Status.FAILED, at(0), at(5), "The step failed.", outputs={})
    late = store.save_state(name, ended)
    assert late.state == ended
    assert late.closed == Closing("root", at(20), "gone")
    assert late.watched_until is None
    assert late.settled
    assert store.watched(at(0)) == []
    assert store.save_state(name, ExecutionState(Status.SUCCEEDED, at(0), at(6))).state == ended


def test_what_has_ended_is_not_closed(store: ExecutionStore) -> None:
    name = running(store)
    store.save_state(name, ExecutionState(Status.SUCCEEDED, at(0), at(1)))
    assert store.close(name, Closing("root", at(2), "gone"), "Closed", at(60)).closed is None


def test_lists_are_kept_by_name(database: Database) -> None:
    listings = ListingStore(database)
    assert listings.last_listing("a") is None
    listings.put("a", [{"id": "x"}], at(0))
    listings.put("b", [], at(1))
    listings.put("a", [{"id": "y"}], at(2))
    assert listings.last_listing("a") == ([{"id": "y"}], at(2))
    assert listings.last_listing("b") == ([], at(1))
