"""Accounts of every kind over a real store, to sign in to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

import argon2

from hpcwaas.core.people import User
from hpcwaas.identity.basic import BasicIdentity
from hpcwaas.identity.directory import Users
from hpcwaas.identity.passwords import hash_password
from hpcwaas.identity.settings import AuthSettings
from hpcwaas.identity.throttle import Throttle
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.users import UserStore

HERE, THERE = "192.0.2.1", "198.51.100.7"
HASHED = {name: hash_password(f"{name}'s password") for name in ("hugo", "sara", "dora")}
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
OLD_HASH = QUICK.hash("olga's password")
STRANGE = ["", "\ud800", "\0", "x" * 10_000]


class CountedUsers(UserStore):
    """The real records, counting how often a user is looked up."""

    looked_up = 0

    def find(self, subject: str) -> User | None:
        self.looked_up += 1
        return super().find(subject)


@dataclass
class World:
    """An identity over a real store, with plain (`paul`), hashed (`hugo`) and stored (`sara`, `olga`, `dora`) accounts.

    Attributes:
        hashed: hashes of the passwords of who doesn't have a plain or an old one.
        now: what the throttle takes for the present.
    """

    database: Database
    hashed: Mapping[str, str] = field(default_factory=lambda: HASHED)
    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.auth = AuthSettings.model_validate(
            {
                "auth_type": "basic",
                "operators": ["sara"],
                "operator_groups": ["admins"],
                "basic_auth": {
                    "accounts": [
                        {"username": "paul", "password": "paul's password", "groups": ["climate"]},
                        {"username": "hugo", "password_hash": self.hashed["hugo"], "groups": ["admins"]},
                    ]
                },
            }
        )
        self.records = CountedUsers(self.database)
        for name, hashed in (("sara", self.hashed["sara"]), ("olga", OLD_HASH), ("dora", self.hashed["dora"])):
            self.records.add(
                User(name, name.title(), frozenset({"climate"}), "basic", datetime.now(UTC), hashed, name == "dora")
            )
        self.records.add(User("sso-subject", "Sepp", frozenset({"admins"}), "sso", datetime.now(UTC)))
        self.users = Users(self.auth, self.records)
        self.counters = CounterStore(self.database)
        self.identity = self.another_process()

    def another_process(self) -> BasicIdentity:
        """An identity with a memory of its own over the same store."""
        return BasicIdentity(self.users, self.records, self.throttle())

    def throttle(self) -> Throttle:
        return Throttle(self.counters, lambda: self.now)


Count: TypeAlias = Callable[[], int]


def fail(world: World, name: str, times: int, address: str = HERE) -> None:
    for _ in range(times):
        assert world.identity.basic(name, "wrong", address) is None
