"""What reading a page of a log costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.app import assemble
from hpcwaas.core.models import ExecutionState, Level, Status
from hpcwaas.core.people import Principal
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.store.database import Database
from tests.service import make_settings

ALICE = Principal("alice", "alice")


def test_a_page_of_a_log_asks_the_engine_for_the_state_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(tmp_path)
    database = Database(settings.database_url)
    database.upgrade()
    database.close()
    asked: list[str] = []

    def state(_engine: CWLEngine, reference: str) -> ExecutionState:
        asked.append(reference)
        return ExecutionState(Status.RUNNING)

    parts = assemble(settings)
    try:
        execution = parts.executions.trigger(ALICE, "echo", {"message": "hello"}, None)
        with monkeypatch.context() as patch:
            patch.setattr(CWLEngine, "state", state)
            view = parts.logs.read(ALICE, execution.id, Level.INFO, 10_000, 10)
        assert (view.status, view.page.over, asked) == (Status.RUNNING, False, [execution.reference])
    finally:
        parts.close()
