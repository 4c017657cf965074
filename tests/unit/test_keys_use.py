"""Which inputs name SSH keys, and the race between using a key and deleting it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hpcwaas.core.keys import SSHKeys
from hpcwaas.core.models import Execution, ExecutionState, SSHKey, Status, Workflow, WorkflowDetails
from hpcwaas.core.people import Principal
from hpcwaas.errors import Conflict, InvalidInputs, KeyInUse, NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.secrets import SecretStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from hpcwaas.vault.embedded import EmbeddedVault
from hpcwaas.vault.keyring import Keyring

NOW = datetime.now(UTC)
ALICE = Principal("alice", "Alice")
KEY = SSHKey("key-1", "alice", None, "ed25519", None, "ssh-ed25519 A\n", "SHA256:x", {}, NOW)
EXECUTION = Execution("e-1", "alice", "w", "w", "cwl", {}, NOW, ExecutionState(Status.PENDING))
STALE = NOW - timedelta(minutes=2)


@pytest.fixture
def records(database: Database) -> SSHKeyStore:
    records = SSHKeyStore(database)
    records.add(KEY)
    return records


@pytest.fixture
def keys(database: Database, records: SSHKeyStore) -> SSHKeys:
    return SSHKeys(records, EmbeddedVault(SecretStore(database), lambda: Keyring([bytes(32)])))


def details(**properties: Any) -> WorkflowDetails:
    workflow = Workflow("w", "w", "cwl", "a", "e", "e")
    return WorkflowDetails(workflow, {"type": "object", "properties": properties}, (), (), "1")


def test_inputs_that_name_keys(keys: SSHKeys) -> None:
    marked = details(identity={"type": "string", "x-ssh-key": True}, plain={"type": "string"})
    assert keys.used_by(ALICE, marked, {"identity": "key-1", "plain": "nothing"}) == {"key-1"}
    assert keys.used_by(ALICE, details(), {"vault_id": "key-1"}) == {"key-1"}
    assert keys.used_by(ALICE, marked, {"vault_id": None, "identity": ""}) == frozenset()
    with pytest.raises(InvalidInputs) as caught:
        keys.used_by(ALICE, marked, {"vault_id": "x", "identity": "y"})
    assert {problem.input for problem in caught.value.problems} == {"vault_id", "identity"}
    with pytest.raises(InvalidInputs):
        keys.used_by(Principal("bob", "Bob"), marked, {"vault_id": "key-1"})


RECORD = {"type": "object", "properties": {"host": {"type": "string"}, "key": {"type": "string", "x-ssh-key": True}}}
PLACES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "list": ({"type": "array", "items": {"type": "string"}, "x-ssh-key": True}, {"a": ["key-1", "x"]}, "a[1]"),
    "list in a text": ({"type": "array", "x-ssh-key": True}, {"a": '["key-1", "x"]'}, "a[1]"),
    "list of lists": ({"type": "array", "x-ssh-key": True}, {"a": [["key-1"], [["x"]]]}, "a[1][0][0]"),
    "record": ({"type": "object", "x-ssh-key": True}, {"a": {"b": {"c": "x"}}}, "a.b.c"),
    "record in a text": ({"type": "object", "x-ssh-key": True}, {"a": '{"b": "x"}'}, "a.b"),
    "text in a text": ({"type": "object", "x-ssh-key": True}, {"a": '{"b": "[\\"x\\"]"}'}, "a.b[0]"),
    "member": (RECORD, {"a": {"host": "h", "key": "x"}}, "a.key"),
    "member in a text": (RECORD, {"a": '{"host": "h", "key": "x"}'}, "a.key"),
    "member twice": (RECORD, {"a": '{"key": "x", "key": "key-1"}'}, "a.key"),
    "member of each": ({"type": "array", "items": RECORD}, {"a": [{"key": "key-1"}, {"key": "x"}]}, "a[1].key"),
    "alternatives": (
        {"anyOf": [{"type": "null"}, {"type": "array", "items": RECORD}]},
        {"a": [{"key": "x"}]},
        "a[0].key",
    ),
    "map": ({"type": "object", "additionalProperties": RECORD}, {"a": {"m": {"key": "x"}}}, "a.m.key"),
    "vault_id in a record": ({"type": "object"}, {"a": {"vault_id": "x"}}, "a.vault_id"),
    "vault_id in a list": ({}, {"a": [{"b": {"vault_id": "x"}}]}, "a[0].b.vault_id"),
    "vault_id in a text": ({"type": "string"}, {"a": ' {"vault_id": "x"}'}, "a.vault_id"),
    "list in vault_id": ({}, {"vault_id": ["key-1", "x"]}, "vault_id[1]"),
    "number": ({}, {"vault_id": 5}, "vault_id"),
    "quoted": ({}, {"vault_id": '"key-1"'}, "vault_id"),
}


@pytest.mark.parametrize(("schema", "inputs", "way"), PLACES.values(), ids=PLACES)
def test_keys_are_found_wherever_they_are_named(
    keys: SSHKeys, schema: dict[str, Any], inputs: dict[str, Any], way: str
) -> None:
    with pytest.raises(InvalidInputs) as caught:
        keys.used_by(ALICE, details(a=schema), inputs)
    assert [problem.input for problem in caught.value.problems] == [way]


def test_own_keys_may_be_named_anywhere(keys: SSHKeys) -> None:
    for schema, inputs, _ in PLACES.values():
        own = json.loads(json.dumps(inputs).replace('"x"', '"key-1"').replace('\\"x\\"', '\\"key-1\\"'))
        if own != inputs and "\\" not in json.dumps(inputs):
            assert keys.used_by(ALICE, details(a=schema), own) == {"key-1"}
    assert keys.used_by(ALICE, details(a={"type": "string"}), {"a": '{"vault_id": '}) == frozenset()
    assert keys.used_by(ALICE, details(a=RECORD), {"a": {"host": "x", "key": ""}}) == frozenset()


def test_who_comes_first_wins(database: Database, records: SSHKeyStore) -> None:
    executions = ExecutionStore(database)
    executions.add(EXECUTION, None, ["key-1"])
    assert records.find_key("key-1", "alice").last_used_at == NOW
    with pytest.raises(KeyInUse) as caught:
        records.begin("delete", "key-1", "alice", NOW, STALE, even_in_use=False)
    assert caught.value.executions == ("e-1",)
    executions.discard("e-1")  # it never began, and its link goes with it
    records.begin("delete", "key-1", "alice", NOW, STALE, even_in_use=False)
    with pytest.raises(NotFound):
        executions.add(EXECUTION, None, ["key-1"])
    with pytest.raises(NotFound):
        executions.find_execution("e-1", "alice")


@pytest.mark.parametrize("owner", ["alice", "bob"])
def test_an_execution_is_not_recorded_with_a_key_that_is_not_its_owners(database: Database, owner: str) -> None:
    records, executions = SSHKeyStore(database), ExecutionStore(database)
    records.add(replace(KEY, owner="carol"))
    with pytest.raises(NotFound):
        executions.add(replace(EXECUTION, owner=owner), None, ["key-1"])


def test_a_change_is_taken_by_one_until_it_is_stale(records: SSHKeyStore) -> None:
    records.begin("rotate", "key-1", "alice", NOW, STALE)
    with pytest.raises(Conflict):
        records.begin("delete", "key-1", "alice", NOW, STALE)
    assert records.left(STALE) == []
    later = NOW + timedelta(minutes=3)
    assert records.left(later - timedelta(minutes=2)) == [("rotate", KEY)]
    records.begin("delete", "key-1", "alice", later, later - timedelta(minutes=2))
    records.leave("key-1", None)
    assert records.left(later + timedelta(days=1)) == []
    for method in (records.find_key, records.confirm):
        with pytest.raises(NotFound):
            method("key-1", "bob")


class Slow(EmbeddedVault):
    """A vault for which its caller waits as long as another process needs to do the same, and one step more."""

    meanwhile: Callable[[], object] | None = None

    def replace(self, key: SSHKey, private_key: str) -> None:
        super().replace(key, private_key)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()


def test_who_stood_still_for_too_long_does_not_end_a_change_that_somebody_else_took_up(
    database: Database, records: SSHKeyStore
) -> None:
    def public_half() -> str:
        sealed = SecretStore(database).get(made.id)
        assert sealed is not None
        return str(json.loads(ring.open(made.id, sealed))["publicKey"])

    def others() -> None:
        with database.write() as session:
            long_ago = "UPDATE ssh_keys SET changing_since = '2026-01-01 00:00:00.000000' WHERE id != 'key-1'"
            session.connection().exec_driver_sql(long_ago)
        keys.sweep()
        assert records.find_key(made.id, "alice").public_key == public_half() != made.public_key

    ring = Keyring([bytes(32)])
    vault = Slow(SecretStore(database), lambda: ring)
    keys = SSHKeys(records, vault)
    made = keys.create(ALICE, "ed25519", None, None, {})
    vault.meanwhile = others
    with pytest.raises(Conflict, match="has changed the SSH key at the same time"):
        keys.rotate(ALICE, made.id)
    keys.sweep()
    key = records.find_key(made.id, "alice")
    assert key.public_key == public_half()
    assert made.public_key in {half.public_key for half in key.replaced}
    assert records.left(datetime.now(UTC) + timedelta(days=1)) == []


def test_what_the_embedded_vault_holds_without_a_record_is_swept(database: Database, keys: SSHKeys) -> None:
    made = keys.create(ALICE, "ed25519", None, None, {})
    vault = EmbeddedVault(SecretStore(database), lambda: Keyring([bytes(32)]))
    vault.write(KEY, "PEM")
    vault.write(replace(KEY, id="orphan"), "PEM")
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE secrets SET created_at = '2026-01-01 00:00:00'")
    keys.sweep()
    secrets = SecretStore(database)
    assert secrets.get("orphan") is None
    assert secrets.get("key-1") is not None
    assert secrets.get(made.id) is not None
    vault.check()
    assert vault.check().status == "ok"
