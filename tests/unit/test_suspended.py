"""Whoever is suspended, by whatever process, has nothing running a moment later; the look for that is cheap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from hpcwaas.core.engines import Engines
from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.core.people import User
from hpcwaas.core.suspended import SuspendedUsers
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.users import UserStore
from tests.waiting import until

NOW = datetime.now(UTC)


class Looked(ExecutionStore):
    """Counts the looks."""

    looks = 0

    def of_suspended(self) -> list[Execution]:
        self.looks += 1
        return super().of_suspended()


class Told:
    """In place of an engine: notes what it is to cancel."""

    name = "cwl"

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def cancel(self, reference: str) -> None:
        self.cancelled.append(reference)


@pytest.fixture
def engine() -> Told:
    return Told()


@pytest.fixture
def records(database: Database) -> Looked:
    records = Looked(database)
    UserStore(database).add(User("anna", "Anna", frozenset(), "basic", NOW))
    records.add(Execution("one", "anna", "w", "w", "cwl", {}, NOW, ExecutionState(Status.RUNNING), reference="one"))
    return records


@pytest.fixture
def suspended(engine: Told, records: Looked) -> Iterator[SuspendedUsers]:
    engines: Any = Engines([engine], {})  # type: ignore[list-item]
    suspended = SuspendedUsers(engines, records, lambda execution: execution)
    yield suspended
    suspended.close()


def test_it_looks_when_something_was_stored_and_as_long_as_it_finds_something(
    suspended: SuspendedUsers, records: Looked, engine: Told, store_url: str
) -> None:
    for _ in range(3):
        suspended.round()
    assert records.looks == (3 if "postgresql" in store_url else 1)
    other = Database(store_url)  # that of the command
    UserStore(other).change("anna", disabled=True)
    other.close()
    records.looks = 0
    for _ in range(3):
        suspended.round()
    assert records.looks == 3
    until(lambda: engine.cancelled == ["one"])
