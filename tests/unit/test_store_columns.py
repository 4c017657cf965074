"""Values of ours in columns: this version reads what earlier ones wrote, and they can read what this one writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from hpcwaas.core.endings import Attempt, Closing
from hpcwaas.core.models import Execution, ExecutionState, ReplacedKey, SSHKey, Status, Step, StepStatus
from hpcwaas.core.people import AccessToken, Proof, User
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from hpcwaas.store.tokens import TokenStore
from hpcwaas.store.users import UserStore

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
STEPS = (Step("mesh", StepStatus.SUCCEEDED, "Make the mesh", NOON, LATER), Step("solve", StepStatus.PENDING))
STORED_STEPS: list[dict[str, Any]] = [
    {
        "name": "mesh",
        "status": "SUCCEEDED",
        "label": "Make the mesh",
        "started_at": "2026-11-01T12:00:00+00:00",
        "ended_at": "2026-11-01T12:30:15.123456+00:00",
    },
    {"name": "solve", "status": "PENDING", "label": None, "started_at": None, "ended_at": None},
]
STORED_ATTEMPTS = [
    {"started_at": "2026-11-01T12:00:00+00:00", "ended_at": "2026-11-01T12:30:15.123456+00:00", "reason": "it failed"},
    {"started_at": None, "ended_at": None, "reason": None},
]
STORED_CLOSING = {"by": "root", "at": "2026-11-01T12:30:15.123456+00:00", "reason": "gone"}
HALF = ReplacedKey("ssh-ed25519 AAAA\n", "SHA256:x", LATER)
STORED_HALF = {
    "public_key": "ssh-ed25519 AAAA\n",
    "fingerprint": "SHA256:x",
    "replaced_at": "2026-11-01T12:30:15.123456+00:00",
}


def put(database: Database, table: str, where: str, **columns: Any) -> None:
    """Writes columns as another version wrote them."""
    changed = ", ".join(f"{name} = :{name}" for name in columns)
    with database.write() as session:
        session.execute(text(f"UPDATE {table} SET {changed} WHERE {where}"), columns)  # noqa: S608


def raw(database: Database, table: str, column: str) -> Any:
    """What a column holds, as the JSON that it is."""
    with database.read() as session:
        value = session.execute(text(f"SELECT {column} FROM {table}")).scalar_one()  # noqa: S608
    return json.loads(value) if isinstance(value, str) else value


def add_execution(database: Database) -> ExecutionStore:
    store = ExecutionStore(database)
    state = ExecutionState(Status.FAILED, NOON, LATER, "it failed", STEPS)
    store.add(Execution("one", "alice", "wf", "wf", "cwl", {}, NOON, state))
    return store


def test_what_an_earlier_version_wrote_of_an_execution_is_read(database: Database) -> None:
    store = add_execution(database)
    put(
        database,
        "executions",
        "id = 'one'",
        steps=json.dumps(STORED_STEPS),
        attempts=json.dumps(STORED_ATTEMPTS),
        closed=json.dumps(STORED_CLOSING),
    )

    found = store.find_execution("one", "alice")

    assert found.state.steps == STEPS
    assert found.attempts == (Attempt(NOON, LATER, "it failed"), Attempt(None, None, None))
    assert found.closed == Closing("root", LATER, "gone")
    assert found.started_at == NOON


def test_an_execution_without_attempts_has_none(database: Database) -> None:
    store = add_execution(database)
    put(database, "executions", "id = 'one'", attempts=None)

    assert store.find_execution("one", "alice").attempts == ()


def test_what_a_later_version_added_is_passed_over(database: Database) -> None:
    store = add_execution(database)
    put(database, "executions", "id = 'one'", steps=json.dumps([{**each, "site": "x"} for each in STORED_STEPS]))

    assert store.find_execution("one", "alice").state.steps == STEPS


def test_an_earlier_version_can_read_what_is_written_of_an_execution(database: Database) -> None:
    store = add_execution(database)
    store.reopen("one")
    store.close("one", Closing("root", LATER, "gone"), "Closed", LATER)

    def in_time(members: dict[str, Any]) -> dict[str, Any]:
        moments = {name for name in ("at", "started_at", "ended_at") if members.get(name)}
        return members | {name: datetime.fromisoformat(members[name]).isoformat() for name in moments}

    # It passes over what it doesn't know.
    newer = [step | {"job": None, "scatter": None} for step in STORED_STEPS]
    assert [in_time(each) for each in raw(database, "executions", "steps")] == newer
    assert [in_time(each) for each in raw(database, "executions", "attempts")] == STORED_ATTEMPTS[:1]
    assert in_time(raw(database, "executions", "closed")) == STORED_CLOSING


def test_replaced_halves_of_an_earlier_version_are_read(database: Database) -> None:
    store = SSHKeyStore(database)
    key = SSHKey("k", "alice", "mine", "ed25519", None, "ssh-ed25519 BBBB\n", "SHA256:y", {"site": "x"}, NOON)
    store.add(key)
    assert store.find_key("k", "alice") == key

    put(database, "ssh_keys", "id = 'k'", replaced=json.dumps([STORED_HALF]))
    assert store.find_key("k", "alice").replaced == (HALF,)

    assert store.confirm("k", "alice").replaced == ()
    assert store.find_key("k", "alice").replaced == ()


def test_names_are_lists_in_order(database: Database) -> None:
    users, tokens = UserStore(database), TokenStore(database)
    user = User("alice", "Alice", frozenset({"b", "c", "a"}), "basic", NOON)
    token = AccessToken("t", "alice", "ci", frozenset({"write", "read"}), NOON, LATER, proof=Proof("mfa", NOON))
    users.add(user)
    tokens.add(token, "digest", 5)

    assert raw(database, "users", "groups") == ["a", "b", "c"]
    assert raw(database, "tokens", "scopes") == ["read", "write"]
    assert users.find("alice") == user
    assert tokens.of("alice") == [token]
