"""What is removed when the time is over for which it is kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from hpcwaas.common.chained import ChainedFile, verify
from hpcwaas.configuration.checks import contradictions
from hpcwaas.core.endings import Part, Removal, Retention, check_there
from hpcwaas.core.engines import Engines
from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Execution, ExecutionState, Status, Workflow
from hpcwaas.core.removals import Removals
from hpcwaas.core.retention import Expiry
from hpcwaas.core.settings import RetentionSettings
from hpcwaas.errors import Gone, NotFound, Unavailable
from hpcwaas.store.audit_files import OldRecords
from hpcwaas.store.database import Database
from hpcwaas.store.stores import Stores
from tests.service import make_settings
from tests.unit.test_removals import Engine

NOW = datetime.now(UTC)


class Publishing(Engine):
    """An engine with workflows that say for how long their executions are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.published: dict[str, Retention] = {}
        self.parts: list[tuple[str, Part]] = []

    def workflows(self) -> Sequence[Workflow]:
        return [Workflow(name, name, "cwl", name, "", "", retention=it) for name, it in self.published.items()]

    def retentions(self) -> Mapping[str, Retention]:
        return self.published

    def stale_since(self) -> None:
        return None

    def remove(self, reference: str, part: Part, *, give_up: bool = False) -> Removal:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.parts.append((reference, part))
        return self.answer


class World:
    """A store with executions that ended some days ago."""

    def __init__(self, database: Database, **days: int) -> None:
        self.stores = Stores(database)
        self.engine = Publishing()
        self.acts: list[Mapping[str, object]] = []
        self.settings = RetentionSettings(**days)

    def add(self, name: str, days: int, workflow: str = "w", **changes: Any) -> None:
        ended = NOW - timedelta(days=days)
        state = ExecutionState(Status.SUCCEEDED, ended_at=ended, outputs={"a": 1}, stored=5000)
        execution = Execution(name, "alice", workflow, workflow, "cwl", {}, ended, state, **changes)
        self.stores.executions.add(replace(execution, reference=None))
        self.stores.executions.set_reference(name, f"r-{name}")
        self.stores.executions.save_state(name, state)

    def look(self) -> bool:
        engines = Engines([cast(Any, self.engine)], {"cwl": ".+"})
        executions = Executions(engines, self.stores.executions, cast(Any, None), cast(Any, None), cast(Any, None))
        removals = Removals(engines, executions, self.stores.removals, self.acts.append)
        listings, records = self.stores.listings, self.stores.removals
        expiry = Expiry(engines, executions, removals, records, listings, self.settings, lambda *_: 0, self.acts.append)
        more = expiry.look()
        removals.sweep()
        return more

    def there(self) -> Mapping[str, Part]:
        return {name: found.removed for name in ("a", "b", "c") if (found := self.find(name))}

    def find(self, name: str) -> Execution | None:
        try:
            return self.stores.executions.find_execution(name, None)
        except NotFound:
            return None


def test_nothing_is_removed_without_a_setting(database: Database) -> None:
    world = World(database)
    world.add("a", 9999)
    assert not world.look()
    assert world.there() == {"a": Part(0)}
    assert world.acts == []


def test_executions_outputs_and_logs_have_times_of_their_own(database: Database) -> None:
    world = World(database, executions=30, outputs=10, logs=20)
    for name, days in (("a", 31), ("b", 21), ("c", 11)):
        world.add(name, days)
    world.look()
    assert world.there() == {"b": Part.OUTPUTS | Part.LOG, "c": Part.OUTPUTS}
    kept = world.find("c")
    assert kept is not None
    assert kept.state.outputs is None
    world.look()  # nothing is done twice
    assert sorted(world.engine.parts) == sorted(
        [("r-a", Part.ALL), ("r-b", Part.OUTPUTS), ("r-b", Part.LOG), ("r-c", Part.OUTPUTS)]
    )
    assert {(act["operation"], act.get("part")) for act in world.acts} == {
        ("retentionOver", "all"),
        ("retentionOver", "outputs"),
        ("retentionOver", "log"),
        ("executionRemoved", None),
    }


def test_what_is_gone_makes_room(database: Database) -> None:
    world = World(database, outputs=10)
    world.add("a", 11)
    before = world.stores.uploads.stored("alice")
    world.engine.answer = Removal(kept=100)
    world.look()
    assert world.stores.uploads.stored("alice") < before - 4000


def test_a_workflow_may_be_stricter_and_not_laxer(database: Database) -> None:
    world = World(database, executions=30)
    world.engine.published = {"strict": Retention(executions=5, outputs=2), "lax": Retention(executions=99)}
    world.add("a", 6, "strict")
    world.add("b", 6, "lax")
    world.add("c", 31, "lax")
    world.look()
    assert world.there() == {"b": Part(0)}


def test_what_a_workflow_said_counts_after_it_was_withdrawn_and_while_nobody_can_say(database: Database) -> None:
    world = World(database)
    world.engine.published = {"w": Retention(outputs=5)}
    world.look()
    world.engine.published = {}
    world.add("a", 6)
    world.look()
    assert world.there() == {"a": Part.OUTPUTS}


def test_a_workflow_that_is_laxer_now_lets_them_be(database: Database) -> None:
    world = World(database)
    world.engine.published = {"w": Retention(outputs=5)}
    world.look()
    world.engine.published = {"w": Retention()}
    world.look()
    world.add("a", 6)
    world.look()
    assert world.there() == {"a": Part(0)}


def test_one_that_cannot_be_removed_now_keeps_no_other(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.core.retention._AT_ONCE", 1)
    world = World(database, outputs=5)
    world.add("a", 8)
    world.add("b", 7)
    world.engine.answer = Unavailable("The site is down.")
    assert world.look()
    world.engine.answer = Removal()
    assert world.look()
    assert world.there() == {"a": Part(0), "b": Part.OUTPUTS}
    assert not world.look()  # and `a` has its turn later


def test_running_ones_stay_however_old_an_earlier_failure_is(database: Database) -> None:
    world = World(database, executions=5)
    world.add("a", 8)
    world.stores.executions.add(
        Execution("b", "alice", "w", "w", "cwl", {}, NOW - timedelta(days=9), ExecutionState(Status.PENDING))
    )
    world.stores.executions.set_reference("b", "r-b")
    world.stores.executions.save_state("b", ExecutionState(Status.FAILED, ended_at=NOW - timedelta(days=8)))
    world.stores.executions.reopen("b")
    world.look()
    assert world.there() == {"b": Part(0)}


@pytest.mark.parametrize("part", [Part.OUTPUTS, Part.LOG, Part.ALL])
def test_who_asks_for_it_is_told(part: Part) -> None:
    with pytest.raises(Gone):
        check_there(part, Part.OUTPUTS if part is Part.ALL else part)


def test_old_records_of_the_audit_go_and_the_chain_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    yesterday = NOW - timedelta(days=1)
    chained = ChainedFile(file)
    chained.append({"time": yesterday.isoformat(), "n": 1})
    old = tmp_path / "audit.jsonl.2.gz"
    old.write_bytes(b"")
    os.utime(old, (time.time() - 40 * 86400,) * 2)
    other = tmp_path / "audit.json"
    other.write_text("")
    os.utime(other, (time.time() - 40 * 86400,) * 2)
    records = OldRecords(file, 30)
    records.look(30, NOW)
    records.look(30, NOW)
    chained.append({"time": NOW.isoformat(), "n": 2})
    records.look(30, NOW)
    chained.close()
    aside = tmp_path / f"audit.jsonl.{yesterday.date()}"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([other.name, file.name, aside.name])
    assert json.loads(file.read_text())["n"] == 2
    assert not verify([aside, file]).faults
    records.look(30, NOW + timedelta(days=60))
    assert not aside.exists()


def test_a_crash_while_the_audit_is_moved_aside_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    chained = ChainedFile(file)
    chained.append({"time": "2026-01-01T00:00:00Z", "n": 1})
    chained.close()
    os.link(file, tmp_path / "audit.jsonl.2026-01-01")  # and killed there
    OldRecords(file, 9999).look(9999, NOW)
    assert not file.exists()
    assert json.loads((tmp_path / "audit.jsonl.2026-01-01").read_text())["n"] == 1


def test_nothing_of_the_audit_goes_without_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text('{"time": "2001-01-01T00:00:00Z"}\n')
    OldRecords(file, None).sweep()
    assert file.exists()


def test_a_part_is_not_kept_for_longer_than_the_whole(tmp_path: Path) -> None:
    def wrong(**days: int) -> list[str]:
        settings = make_settings(tmp_path, retention=days)
        return [error.key for error in contradictions(settings) if error.key.startswith("retention")]

    assert wrong(executions=5, outputs=6, logs=7) == ["retention.outputs", "retention.logs"]
    assert wrong(executions=5, outputs=5) == []
    with pytest.raises(ValueError, match=r"retention\.uploads"):
        wrong(uploads=0)
