"""Personal access tokens below the wire."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hpcwaas.core.people import AccessToken, Principal
from hpcwaas.core.tokens import Tokens
from hpcwaas.errors import BadRequest, Unavailable
from hpcwaas.identity.access_tokens import TokenMethod
from hpcwaas.store.database import Database
from hpcwaas.store.tokens import TokenStore

ALICE = Principal("alice", "Alice", frozenset({"user", "operator"}), frozenset({"climate"}))
HERE = "127.0.0.1"


class People:
    """A directory."""

    def __init__(self) -> None:
        self.people = {"alice": ALICE}

    def find(self, subject: str) -> Principal | None:
        return self.people.get(subject)

    def has_password(self, subject: str) -> bool:
        return subject in self.people


class Records(TokenStore):
    """Counts the uses that are noted, and can fail to."""

    uses = 0
    fails = False

    def used(self, token_id: str, now: datetime) -> None:
        self.uses += 1
        if self.fails:
            raise Unavailable("down")
        super().used(token_id, now)


class Service:
    """What belongs together."""

    def __init__(self, database: Database) -> None:
        self.records = Records(database)
        self.people = People()
        self.method = TokenMethod(self.records, self.people)
        self.forgotten = 0
        self.tokens = Tokens(self.records, 30, self._forget)

    def _forget(self) -> None:
        self.forgotten += 1

    def make(self, *scopes: str) -> tuple[AccessToken, str]:
        return self.tokens.create(ALICE, "script", scopes or ("workflows:read",), None)


@pytest.fixture
def service(database: Database) -> Iterator[Service]:
    service = Service(database)
    yield service
    service.method.close()


def test_it_stands_for_its_owner_as_they_are_now(service: Service) -> None:
    token, secret = service.make()
    expected = replace(
        ALICE, roles=frozenset({"user"}), scopes=frozenset({"workflows:read"}), session=token.id
    )  # fmt: skip
    assert service.method.bearer(secret, HERE) == expected
    service.people.people["alice"] = replace(ALICE, groups=frozenset())
    assert service.method.bearer(secret, HERE) == replace(expected, groups=frozenset())
    del service.people.people["alice"]
    assert service.method.bearer(secret, HERE) is None


def test_with_admin_it_stands_for_an_operator(service: Service) -> None:
    _, secret = service.make("admin")
    found = service.method.basic("alice", secret, HERE)
    assert found is not None
    assert found.roles == {"user", "operator"}
    service.people.people["alice"] = replace(ALICE, roles=frozenset({"user"}))
    found = service.method.basic("alice", secret, HERE)
    assert found is not None
    assert found.roles == {"user"}


def test_a_use_is_noted_once_a_minute(service: Service) -> None:
    token, secret = service.make()
    assert service.method.bearer(secret, HERE)
    deadline = time.monotonic() + 60
    while not service.records.of("alice")[0].last_used_at:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for _ in range(3):
        assert service.method.bearer(secret, HERE)
    long_ago = datetime.now(UTC) - timedelta(seconds=61)
    TokenStore.used(service.records, token.id, long_ago)
    assert service.method.bearer(secret, HERE)
    service.method.close()
    assert service.records.uses == 2
    noted = service.records.of("alice")[0].last_used_at
    assert noted is not None
    assert noted > long_ago
    TokenStore.used(service.records, token.id, long_ago)
    assert service.method.bearer(secret, HERE), "what can't be noted at the end doesn't matter"


def test_a_use_that_cannot_be_noted_is_a_use(service: Service) -> None:
    _, secret = service.make()
    service.records.fails = True
    assert service.method.bearer(secret, HERE)
    assert service.method.bearer(secret, HERE)
    service.method.close()
    assert service.records.uses >= 1


@pytest.mark.parametrize("given", ["", "hpcwaas_pat_", "hpcwaas_ses_abc", "=", "\ud800", "aGVsbG8=", "ä" * 9, "\x00"])
def test_what_is_no_token_is_nobody(service: Service, given: str) -> None:
    assert service.method.bearer(given, HERE) is None
    assert service.method.basic("alice", given, HERE) is None


def test_revoking_ones_own(service: Service) -> None:
    token, secret = service.make()
    service.tokens.revoke_own(ALICE)  # signed in otherwise
    assert service.method.bearer(secret, HERE)
    principal = service.method.bearer(secret, HERE)
    assert principal is not None
    service.tokens.revoke_own(principal)
    service.tokens.revoke_own(principal)
    assert service.method.bearer(secret, HERE) is None
    assert service.forgotten == 2
    assert service.records.find(hashlib.sha256(secret.encode()).hexdigest(), token.created_at) is None


def test_the_usual_life_is_no_longer_than_the_longest(service: Service) -> None:
    token, _ = service.make()
    assert token.expires_at - token.created_at == timedelta(days=30)
    for days in (31, 0, -1):
        with pytest.raises(BadRequest, match=f"`days` is {days}; expected 1 to 30"):
            service.tokens.create(ALICE, "x", ["keys:write"], days)
    for scopes in ([], ["keys:read"]):
        with pytest.raises(BadRequest, match="`scopes`"):
            service.tokens.create(ALICE, "x", scopes, None)
