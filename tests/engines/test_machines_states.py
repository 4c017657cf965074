"""What another machine writes, over a network file system that shows it for a moment as it never was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.core.models import ExecutionState, Status
from hpcwaas.engines.cwl import states
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.sites.base import Stamp
from hpcwaas.engines.cwl.sites.local import LocalSite
from hpcwaas.engines.cwl.storage import spool, stored
from hpcwaas.errors import Unavailable

IDLE = {"runner": {"command": ["true"]}, "max_running": 1}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CWLEngine]:
    """Of a machine that sees what another one runs."""
    monkeypatch.setattr(states, "_AGAIN", 0.001)
    (tmp_path / "catalogue").mkdir()
    settings = CWLSettings.model_validate(IDLE | {"catalogue": tmp_path / "catalogue"})
    engine = CWLEngine(settings, tmp_path / "own", shared_dir=tmp_path / "shared", machine="second")
    yield engine
    engine.close()


@pytest.fixture
def execution(tmp_path: Path, engine: CWLEngine) -> Path:
    """Its directory; it runs on the other machine."""
    directory = tmp_path / "shared" / "cwl" / "executions" / "e1"
    directory.mkdir()
    write(directory, Status.RUNNING)
    return directory


def write(directory: Path, status: Status) -> None:
    (directory / spool.STATE).write_bytes(stored.encode_state(ExecutionState(status)))


class Veil:
    """Shows a file as missing, or cut short, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
        self.left = times
        self._stamp, self._read = LocalSite.stamp, LocalSite.read
        self.name = name
        monkeypatch.setattr(LocalSite, "read", lambda site, *given: self.read(site, *given))

    def read(self, site: LocalSite, execution_id: str, name: str, offset: int = 0, size: int = -1) -> bytes:
        if name == self.name and self.left > 0:
            self.left -= 1
            return b""
        return self._read(site, execution_id, name, offset, size)


def test_a_state_that_is_replaced_just_now_is_none_of_a_dead_execution(
    engine: CWLEngine, execution: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    veil = Veil(monkeypatch, spool.STATE, times=3)
    assert engine.state("e1").status is Status.RUNNING
    assert veil.left == 0
    write(execution, Status.CANCELLED)
    veil.left = 1000
    with pytest.raises(Unavailable, match="can't be read just now"):
        engine.state("e1")
    veil.left = 0
    assert engine.state("e1").status is Status.CANCELLED


def test_an_execution_that_had_begun_is_not_pending_again(
    engine: CWLEngine, execution: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.state("e1").status is Status.RUNNING
    seen = iter([None, None])
    stamp = LocalSite.stamp

    def veiled(site: LocalSite, execution_id: str, name: str) -> Stamp | None:
        return next(seen, stamp(site, execution_id, name)) if name == spool.STATE else stamp(site, execution_id, name)

    monkeypatch.setattr(LocalSite, "stamp", veiled)
    assert engine.state("e1").status is Status.RUNNING


def test_outputs_that_come_into_sight_after_the_end_are_not_lost(
    engine: CWLEngine, execution: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (execution / spool.OUTPUT_OBJECT).write_text(json.dumps({"number": 3}))
    write(execution, Status.SUCCEEDED)
    Veil(monkeypatch, spool.OUTPUT_OBJECT, times=3)
    assert engine.state("e1").outputs == {"number": 3}


def test_who_asks_for_outputs_before_the_end_is_seen_here_is_to_ask_again(engine: CWLEngine, execution: Path) -> None:
    with pytest.raises(Unavailable, match="isn't seen on this machine yet"):
        engine.output("e1", "number", None, "zip")
