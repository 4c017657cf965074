"""How an execution is started once: idempotency keys, references, claims, and intents that come to nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hpcwaas.core.models import ExecutionState, Status
from hpcwaas.errors import Conflict, NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from tests.at_once import at_once
from tests.unit.executions import START, execution


@pytest.fixture
def store(database: Database) -> ExecutionStore:
    return ExecutionStore(database)


class TestIdempotency:
    def test_the_same_request_finds_the_first_execution(self, store: ExecutionStore) -> None:
        first = execution()
        assert store.add(first, ("key", "f")) == (first, True)
        store.set_reference(first.id, "ref")
        assert store.add(execution(), ("key", "f")) == (replace(first, reference="ref"), False)
        assert len(store.unfinished()) == 1

    def test_another_request_is_refused_and_stores_nothing(self, store: ExecutionStore) -> None:
        store.add(execution(), ("key", "f"))
        with pytest.raises(Conflict, match="Idempotency-Key"):
            store.add(execution(), ("key", "g"))
        assert len(store.unfinished()) == 1

    def test_each_owner_has_own_keys(self, store: ExecutionStore) -> None:
        assert store.add(execution(), ("key", "f"))[1]
        assert store.add(execution(owner="bob"), ("key", "g"))[1]

    def test_a_key_is_forgotten_after_a_day(self, store: ExecutionStore) -> None:
        store.add(execution(), ("key", "f"))
        almost, after = START + timedelta(hours=24), START + timedelta(hours=24, microseconds=1)
        assert not store.add(execution(created_at=almost), ("key", "f"))[1]
        assert store.add(execution(created_at=after), ("key", "g"))[1]

    def test_threads_with_one_key_make_one_execution(self, store: ExecutionStore) -> None:
        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(lambda _: store.add(execution(), ("key", "f")), range(32)))
        assert sum(created for _, created in results) == 1
        assert len({found.id for found, _ in results}) == 1
        assert len(store.unfinished()) == 1


def add_many(url: str) -> list[tuple[str, bool]]:
    database = Database(url)
    store = ExecutionStore(database)
    added = []
    for number in range(20):
        found, created = store.add(execution(created_at=datetime.now(UTC)), (f"key-{number}", "f"))
        store.save_state(found.id, ExecutionState(Status.RUNNING))
        added.append((found.id, created))
    database.close()
    return added


def test_processes_with_the_same_keys_make_each_execution_once(store: ExecutionStore, store_url: str) -> None:
    added = at_once(add_many, [[store_url]] * 4)
    for same_key in zip(*added, strict=True):
        assert len({found for found, _ in same_key}) == 1
        assert sum(created for _, created in same_key) == 1
    assert len(store.unfinished()) == 20


def test_what_a_crash_before_the_engines_answer_leaves_is_found(store: ExecutionStore) -> None:
    lost, started, ended, fresh = (
        execution(),
        execution(),
        execution(state=ExecutionState(Status.FAILED)),
        execution(created_at=START + timedelta(minutes=5)),
    )
    for each in (lost, started, ended, fresh):
        store.add(each)
    store.set_reference(started.id, "ref")
    assert store.without_reference(START + timedelta(seconds=14)) == []  # the request may be under way
    assert store.without_reference(START + timedelta(seconds=15)) == [lost]


class TestClaims:
    def test_only_one_takes_on_what_was_left_behind(self, store: ExecutionStore) -> None:
        left = execution()
        store.add(left)
        now = START + timedelta(minutes=1)
        assert not store.claim(left.id, START, now)
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda _: store.claim(left.id, now, now + timedelta(minutes=1)), range(16)))
        assert taken.count(True) == 1
        assert store.without_reference(now) == []
        assert store.without_reference(now + timedelta(minutes=1)) == [left]
        assert store.claim(left.id, now + timedelta(minutes=1), now + timedelta(minutes=2))

    def test_one_that_is_given_up_is_anybodys(self, store: ExecutionStore) -> None:
        left = execution()
        store.add(left)
        store.postpone(left.id, START + timedelta(seconds=5))
        assert not store.claim(left.id, START + timedelta(seconds=4), START + timedelta(minutes=1))
        assert store.claim(left.id, START + timedelta(seconds=5), START + timedelta(minutes=1))

    def test_what_is_started_or_over_or_unknown_is_nobodys(self, store: ExecutionStore) -> None:
        started, over = execution(), execution(state=ExecutionState(Status.FAILED))
        for each in (started, over):
            store.add(each)
        store.set_reference(started.id, "ref")
        late = START + timedelta(hours=1)
        assert [store.claim(each, late, late) for each in (started.id, over.id, "nothing")] == [False] * 3

    def test_an_engines_execution_belongs_to_one(self, store: ExecutionStore) -> None:
        first, second, elsewhere = execution(), execution(), execution(engine="other")
        for each in (first, second, elsewhere):
            store.add(each)
            store.postpone(each.id, START)
        store.set_reference(first.id, "ref")
        store.set_reference(first.id, "ref")
        store.set_reference(elsewhere.id, "ref")
        with pytest.raises(Conflict, match="another one"):
            store.set_reference(second.id, "ref")
        assert store.without_reference(START) == [second]


class TestDiscard:
    def test_an_intent_goes_with_its_idempotency_key(self, store: ExecutionStore) -> None:
        store.add(execution(), ("other", "f"))
        intent, _ = store.add(execution(), ("key", "f"))
        store.discard(intent.id)
        store.discard(intent.id)
        with pytest.raises(NotFound):
            store.find_execution(intent.id, None)
        assert store.add(execution(), ("key", "g"))[1]
        assert not store.add(execution(), ("other", "f"))[1]

    def test_what_another_process_has_started_meanwhile_stays(self, store: ExecutionStore) -> None:
        started, _ = store.add(execution(), ("key", "f"))
        store.set_reference(started.id, "ref")
        store.discard(started.id)
        assert store.add(execution(), ("key", "f")) == (replace(started, reference="ref"), False)

    def test_a_reference_of_nothing_is_noticed(self, store: ExecutionStore) -> None:
        with pytest.raises(NotFound):
            store.set_reference("nothing", "ref")
