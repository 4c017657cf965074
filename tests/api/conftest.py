"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from tests.service import Client, as_user, make_settings, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Client]]:
    """A running service: gives the client of a user by name, and forgets failures to sign in that came before."""
    settings = make_settings(tmp_path_factory.mktemp("service"))
    database = Database(settings.database_url)
    database.upgrade()
    failures = CounterStore(database)
    with serving(settings) as url:

        def client(name: str) -> Client:
            failures.sweep(datetime.max.replace(tzinfo=UTC))
            return as_user(url, name)

        yield client
    database.close()


@pytest.fixture
def alice(service: Callable[[str], Client]) -> Client:
    """A user."""
    return service("alice")


@pytest.fixture
def bob(service: Callable[[str], Client]) -> Client:
    """Another user."""
    return service("bob")
