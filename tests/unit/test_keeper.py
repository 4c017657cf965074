"""The keepers of several processes and replicas, each with its own connection to the one store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from hpcwaas.core.keeper import Keeper
from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.core.people import Principal
from hpcwaas.core.starts_under_way import StartsUnderWay
from hpcwaas.errors import Unavailable
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from tests.waiting import until


class Recoveries:
    """In place of the use cases: notes what was asked of them."""

    def __init__(self, records: ExecutionStore, outcome: Callable[[Execution], None]) -> None:
        self.outcome = outcome
        self.recovered: list[str] = []
        self.refreshed: list[str] = []
        self.under_way = StartsUnderWay(records)

    def recover(self, execution: Execution) -> None:
        self.recovered.append(execution.id)
        self.outcome(execution)

    def refresh(self, execution: Execution) -> None:
        self.refreshed.append(execution.id)


def left(store: ExecutionStore, *, ago: float) -> Execution:
    """An execution that a crash left without a reference some seconds ago."""
    created_at = datetime.now(UTC) - timedelta(seconds=ago)
    state = ExecutionState(Status.PENDING)
    return store.add(Execution(uuid4().hex, "alice", "w", "w", "cwl", {}, created_at, state))[0]


def test_each_execution_is_recovered_by_one(database: Database, store_url: str) -> None:
    store = ExecutionStore(database)
    expected = {left(store, ago=61).id for _ in range(10)}
    left(store, ago=10)  # its request may be under way
    barrier = threading.Barrier(4)

    def work(_: int) -> list[str]:
        own = Database(store_url)
        records = ExecutionStore(own)
        recoveries = Recoveries(records, lambda execution: records.set_reference(execution.id, execution.id))
        keeper = Keeper(recoveries, records, [])  # type: ignore[arg-type]
        barrier.wait(60)
        keeper.round()
        own.close()
        return recoveries.recovered

    with ThreadPoolExecutor(4) as pool:
        recovered = [execution for each in pool.map(work, range(4)) for execution in each]
    assert len(recovered) == len(expected)
    assert set(recovered) == expected
    assert store.without_reference(datetime.now(UTC)) == []


def test_what_cannot_be_started_now_is_tried_again_soon_by_anybody(database: Database) -> None:
    store = ExecutionStore(database)
    execution = left(store, ago=61)

    def down(_: Execution) -> None:
        raise Unavailable("The engine is down.")

    recoveries = Recoveries(store, down)
    keeper = Keeper(recoveries, store, [], interval=1)  # type: ignore[arg-type]
    keeper.round()
    assert recoveries.recovered == [execution.id]
    now = datetime.now(UTC)
    assert store.without_reference(now) == []
    assert store.without_reference(now + timedelta(seconds=1)) == [execution]


def test_a_claim_of_one_who_died_lapses(database: Database) -> None:
    store = ExecutionStore(database)
    execution = left(store, ago=61)

    def die(_: Execution) -> None:
        raise SystemExit

    keeper = Keeper(Recoveries(store, die), store, [])  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        keeper.round()
    now = datetime.now(UTC)
    assert store.without_reference(now + timedelta(seconds=10)) == []
    assert store.without_reference(now + timedelta(seconds=15)) == [execution]


def test_what_takes_long_to_start_is_left_to_who_starts_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.core.starts_under_way.CLAIM", timedelta(seconds=2.5))
    store = ExecutionStore(database)
    recoveries = Recoveries(store, lambda _: None)
    keeper = Keeper(recoveries, store, [], interval=0.05)  # type: ignore[arg-type]
    execution = left(store, ago=14)
    with recoveries.under_way.held(execution.id):
        keeper.start()
        time.sleep(3.5)
        assert recoveries.recovered == []
        keeper.close()  # as a crash does
    assert store.without_reference(datetime.now(UTC)) == []
    until(lambda: store.without_reference(datetime.now(UTC)) == [execution])


class Looked(ExecutionStore):
    """Counts the looks for what isn't over."""

    looks = 0

    def unfinished(
        self, owner: str | None = None, shared_with: Principal | None = None, at_most: int | None = None
    ) -> list[Execution]:
        self.looks += 1
        return super().unfinished(owner, shared_with, at_most)


def test_it_looks_anew_only_when_something_was_stored_or_is_unfinished(database: Database, store_url: str) -> None:
    store = Looked(database)
    recoveries = Recoveries(store, lambda _: None)
    keeper = Keeper(recoveries, store, [])  # type: ignore[arg-type]
    for _ in range(3):
        keeper.round()
    assert store.looks == (3 if "postgresql" in store_url else 1)
    other = Database(store_url)
    execution = left(ExecutionStore(other), ago=1)
    other.close()
    store.looks = 0
    for _ in range(3):
        keeper.round()
    assert store.looks == 3
    assert recoveries.refreshed == [execution.id] * 3


def test_sweeps_are_rare_when_nothing_was_stored_for_a_while(
    database: Database, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[float] = []
    store = ExecutionStore(database)
    keeper = Keeper(Recoveries(store, lambda _: None), store, [lambda: swept.append(now)])  # type: ignore[arg-type]
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(20):
        keeper.round()
        now += 5
    rare = [1000 + after for after in (0, 5, 10, 15, 20, 50, 80)]
    assert swept == ([1000.0 + 5 * number for number in range(20)] if "postgresql" in store_url else rare)
    left(store, ago=1)
    swept.clear()
    keeper.round()
    assert swept == [now]
