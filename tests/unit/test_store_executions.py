"""What is stored of an execution comes back equal, and late news changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwaas.core.models import ExecutionState, Status, Step, StepStatus
from hpcwaas.core.site_models import Job, Placement
from hpcwaas.errors import Conflict, NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from tests.unit.executions import START, execution

MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)
# In what isn't JSON no database stores it, and PostgreSQL no NUL character.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JOBS = st.builds(Job, st.text(), st.text(), *(st.none() | st.text() for _ in range(3)), MOMENTS, MOMENTS, MOMENTS)
STEPS = st.builds(
    Step, st.text(), st.sampled_from(StepStatus), st.none() | st.text(), MOMENTS, MOMENTS, st.none() | JOBS
)
PLACEMENTS = st.builds(Placement, TEXTS, st.none() | TEXTS, st.none() | TEXTS)
STATES = st.builds(
    ExecutionState,
    status=st.sampled_from(Status),
    started_at=MOMENTS,
    ended_at=MOMENTS,
    reason=st.none() | TEXTS,
    steps=st.lists(STEPS, max_size=3).map(tuple),
    outputs=st.none() | OBJECTS,
    directory=st.none() | TEXTS,
).map(lambda state: state if state.status.over else replace(state, ended_at=None))
NOT_OVER = [status for status in Status if not status.over]
OVER = [status for status in Status if status.over]


@pytest.fixture
def store(database: Database) -> ExecutionStore:
    return ExecutionStore(database)


@given(state=STATES, inputs=OBJECTS, reference=st.none() | TEXTS, placement=st.none() | PLACEMENTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_stored_comes_back_equal(
    store: ExecutionStore,
    state: ExecutionState,
    inputs: dict[str, Any],
    reference: str | None,
    placement: Placement | None,
) -> None:
    given = execution(state=state, inputs=inputs, reference=reference, engine=uuid4().hex, placement=placement)
    assert store.add(given) == (given, True)
    assert store.find_execution(given.id, "alice") == given


def test_large_integers_and_half_surrogates_in_inputs_survive(store: ExecutionStore) -> None:
    given = execution(inputs={"n": 12345678901234567890, "text": "\ud800", "nul": "\0"})
    store.add(given)
    assert store.find_execution(given.id, None).inputs == given.inputs


def test_a_reason_that_no_database_stores_is_mended(store: ExecutionStore) -> None:
    given = execution(state=ExecutionState(Status.FAILED, reason="a\0b\ud800c"))
    store.add(given)
    assert store.find_execution(given.id, None).state.reason == "a\N{REPLACEMENT CHARACTER}b?c"


def test_an_execution_of_somebody_else_is_as_unknown_as_none(store: ExecutionStore) -> None:
    given = execution()
    store.add(given)
    with pytest.raises(NotFound) as foreign:
        store.find_execution(given.id, "bob")
    with pytest.raises(NotFound) as unknown:
        store.find_execution("nothing", "bob")
    assert foreign.value.detail == unknown.value.detail
    assert store.find_execution(given.id, None) == given


def test_an_id_is_used_once(store: ExecutionStore) -> None:
    given = execution()
    store.add(given)
    with pytest.raises(Conflict):
        store.add(replace(given, owner="bob"))
    with pytest.raises(Conflict):
        store.add(replace(given, owner="bob"), ("key", "fingerprint"))
    assert store.find_execution(given.id, None).owner == "alice"


@pytest.mark.parametrize("ended", OVER)
@pytest.mark.parametrize("late", list(Status))
def test_an_ended_execution_stays_as_it_ended(store: ExecutionStore, ended: Status, late: Status) -> None:
    final = ExecutionState(ended, START, START, "that is it")
    given = execution(state=final)
    store.add(given)
    assert store.save_state(given.id, ExecutionState(late, reason="news")).state == final
    assert store.find_execution(given.id, None).state == final


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


def test_racing_news_end_with_the_end(store: ExecutionStore) -> None:
    given = execution()
    store.add(given)
    news = [ExecutionState(status) for status in [*NOT_OVER] * 8]
    news.insert(len(news) // 2, ExecutionState(Status.SUCCEEDED, outputs={"n": 1}))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda state: store.save_state(given.id, state), news))
    assert store.find_execution(given.id, None).state == ExecutionState(Status.SUCCEEDED, outputs={"n": 1})


def test_news_of_an_unknown_execution(store: ExecutionStore) -> None:
    with pytest.raises(NotFound):
        store.save_state("nothing", ExecutionState(Status.RUNNING))
