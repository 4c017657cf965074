"""Fixtures that all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.store.database import Database
from tests import databases

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that: those that tests start are
# to end by it wherever the tests were started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database; for tests that use `database`, too, it has the service's schema."""
    with databases.fresh(tmp_path, ready="database" in request.fixturenames) as url:
        yield url


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    """A database with the service's schema."""
    database = Database(store_url)
    yield database
    database.close()
