from __future__ import annotations

import base64
import json
import multiprocessing
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwaas.core.models import Execution, ExecutionState, Status, Step, StepStatus
from hpcwaas.errors import BadRequest, Conflict, NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.executions import ExecutionStore

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def execution(**changes: Any) -> Execution:
    usual = Execution(
        id=uuid4().hex,
        owner="alice",
        workflow_id="words@local@words",
        workflow_name="words",
        engine="cwl",
        inputs={"n": 1},
        created_at=START,
        state=ExecutionState(Status.PENDING),
    )
    return replace(usual, **changes)


@pytest.fixture
def store(database: Database) -> ExecutionStore:
    return ExecutionStore(database)


MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)
# In what isn't JSON no database stores it, and PostgreSQL no NUL character.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
STEPS = st.builds(Step, st.text(), st.sampled_from(StepStatus), st.none() | st.text(), MOMENTS, MOMENTS)
STATES = st.builds(
    ExecutionState,
    status=st.sampled_from(Status),
    started_at=MOMENTS,
    ended_at=MOMENTS,
    reason=st.none() | TEXTS,
    steps=st.lists(STEPS, max_size=3).map(tuple),
    outputs=st.none() | OBJECTS,
).map(lambda state: state if state.status.over else replace(state, ended_at=None))


@given(state=STATES, inputs=OBJECTS, reference=st.none() | TEXTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_stored_comes_back_equal(
    store: ExecutionStore, state: ExecutionState, inputs: dict[str, Any], reference: str | None
) -> None:
    given = execution(state=state, inputs=inputs, reference=reference, engine=uuid4().hex)
    assert store.add(given) == (given, True)
    assert store.get(given.id, "alice") == given


def test_large_integers_and_half_surrogates_in_inputs_survive(store: ExecutionStore) -> None:
    given = execution(inputs={"n": 12345678901234567890, "text": "\ud800", "nul": "\0"})
    store.add(given)
    assert store.get(given.id, None).inputs == given.inputs


def test_a_failure_from_before_it_was_resumed_does_not_come_back(store: ExecutionStore) -> None:
    given = execution()
    store.add(given)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    failed = ExecutionState(Status.FAILED, ended_at=at, reason="a step failed")
    assert store.save_state(given.id, failed).state == failed
    store.reopen(given.id)
    running = ExecutionState(Status.RUNNING, started_at=at)
    for news in (failed, running, failed):  # what other workers still know of it, too
        shown = store.save_state(given.id, news).state
        assert (shown.status, shown.ended_at, shown.reason) == (Status.RUNNING, None, None)
    again = replace(failed, ended_at=at + timedelta(seconds=1))
    assert store.save_state(given.id, again).state == again
    store.reopen(given.id)
    succeeded = ExecutionState(Status.SUCCEEDED, ended_at=at)  # by a clock of its own
    assert store.save_state(given.id, succeeded).state == succeeded


def test_an_execution_of_somebody_else_is_as_unknown_as_none(store: ExecutionStore) -> None:
    given = execution()
    store.add(given)
    with pytest.raises(NotFound) as foreign:
        store.get(given.id, "bob")
    with pytest.raises(NotFound) as unknown:
        store.get("nothing", "bob")
    assert foreign.value.detail == unknown.value.detail
    assert store.get(given.id, None) == given


def test_an_id_is_used_once(store: ExecutionStore) -> None:
    given = execution()
    store.add(given)
    with pytest.raises(Conflict):
        store.add(replace(given, owner="bob"))
    with pytest.raises(Conflict):
        store.add(replace(given, owner="bob"), ("key", "fingerprint"))
    assert store.get(given.id, None).owner == "alice"


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


def _add_many(url: str, results: multiprocessing.Queue[list[tuple[str, bool]]]) -> None:
    database = Database(url)
    store = ExecutionStore(database)
    added = []
    for number in range(20):
        found, created = store.add(execution(created_at=datetime.now(UTC)), (f"key-{number}", "f"))
        store.save_state(found.id, ExecutionState(Status.RUNNING))
        added.append((found.id, created))
    results.put(added)
    database.close()


def test_processes_with_the_same_keys_make_each_execution_once(store: ExecutionStore, store_url: str) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_add_many, args=(store_url, results)) for _ in range(4)]
    for process in processes:
        process.start()
    added = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=10)
    assert [process.exitcode for process in processes] == [0] * 4
    for same_key in zip(*added, strict=True):
        assert len({found for found, _ in same_key}) == 1
        assert sum(created for _, created in same_key) == 1
    assert len(store.unfinished()) == 20


NOT_OVER = [status for status in Status if not status.over]
OVER = [status for status in Status if status.over]


@pytest.mark.parametrize("ended", OVER)
@pytest.mark.parametrize("late", list(Status))
def test_an_ended_execution_stays_as_it_ended(store: ExecutionStore, ended: Status, late: Status) -> None:
    final = ExecutionState(ended, START, START, "that is it")
    given = execution(state=final)
    store.add(given)
    assert store.save_state(given.id, ExecutionState(late, reason="news")).state == final
    assert store.get(given.id, None).state == final


@pytest.mark.parametrize("before", NOT_OVER)
@pytest.mark.parametrize("after", list(Status))
def test_no_status_goes_backwards(store: ExecutionStore, before: Status, after: Status) -> None:
    backwards = {
        (Status.RUNNING, Status.PENDING),
        (Status.CANCELLING, Status.PENDING),
        (Status.CANCELLING, Status.RUNNING),
    }
    given = execution(state=ExecutionState(before))
    store.add(given)
    kept = before if (before, after) in backwards else after
    assert store.save_state(given.id, ExecutionState(after)).state.status == kept


def test_racing_news_end_with_the_end(store: ExecutionStore) -> None:
    given = execution()
    store.add(given)
    news = [ExecutionState(status) for status in [*NOT_OVER] * 8]
    news.insert(len(news) // 2, ExecutionState(Status.SUCCEEDED, outputs={"n": 1}))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda state: store.save_state(given.id, state), news))
    assert store.get(given.id, None).state == ExecutionState(Status.SUCCEEDED, outputs={"n": 1})


def test_news_of_an_unknown_execution(store: ExecutionStore) -> None:
    with pytest.raises(NotFound):
        store.save_state("nothing", ExecutionState(Status.RUNNING))


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


def test_a_reason_that_no_database_stores_is_mended(store: ExecutionStore) -> None:
    given = execution(state=ExecutionState(Status.FAILED, reason="a\0b\ud800c"))
    store.add(given)
    assert store.get(given.id, None).state.reason == "a\N{REPLACEMENT CHARACTER}b?c"


class TestDiscard:
    def test_an_intent_goes_with_its_idempotency_key(self, store: ExecutionStore) -> None:
        store.add(execution(), ("other", "f"))
        intent, _ = store.add(execution(), ("key", "f"))
        store.discard(intent.id)
        store.discard(intent.id)
        with pytest.raises(NotFound):
            store.get(intent.id, None)
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


def test_unfinished_ones_oldest_first(store: ExecutionStore) -> None:
    young = execution(created_at=START + timedelta(seconds=1), state=ExecutionState(Status.UNKNOWN))
    old = execution()
    foreign = execution(owner="bob", created_at=START - timedelta(days=1), state=ExecutionState(Status.RUNNING))
    for each in (young, old, foreign, execution(state=ExecutionState(Status.CANCELLED))):
        store.add(each)
    assert store.unfinished() == [replace(it, inputs={}) for it in (foreign, old, young)]
    assert [it.id for it in store.unfinished("alice")] == [old.id, young.id]


class TestPages:
    def test_newest_first_in_parts(self, store: ExecutionStore) -> None:
        # Several at the same moment, so that the id decides.
        all_of_them = [execution(created_at=START + timedelta(microseconds=number // 3)) for number in range(10)]
        for each in random.sample(all_of_them, len(all_of_them)):
            store.add(each)
        expected = sorted(all_of_them, key=lambda given: (given.created_at, given.id), reverse=True)
        for limit in (1, 3, 5, 10, 11):
            seen, cursor = store.page("alice", limit=limit)
            while cursor is not None:
                assert len(seen) % limit == 0
                more, cursor = store.page("alice", limit=limit, cursor=cursor)
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
            return [found.id for found in store.page(owner, limit=10, **filters)[0]]

        assert ids() == [running.id, other.id, done.id]
        assert ids(None) == [foreign.id, running.id, other.id, done.id]
        assert ids("nobody") == []
        assert ids(workflow_id="other") == [other.id]
        assert ids(statuses={Status.SUCCEEDED, Status.RUNNING}) == [running.id, done.id]
        assert ids(statuses=[]) == []
        assert ids(created_after=START + hour) == [running.id, other.id]
        assert ids(created_before=START + hour) == [done.id]
        assert ids(created_after=START + hour, created_before=START + 2 * hour) == [other.id]
        assert ids(created_after=datetime.min.replace(tzinfo=UTC)) == ids()

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
                seen, cursor = store.page("alice", limit=7)
                while cursor is not None:
                    more, cursor = store.page("alice", limit=7, cursor=cursor)
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
        _, cursor = store.page("alice", limit=1)
        assert cursor is not None
        assert cursor.replace("-", "").replace("_", "").isalnum()
        assert [found.id for found in store.page("alice", limit=1, cursor=cursor)[0]] == ["~~~???>>>0"]

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
                store.page("alice", limit=1, cursor=cursor)

    @given(cursor=st.text())
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_text_as_a_cursor_is_a_bad_request(self, store: ExecutionStore, cursor: str) -> None:
        with pytest.raises(BadRequest, match="cursor"):
            store.page("alice", limit=1, cursor=cursor)

    def test_a_cursor_at_the_ends_of_the_calendar(self, store: ExecutionStore) -> None:
        store.add(execution())
        for moment, found in (("0001-01-01T00:00:00+14:00", 0), ("9999-12-31T23:59:59-12:00", 1)):
            cursor = base64.urlsafe_b64encode(json.dumps([moment, "x"]).encode()).decode()
            assert len(store.page("alice", limit=1, cursor=cursor)[0]) == found
