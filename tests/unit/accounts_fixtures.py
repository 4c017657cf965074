"""Fixtures of the tests of accounts; a test module names this one in `pytest_plugins`."""

from __future__ import annotations

from typing import Any

import argon2
import pytest

from hpcwaas.identity import passwords
from hpcwaas.store.database import Database
from tests.unit.accounts import HASHED, QUICK, Count, World


@pytest.fixture
def world(database: Database) -> World:
    """Accounts of every kind."""
    return World(database)


@pytest.fixture
def quick_world(database: Database, monkeypatch: pytest.MonkeyPatch) -> World:
    """Accounts whose passwords are verified in no time, for tests of what doesn't depend on the hashes."""
    monkeypatch.setattr(passwords, "_HASHER", QUICK)
    return World(database, {name: QUICK.hash(f"{name}'s password") for name in HASHED})


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
