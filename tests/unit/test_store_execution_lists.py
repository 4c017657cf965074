"""Lists of executions: those that haven't ended, and pages with filters and cursors."""

from __future__ import annotations

import base64
import json
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwaas.core.endings import Closing
from hpcwaas.core.models import ExecutionFilter, ExecutionState, Status
from hpcwaas.core.people import Principal, Shares
from hpcwaas.errors import BadRequest
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.shares import ShareStore
from tests.unit.executions import START, execution


@pytest.fixture
def store(database: Database) -> ExecutionStore:
    return ExecutionStore(database)


HERS = ExecutionFilter("alice")


def test_unfinished_ones_oldest_first(store: ExecutionStore) -> None:
    young = execution(created_at=START + timedelta(seconds=1), state=ExecutionState(Status.UNKNOWN))
    old = execution()
    foreign = execution(owner="bob", created_at=START - timedelta(days=1), state=ExecutionState(Status.RUNNING))
    for each in (young, old, foreign, execution(state=ExecutionState(Status.CANCELLED))):
        store.add(each)
    assert store.unfinished() == [replace(it, inputs={}) for it in (foreign, old, young)]
    assert [it.id for it in store.unfinished("alice")] == [old.id, young.id]


def test_the_newest_of_unfinished_ones_are_chosen(store: ExecutionStore) -> None:
    statuses = (Status.RUNNING, Status.PENDING, Status.SUCCEEDED)
    started = [
        execution(created_at=START + timedelta(seconds=number), state=ExecutionState(statuses[number % 3]))
        for number in range(9)
    ]
    for each in started:
        store.add(each)
    assert [it.id for it in store.unfinished("alice", at_most=3)] == [started[number].id for number in (4, 6, 7)]


class TestShared:
    def test_each_is_found_once_newest_first_by_what_it_is(self, store: ExecutionStore, database: Database) -> None:
        bob = Principal("bob", "Bob", groups=frozenset({"group1", "group2", "group3"}))
        joiner = replace(bob, groups=frozenset(f"group{number}" for number in range(900)))
        his = Shares(frozenset({"bob"}), frozenset({"group1", "group2", "group899"}))
        shared = [
            execution(created_at=START + timedelta(seconds=number), workflow_id=f"w{number % 2}") for number in range(6)
        ]
        own = execution(owner="bob", created_at=START + timedelta(days=1))
        for each in (*shared, own, execution()):
            store.add(each)
        for each in (*shared, own):
            ShareStore(database).put(each.id, his)

        def ids(**filters: Any) -> list[str]:
            found: list[str] = []
            cursor: str | None = None
            while True:
                page, cursor = store.page(ExecutionFilter(shared_with=bob, **filters), limit=2, cursor=cursor)
                found += [it.id for it in page]
                if cursor is None:
                    return found

        newest = [each.id for each in reversed(shared)]
        assert ids() == newest
        assert [it.id for it in store.page(ExecutionFilter(shared_with=joiner), limit=10)[0]] == newest
        assert ids(workflow_id="w1") == newest[::2]
        assert ids(ids=[*newest[:2], own.id]) == newest[:2]
        assert ids(created_before=START + timedelta(seconds=3)) == newest[3:]
        store.save_state(shared[3].id, ExecutionState(Status.RUNNING))
        store.save_state(shared[4].id, ExecutionState(Status.FAILED, ended_at=START))
        assert ids(statuses=[Status.RUNNING]) == [shared[3].id]
        assert ids(statuses=[Status.RUNNING, Status.FAILED]) == [shared[4].id, shared[3].id]
        assert ids(statuses=[Status.FAILED], workflow_id="w1") == []
        for person in (bob, joiner):
            assert [it.id for it in store.unfinished(shared_with=person)] == [it.id for it in (*shared[:4], shared[5])]
        store.reopen(shared[4].id)
        assert ids(statuses=[Status.RUNNING]) == [shared[4].id, shared[3].id]
        store.close(shared[3].id, Closing("root", START, "it hangs"), "it hangs", START)
        assert ids(statuses=[Status.CANCELLED]) == [shared[3].id]

    def test_late_news_change_no_share(self, store: ExecutionStore, database: Database) -> None:
        ended = execution(state=ExecutionState(Status.SUCCEEDED, ended_at=START))
        store.add(ended)
        ShareStore(database).put(ended.id, Shares(frozenset({"bob"}), frozenset()))
        store.save_state(ended.id, ExecutionState(Status.RUNNING))
        assert store.unfinished(shared_with=Principal("bob", "Bob")) == []

    def test_takers_are_found_with_every_other_filter(self, store: ExecutionStore, database: Database) -> None:
        source = execution(created_at=START - timedelta(days=1))
        takers = [
            execution(owner=owner, created_at=START + timedelta(seconds=number), inputs_from=(source.id,))
            for number, owner in enumerate(("alice", "bob", "alice"))
        ]
        for each in (source, *takers, execution()):
            store.add(each)
        ShareStore(database).put(takers[1].id, Shares(frozenset({"alice"}), frozenset()))

        def ids(**filters: Any) -> list[str]:
            return [it.id for it in store.page(ExecutionFilter(inputs_from=source.id, **filters), limit=5)[0]]

        assert ids() == [taker.id for taker in reversed(takers)]
        assert ids(owner="alice") == [takers[2].id, takers[0].id]
        assert ids(owner="alice", statuses=[Status.FAILED]) == []
        assert ids(owner="alice", workflow_id=source.workflow_id, created_before=takers[2].created_at) == [takers[0].id]
        assert ids(shared_with=Principal("alice", "Alice")) == [takers[1].id]
        assert ids(owner="alice", ids=[source.id, takers[0].id, takers[1].id]) == [takers[0].id]


class TestPages:
    def test_newest_first_in_parts(self, store: ExecutionStore) -> None:
        # Several at the same moment, so that the id decides.
        all_of_them = [execution(created_at=START + timedelta(microseconds=number // 3)) for number in range(10)]
        for each in random.sample(all_of_them, len(all_of_them)):
            store.add(each)
        expected = sorted(all_of_them, key=lambda given: (given.created_at, given.id), reverse=True)
        for limit in (1, 3, 5, 10, 11):
            seen, cursor = store.page(HERS, limit=limit)
            while cursor is not None:
                assert len(seen) % limit == 0
                more, cursor = store.page(HERS, limit=limit, cursor=cursor)
                assert more
                seen += more
            assert seen == [replace(it, inputs={}) for it in expected]

    def test_filters(self, store: ExecutionStore) -> None:
        hour = timedelta(hours=1)
        done = execution(state=ExecutionState(Status.SUCCEEDED), created_at=START)
        other = execution(workflow_id="other", created_at=START + hour)
        running = execution(state=ExecutionState(Status.RUNNING), created_at=START + 2 * hour)
        foreign = execution(owner="bob", created_at=START + 3 * hour)
        for each in (done, other, running, foreign):
            store.add(each)

        def ids(owner: str | None = "alice", **filters: Any) -> list[str]:
            return [found.id for found in store.page(ExecutionFilter(owner, **filters), limit=10)[0]]

        assert ids() == [running.id, other.id, done.id]
        assert ids(None) == [foreign.id, running.id, other.id, done.id]
        assert ids("nobody") == []
        assert ids(workflow_id="other") == [other.id]
        assert ids(statuses={Status.SUCCEEDED, Status.RUNNING}) == [running.id, done.id]
        assert ids(statuses=[]) == []
        assert ids(created_after=START + hour) == [running.id, other.id]
        assert ids(created_before=START + hour) == [done.id]
        assert ids(created_after=START + hour, created_before=START + 2 * hour) == [other.id]
        assert ids(ids=[done.id, foreign.id, "unknown"]) == [done.id]
        assert ids(ids=[]) == []
        assert ids(created_after=datetime.min.replace(tzinfo=UTC)) == ids()

    def test_pages_before_a_moment_go_on_from_their_cursor(self, store: ExecutionStore) -> None:
        all_of_them = [execution(created_at=START + timedelta(hours=number)) for number in range(6)]
        for each in all_of_them:
            store.add(each)
        wanted = ExecutionFilter(
            "alice", created_after=START + timedelta(hours=1), created_before=all_of_them[5].created_at
        )
        seen, cursor = store.page(wanted, limit=3)
        assert [it.id for it in seen] == [each.id for each in all_of_them[4:1:-1]]
        assert [it.id for it in store.page(wanted, limit=3, cursor=cursor)[0]] == [all_of_them[1].id]
        _, newest = store.page(HERS, limit=1)
        assert [it.id for it in store.page(wanted, limit=1, cursor=newest)[0]] == [all_of_them[4].id]

    def test_nothing_is_shown_twice_or_skipped_while_new_ones_arrive(self, store: ExecutionStore) -> None:
        old = [execution(created_at=datetime.now(UTC)) for _ in range(40)]
        for each in old:
            store.add(each)
        stop = threading.Event()

        def keep_adding() -> None:
            while not stop.is_set():
                store.add(execution(created_at=datetime.now(UTC)))

        adders = [threading.Thread(target=keep_adding) for _ in range(2)]
        for adder in adders:
            adder.start()
        try:
            for _ in range(3):
                seen, cursor = store.page(HERS, limit=7)
                while cursor is not None:
                    more, cursor = store.page(HERS, limit=7, cursor=cursor)
                    seen += more
                ids = [found.id for found in seen]
                assert len(ids) == len(set(ids))
                assert set(ids) >= {given.id for given in old}
                assert all(a.created_at >= b.created_at for a, b in pairwise(seen))
        finally:
            stop.set()
            for adder in adders:
                adder.join()

    def test_a_cursor_is_safe_in_a_url(self, store: ExecutionStore) -> None:
        for number in range(2):
            store.add(execution(id=f"~~~???>>>{number}", created_at=START + timedelta(seconds=number)))
        _, cursor = store.page(HERS, limit=1)
        assert cursor is not None
        assert cursor.replace("-", "").replace("_", "").isalnum()
        assert [found.id for found in store.page(HERS, limit=1, cursor=cursor)[0]] == ["~~~???>>>0"]

    @pytest.mark.parametrize(
        "text",
        [
            "", "null", "3", "[]", "[1, 2]", '["x", "y"]', '["2026-01-01T00:00:00", "naive"]',
            '["2026-01-01T00:00:00Z", 3]',
            '["2026-01-01T00:00:00Z", "\\ud800"]', '["2026-01-01T00:00:00Z", "a", "b"]', "{", "[" * 100_000, "\ud800",
        ],
    )  # fmt: skip
    def test_a_malformed_cursor_is_a_bad_request(self, store: ExecutionStore, text: str) -> None:
        encoded = base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).decode()
        for cursor in (encoded, encoded.rstrip("=")):
            with pytest.raises(BadRequest, match="cursor"):
                store.page(HERS, limit=1, cursor=cursor)

    @given(cursor=st.text())
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_text_as_a_cursor_is_a_bad_request(self, store: ExecutionStore, cursor: str) -> None:
        with pytest.raises(BadRequest, match="cursor"):
            store.page(HERS, limit=1, cursor=cursor)

    def test_a_cursor_at_the_ends_of_the_calendar(self, store: ExecutionStore) -> None:
        store.add(execution())
        for moment, found in (("0001-01-01T00:00:00+14:00", 0), ("9999-12-31T23:59:59-12:00", 1)):
            cursor = base64.urlsafe_b64encode(json.dumps([moment, "x"]).encode()).decode()
            assert len(store.page(HERS, limit=1, cursor=cursor)[0]) == found
