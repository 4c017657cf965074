"""What several processes do to the same records at once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import pytest

from hpcwaas.core.models import Execution, ExecutionState, SSHKey, Status, Upload
from hpcwaas.core.people import AccessToken, Shares, User, UserSession
from hpcwaas.errors import Conflict, KeyInUse, NotFound, TooManyRequests
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.shares import ShareStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from hpcwaas.store.starts import StartStore
from hpcwaas.store.tickets import TicketStore
from hpcwaas.store.tokens import TokenStore
from hpcwaas.store.uploads import UploadStore
from hpcwaas.store.users import UserStore

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
T = TypeVar("T")


def execution(execution_id: str = "") -> Execution:
    state = ExecutionState(Status.PENDING)
    return Execution(execution_id or uuid4().hex, "alice", "w", "w", "cwl", {}, NOW, state)


def ssh_key(key_id: str) -> SSHKey:
    return SSHKey(key_id, "alice", None, "ed25519", None, "ssh-ed25519 A\n", "SHA256:x", {}, NOW)


def session(session_id: str) -> UserSession:
    return UserSession(session_id, "alice", "waas", NOW, LATER, LATER)


def at_once(*tasks: Callable[[], T]) -> Sequence[T | Exception]:
    """Runs all tasks at the same moment; gives what each returned or raised."""
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], T]) -> T | Exception:
        barrier.wait(60)
        try:
            return task()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def kinds(results: Sequence[object]) -> set[type]:
    return {type(result) for result in results}


def test_a_user_who_signs_in_at_several_places_for_the_first_time(database: Database) -> None:
    users = UserStore(database)
    for number in range(5):
        user = User(f"user-{number}", "A", frozenset({"g"}), "sso", NOW, seen_at=NOW)
        assert at_once(*[lambda user=user: users.put(user)] * 8) == [None] * 8
        assert users.find(user.subject) == user


def test_what_is_told_of_a_user_at_several_places_the_latest_counts(database: Database) -> None:
    users = UserStore(database)
    for number in range(5):
        told = [
            User(f"user-{number}", "A", frozenset({f"g-{n}"}), "sso", NOW, seen_at=NOW + timedelta(seconds=n))
            for n in range(8)
        ]
        random.shuffle(told)
        assert at_once(*[lambda user=user: users.put(user) for user in told]) == [None] * 8
        found = users.find(f"user-{number}")
        assert found is not None
        assert (found.groups, found.seen_at) == (frozenset({"g-7"}), NOW + timedelta(seconds=7))


def test_tokens_that_are_made_at_once_are_no_more_than_allowed(database: Database) -> None:
    tokens = TokenStore(database)

    def make(name: str) -> None:
        tokens.add(AccessToken(name, "alice", name, frozenset({"admin"}), NOW, LATER), f"digest {name}", 5)

    made = at_once(*[lambda name=f"token-{n}": make(name) for n in range(16)])
    assert (made.count(None), kinds(made)) == (5, {type(None), Conflict})
    assert len(tokens.of("alice")) == 5


def test_one_token_that_begins_many_sessions_keeps_one(database: Database) -> None:
    sessions = SessionStore(database)
    names = [f"session-{number}" for number in range(8)]
    results = at_once(*(lambda name=name: sessions.add(session(name), "token", None) for name in names))
    assert results == [None] * 8
    kept = sessions.of_token("token", NOW)
    assert kept is not None
    sessions.end(kept.id)
    assert sessions.of_token("token", NOW) is None


def test_a_session_is_renewed_once(database: Database) -> None:
    sessions = SessionStore(database)
    sessions.add(session("s"), "token", "refresh")
    renewals = (
        lambda number=number: sessions.renew("s", "refresh", f"token-{number}", f"refresh-{number}", LATER)
        for number in range(8)
    )
    results = at_once(*renewals)
    assert sorted(results, key=bool) == [False] * 7 + [True]
    winner = results.index(True)
    assert sessions.of_token(f"token-{winner}", NOW) == sessions.of_replaced("refresh")


def test_a_ticket_is_made_once_and_taken_once(database: Database) -> None:
    tickets = TicketStore(database)
    made = at_once(*(lambda n=n: tickets.put("code", "k", {"n": n}, LATER) for n in range(8)))
    assert made.count(None) == 1
    assert kinds(made) == {type(None), Conflict}
    taken = at_once(*[lambda: tickets.take("code", "k", NOW)] * 8)
    assert taken.count(None) == 7
    assert {"n": made.index(None)} in taken


def test_nothing_is_counted_twice_or_not_at_all(database: Database) -> None:
    counters = CounterStore(database)
    window = timedelta(minutes=1)
    for begin in (NOW, NOW + window, NOW + 2 * window):  # each is a new window
        counts = at_once(*[lambda begin=begin: counters.add("k", window, begin)] * 16)
        assert sorted(count for count in counts if isinstance(count, int)) == list(range(1, 17))
        assert counters.count_of("k", begin) == (16, begin + window)


def test_of_two_who_share_an_execution_one_is_last(database: Database) -> None:
    shares = ShareStore(database)
    ExecutionStore(database).add(execution("e"))
    given = [Shares(frozenset({"bob", f"user-{n}"}), frozenset({f"group-{n}"})) for n in range(6)]
    assert at_once(*(lambda each=each: shares.put("e", each) for each in given)) == [None] * 6
    assert shares.shares_of("e") in given


def test_executions_that_use_the_same_keys_do_not_block_each_other(database: Database) -> None:
    keys, executions = SSHKeyStore(database), ExecutionStore(database)
    names = [f"key-{number}" for number in range(6)]
    for name in names:
        keys.add(ssh_key(name))
    orders = [random.sample(names, len(names)) for _ in range(12)]
    results = at_once(*(lambda order=order: executions.add(execution(), None, order) for order in orders))
    assert kinds(results) == {tuple}


def test_a_key_is_deleted_or_used(database: Database) -> None:
    keys, executions = SSHKeyStore(database), ExecutionStore(database)
    for number in range(10):
        name, used = f"key-{number}", execution()
        keys.add(ssh_key(name))

        def delete(name: str = name) -> object:
            return keys.begin("delete", name, "alice", NOW, NOW - timedelta(minutes=1), even_in_use=False)

        deleted, added = at_once(delete, lambda name=name, used=used: executions.add(used, None, [name]))  # type: ignore[misc]
        assert (type(deleted), type(added)) in {(SSHKey, NotFound), (KeyInUse, tuple)}


def test_a_key_is_changed_by_one(database: Database) -> None:
    keys = SSHKeyStore(database)
    keys.add(ssh_key("k"))
    results = at_once(*[lambda: keys.begin("rotate", "k", "alice", NOW, NOW - timedelta(minutes=1))] * 8)
    assert [type(result) for result in results].count(SSHKey) == 1
    assert kinds(results) == {SSHKey, Conflict}


def test_an_intent_is_discarded_with_its_key_or_not_at_all(database: Database) -> None:
    executions = ExecutionStore(database)
    for number in range(10):
        intent, _ = executions.add(execution(), (f"key-{number}", "f"))
        _, referred = at_once(
            lambda intent=intent: executions.discard(intent.id),  # type: ignore[misc]
            lambda intent=intent: executions.set_reference(intent.id, intent.id),  # type: ignore[misc]
        )
        found = executions.of_key("alice", f"key-{number}", "f", NOW)
        if referred is None:
            assert found is not None
            assert found.reference == intent.id
        else:
            assert isinstance(referred, NotFound)
            assert found is None


@pytest.mark.parametrize("keyed", [True, False])
def test_nobody_gets_over_the_limit_of_executions(database: Database, keyed: bool) -> None:
    executions = ExecutionStore(database)
    results = at_once(
        *(lambda n=n: executions.add(execution(), (f"key-{n}", "f") if keyed else None, (), 3) for n in range(10))
    )
    assert [type(result) for result in results].count(tuple) == 3
    assert kinds(results) == {tuple, TooManyRequests}


def test_nobody_gets_over_the_limit_of_bytes(database: Database) -> None:
    uploads = UploadStore(database)
    results = at_once(
        *(
            lambda n=n: uploads.add(Upload(f"file-{n}", "alice", "a", "text/plain", 10, "00", NOW), 35)
            for n in range(10)
        )
    )
    assert results.count(None) == 3
    assert kinds(results) == {type(None), TooManyRequests}
    assert uploads.stored("alice") == 30


def test_a_start_is_asked_for_once_and_an_outcome_belongs_to_one(database: Database) -> None:
    starts = StartStore(database)
    begun = at_once(*[lambda: starts.begin("e-0", "place", NOW)] * 8)
    assert begun.count(None) == 1
    assert begun.count((NOW, None)) == 7
    for number in range(1, 8):
        starts.begin(f"e-{number}", "place", NOW)
    ended = at_once(*(lambda n=n: starts.end(f"e-{n}", "ref") for n in range(8)))
    assert sorted(ended, key=bool) == [False] * 7 + [True]
    assert starts.begin(f"e-{ended.index(True)}", "place", LATER) == (NOW, "ref")
    assert starts.open("place", NOW, NOW) == 7
