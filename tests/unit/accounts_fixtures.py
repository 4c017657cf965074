"""Fixtures of the tests of accounts; a test module names this one in `pytest_plugins`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest

from hpcwaas.store.database import Database
from tests.unit.accounts import Count, World


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database to copy: that is faster than making one."""
    file = tmp_path_factory.mktemp("store") / "store.db"
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    database.close()
    return file


@pytest.fixture
def world(empty: Path, tmp_path: Path) -> Iterator[World]:
    """Accounts of every kind."""
    database = Database(f"sqlite:///{shutil.copy(empty, tmp_path)}")
    yield World(database)
    database.close()


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Count:
    """How often argon2 has verified something."""
    counted = []
    verify = argon2.PasswordHasher.verify

    def counting(self: argon2.PasswordHasher, *given: Any) -> Any:
        counted.append(given)
        return verify(self, *given)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counting)
    return lambda: len(counted)
