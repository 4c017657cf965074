"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hpcwaas.store.database import Database
from tests.service import Client, as_user, make_settings, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Client]]:
    """A running service: gives the client of a user by name."""
    settings = make_settings(tmp_path_factory.mktemp("service"))
    Database(settings.database_url).upgrade()
    with serving(settings) as url:
        yield lambda name: as_user(url, name)


@pytest.fixture
def alice(service: Callable[[str], Client]) -> Client:
    """A user."""
    return service("alice")


@pytest.fixture
def bob(service: Callable[[str], Client]) -> Client:
    """Another user."""
    return service("bob")
