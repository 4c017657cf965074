"""What the databases make of queries whose answer must not take longer as executions become more: which indices they
use, and how many rows they look at. An index that is lost shows here, not in a year."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from hpcwaas.core.models import Execution, ExecutionFilter, ExecutionState, Status
from hpcwaas.core.people import Principal, Shares
from hpcwaas.store.database import Database
from hpcwaas.store.stores import Stores
from tests import databases, many

FEW, MANY, USERS = 2_000, 20_000, 4
LIMIT = 5
MIDDLE = many.START + timedelta(seconds=many.STEP * FEW // 2)
HER = Principal("user1", "User 1", groups=frozenset({"group2", "group3", "none"}))
CROWD = replace(HER, groups=HER.groups | {f"other{number}" for number in range(900)})
LARGE = ("executions", "shares", "execution_sources")
FAILED, RUNNING, UNKNOWN = [Status.FAILED], [Status.RUNNING], [Status.UNKNOWN]

BY_OWNER = "executions_owner_created_at_id"
BY_OWNER_STATUS = "executions_owner_status_created_at_id"
BY_OWNER_WORKFLOW = "executions_owner_workflow_id_status_created_at_id"
BY_AGE = "executions_created_at_id"
BY_STATUS = "executions_status_created_at_id"
BY_WORKFLOW = "executions_workflow_id_status_created_at_id"
SHARED = "shares_kind_name_created_at_execution_id"
SHARED_STATUS = "shares_kind_name_status_created_at_execution_id"
SHARED_WORKFLOW = "shares_kind_name_workflow_id_created_at_execution_id"
TAKERS = "execution_sources_source_id_created_at_execution_id"
TAKERS_OWNER = "execution_sources_source_id_owner_created_at_execution_id"

PAGES: dict[str, tuple[ExecutionFilter, str]] = {
    "one's own": (ExecutionFilter("user1"), BY_OWNER),
    "everybody's": (ExecutionFilter(), BY_AGE),
    "in a state": (ExecutionFilter("user1", statuses=FAILED), BY_OWNER_STATUS),
    "in a state that none is in": (ExecutionFilter("user1", statuses=UNKNOWN), BY_OWNER_STATUS),
    "in several states": (ExecutionFilter("user1", statuses=[Status.SUCCEEDED, *FAILED, *UNKNOWN]), BY_OWNER_STATUS),
    "everybody's in a state": (ExecutionFilter(statuses=FAILED), BY_STATUS),
    "everybody's in a rare state": (ExecutionFilter(statuses=[*RUNNING, *UNKNOWN]), BY_STATUS),
    "of a workflow": (ExecutionFilter("user1", workflow_id="workflow3"), BY_OWNER_WORKFLOW),
    "of a workflow in a state": (
        ExecutionFilter("user1", workflow_id="workflow3", statuses=UNKNOWN),
        BY_OWNER_WORKFLOW,
    ),
    "of an unknown workflow": (ExecutionFilter("user1", workflow_id="no"), BY_OWNER_WORKFLOW),
    "everybody's of a workflow": (ExecutionFilter(workflow_id="workflow3"), BY_WORKFLOW),
    "everybody's of a workflow in a state": (ExecutionFilter(workflow_id="workflow3", statuses=UNKNOWN), BY_WORKFLOW),
    "everybody's of an unknown workflow": (ExecutionFilter(workflow_id="no"), BY_WORKFLOW),
    "since": (ExecutionFilter("user1", created_after=MIDDLE), BY_OWNER),
    "until": (ExecutionFilter("user1", created_before=MIDDLE), BY_OWNER),
    "in the future": (ExecutionFilter("user1", created_after=datetime.max.replace(tzinfo=UTC)), BY_OWNER),
    "everybody's between": (
        ExecutionFilter(created_after=MIDDLE, created_before=MIDDLE + timedelta(minutes=30)),
        BY_AGE,
    ),
    "everybody's of a workflow until": (ExecutionFilter(workflow_id="workflow3", created_before=MIDDLE), BY_WORKFLOW),
    "in a state until": (ExecutionFilter("user1", statuses=FAILED, created_before=MIDDLE), BY_OWNER_STATUS),
    "shared": (ExecutionFilter(shared_with=HER), SHARED),
    "shared until": (ExecutionFilter(shared_with=HER, created_before=MIDDLE), SHARED),
    "shared in a state": (ExecutionFilter(shared_with=HER, statuses=FAILED), SHARED_STATUS),
    "shared in states that none is in": (
        ExecutionFilter(shared_with=HER, statuses=[*UNKNOWN, Status.PENDING]),
        SHARED_STATUS,
    ),
    "shared of a workflow": (ExecutionFilter(shared_with=HER, workflow_id="workflow3"), SHARED_WORKFLOW),
    "shared of an unknown workflow": (ExecutionFilter(shared_with=HER, workflow_id="no"), SHARED_WORKFLOW),
    "shared with many groups": (ExecutionFilter(shared_with=CROWD), SHARED),
    "shared with many groups in a state": (ExecutionFilter(shared_with=CROWD, statuses=FAILED), SHARED_STATUS),
    "shared with many groups since": (ExecutionFilter(shared_with=CROWD, created_after=MIDDLE), SHARED),
    "that took outputs": (ExecutionFilter("user1", inputs_from=many.SOURCE), TAKERS_OWNER),
    "everybody's that took outputs": (ExecutionFilter(inputs_from=many.SOURCE), TAKERS),
    "by id": (ExecutionFilter("user1", ids=[many.id_of(number) for number in range(1, 200, 4)]), ""),
    "shared by id": (ExecutionFilter(shared_with=HER, ids=[many.id_of(number) for number in range(2, 200, 4)]), ""),
}


class Looked:
    """A database, and what it did for queries.

    Attributes:
        stores: the queries on it.
    """

    def __init__(self, database: Database) -> None:
        self.stores = Stores(database)
        self._database = database

    def at(self, task: Callable[[], object]) -> tuple[set[str], int]:
        """Carries out queries.

        Returns:
            the indices that were used, without those of primary keys, and how much work it was: rows that PostgreSQL
            looked at, or steps of SQLite's machine.
        """
        queries: list[tuple[str, Any]] = []

        def remember(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
            if statement.startswith("SELECT"):
                queries.append((statement, parameters))

        engine = self._database._engine
        event.listen(engine, "before_cursor_execute", remember)
        try:
            task()
        finally:
            event.remove(engine, "before_cursor_execute", remember)
        look = self._rows if databases.POSTGRESQL else self._steps
        indices, work = set(), 0
        for statement, parameters in queries:
            found, part = look(statement, parameters)
            indices |= found
            work += part
        keys = re.compile("sqlite_autoindex_|pk_")
        return {name.removeprefix("ix_") for name in indices if not keys.match(name)}, work

    def _steps(self, statement: str, parameters: Any) -> tuple[set[str], int]:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with self._database._engine.connect() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.set_progress_handler(count, 1)
            connection.exec_driver_sql(statement, parameters).all()
            raw.set_progress_handler(None, 0)
        without = [line for line in plan if line.removeprefix("SCAN ") in LARGE]
        assert not without, plan
        return {found[1] for line in plan if (found := re.search(r"(?<!VIRTUAL TABLE )INDEX (\w+)", line))}, steps

    def _rows(self, statement: str, parameters: Any) -> tuple[set[str], int]:
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
        with self._database._engine.connect() as connection:
            plan = connection.exec_driver_sql(explain, parameters).scalar_one()
        nodes = list(_nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
        rows = sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in nodes
            if "Scan" in node["Node Type"]
        )
        return {node["Index Name"] for node in nodes if "Index Name" in node}, rows


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


@contextmanager
def looked(directory: Any, count: int) -> Iterator[Looked]:
    with databases.fresh(directory, ready=True) as url:
        many.fill(url, count, USERS)
        database = Database(url)
        yield Looked(database)
        database.close()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Looked]]:
    """Few executions, and ten times as many."""
    with looked(tmp_path_factory.mktemp("few"), FEW) as few, looked(tmp_path_factory.mktemp("many"), MANY) as more:
        yield few, more


def same(both: Sequence[Looked], task: Callable[[Looked], object], indices: set[str]) -> None:
    """Asserts that queries use these indices, and cost the same in both."""
    (_, less), (used, more) = (each.at(partial(task, each)) for each in both)
    if databases.POSTGRESQL:
        # It takes another one where that costs as little: because of few users, or of what it knows there is none of.
        assert more <= 1.5 * less + 3 * many.UNFINISHED
    else:
        assert used == indices
        assert more <= 1.5 * less + 10


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("before", [0, 30])
def test_a_page_costs_the_same_however_many_there_are(both: Sequence[Looked], name: str, before: int) -> None:
    wanted, index = PAGES[name]
    cursors = {each: each.stores.executions.page(wanted, before)[1] if before else None for each in both}
    same(both, lambda each: each.stores.executions.page(wanted, LIMIT, cursors[each]), {index} - {""})


NOW = datetime.now(UTC)
QUERIES: dict[str, tuple[Callable[[Stores], object], set[str]]] = {
    "all that haven't ended": (lambda stores: stores.executions.unfinished(), {BY_STATUS}),
    "a user's that haven't ended": (lambda stores: stores.executions.unfinished("user1"), {BY_OWNER_STATUS}),
    "the newest of them": (lambda stores: stores.executions.unfinished("user1", at_most=3), {BY_OWNER_STATUS}),
    "shared ones that haven't ended": (lambda stores: stores.executions.unfinished(shared_with=HER), {SHARED_STATUS}),
    "their number": (lambda stores: stores.executions.count_unfinished("user1"), {BY_OWNER_STATUS}),
    "those that a crash left": (lambda stores: stores.executions.without_reference(NOW), {BY_STATUS}),
    "those of suspended users": (lambda stores: stores.executions.of_suspended(), {BY_STATUS}),
    "tallies of them": (lambda stores: stores.tallies.unfinished(), {BY_STATUS}),
    "closed ones": (lambda stores: stores.executions.watched(NOW), {"executions_watched_until"}),
    "one that is shared": (lambda stores: stores.executions.find_execution(many.id_of(3), "user1", HER), set()),
    "deleted uploads": (lambda stores: stores.uploads.held(), {"uploads_held"}),
    "everybody's uploads": (lambda stores: stores.uploads.page(None, limit=LIMIT), {"uploads_created_at_id"}),
    "a user's uploads": (lambda stores: stores.uploads.page("user1", limit=LIMIT), {"uploads_owner_created_at_id"}),
}


@pytest.mark.parametrize("name", QUERIES)
def test_what_is_asked_all_the_time_costs_the_same(both: Sequence[Looked], name: str) -> None:
    task, indices = QUERIES[name]
    same(both, lambda each: task(each.stores), indices)


def test_many_groups_are_asked_for_by_a_query_that_is_as_short_as_for_one(database: Database) -> None:
    statements: list[str] = []
    engine = database._engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    store = Stores(database).executions
    for her in (replace(HER, groups=frozenset({"one"})), CROWD):
        store.page(ExecutionFilter(shared_with=her), LIMIT)
    one, many_groups = (statement for statement in statements if statement.startswith("SELECT"))
    assert one == many_groups


def test_what_is_shared_with_several_groups_takes_one_place_of_a_page(database: Database) -> None:
    stores = Stores(database)
    for number in range(4):
        state = ExecutionState(Status.RUNNING)
        moment = many.START + timedelta(seconds=number)
        stores.executions.add(Execution(many.id_of(number), "user2", "w", "w", "cwl", {}, moment, state))
        stores.shares.put(many.id_of(number), Shares(frozenset({"user1"}), HER.groups))
    wanted = ExecutionFilter(shared_with=HER)
    first, cursor = stores.executions.page(wanted, 2)
    second, last = stores.executions.page(wanted, 2, cursor)
    assert [it.id for it in (*first, *second)] == [many.id_of(number) for number in (3, 2, 1, 0)]
    assert last is None


@pytest.mark.parametrize("statuses", [None, FAILED, [Status.SUCCEEDED, *FAILED]])
@pytest.mark.parametrize("since", [None, MIDDLE])
def test_pages_of_what_is_shared_lack_nothing_and_repeat_nothing(
    both: Sequence[Looked], statuses: Sequence[Status] | None, since: datetime | None
) -> None:
    store, found = both[0].stores.executions, list[str]()
    wanted = ExecutionFilter(shared_with=HER, statuses=statuses, created_after=since)
    cursor: str | None = None
    while True:
        page, cursor = store.page(wanted, LIMIT, cursor)
        found += [execution.id for execution in page]
        if cursor is None:
            break
    expected = [
        many.id_of(number)
        for number in reversed(range(FEW))
        if number % USERS in (2, 3)
        and number // USERS % 5 == 0
        and (since is None or many.START + timedelta(seconds=many.STEP * number) >= since)
        and (statuses is None or _status(number) in statuses)
    ]
    assert expected
    assert found == expected


def _status(number: int) -> Status:
    """That of an execution of `many`, the smaller number of them."""
    if number >= FEW - many.UNFINISHED:
        return Status.RUNNING
    if number % 10 == 3:
        return Status.FAILED
    return Status.CANCELLED if number % 1000 == 1 else Status.SUCCEEDED
