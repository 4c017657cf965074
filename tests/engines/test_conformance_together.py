"""Each engine does what every engine has to do while the other is active beside it, too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.engines import Engines
from hpcwaas.core.models import (
    JSON,
    Check,
    Execution,
    ExecutionState,
    Level,
    LogPage,
    Status,
    Workflow,
    WorkflowDetails,
)
from hpcwaas.core.outputs import Output
from hpcwaas.core.ports.engine import Engine, Permitted, Prepared, RemovingEngine, UploadLookup, everything
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.registry import EngineContext, registry
from hpcwaas.store.database import Database
from hpcwaas.store.stores import Stores
from tests.engines import test_conformance_alien4cloud as alien4cloud
from tests.engines.conformance import EngineConformance, World
from tests.engines.test_conformance_cwl import CATALOGUE
from tests.simulators.alien4cloud import Simulator


class Among:
    """One of several engines, reached by what the service reaches them by."""

    def __init__(self, engines: Engines, name: str) -> None:
        self._engines = engines
        self.name = name

    def _of(self, reference: str) -> Engine:
        state = ExecutionState(Status.PENDING)
        return self._engines.of(Execution(reference, "a", "w", "w", self.name, {}, datetime.now(UTC), state, reference))

    def workflows(self) -> Sequence[Workflow]:
        return [workflow for workflow in self._engines.workflows().workflows if workflow.engine == self.name]

    def stale_since(self) -> datetime | None:
        return self._engines.workflows().stale_since

    def workflow(
        self, workflow_id: str, permitted: Permitted = everything, *, current: bool = False
    ) -> WorkflowDetails:
        return self._engines.workflow(workflow_id, permitted, current=current)

    def prepare(self, details: WorkflowDetails, inputs: Mapping[str, JSON], uploads: UploadLookup) -> Prepared:
        engine, own = self._engines.behind(details)
        assert engine.name == self.name
        return engine.prepare(own, inputs, uploads)

    def start(self, execution_id: str, details: WorkflowDetails, prepared: Prepared, owner: str = "") -> str:
        engine, own = self._engines.behind(details)
        return engine.start(execution_id, own, prepared, owner)

    def state(self, reference: str) -> ExecutionState:
        return self._of(reference).state(reference)

    def log(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        return self._of(reference).log(reference, levels, start, limit)

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        return self._of(reference).watch(reference, levels, start, wake)

    def remove(self, reference: str, part: Part, *, give_up: bool = False) -> Removal:
        engine = self._of(reference)
        assert isinstance(engine, RemovingEngine)
        return engine.remove(reference, part, give_up=give_up)

    def cancel(self, reference: str) -> None:
        self._of(reference).cancel(reference)

    def lost(self, reference: str) -> bool:
        return self._of(reference).lost(reference)

    def silent_since(self) -> datetime | None:
        return self._of("").silent_since()

    def resume(self, reference: str) -> None:
        self._of(reference).resume(reference)

    def output(self, reference: str, name: str, path: str | None, archive: str) -> Output:
        return self._of(reference).output(reference, name, path, archive)

    def checks(self) -> Sequence[Check]:
        return [check for source in self._engines.sources().values() for check in source()]

    def close(self) -> None:
        self._engines.close()


CWL = {
    "quick": "echo",
    "quick_inputs": {"message": "hello"},
    "required": frozenset({"message"}),
    "slow": "slow",
    "slow_inputs": {"seconds": 60},
    "failing": "fails",
    "output": "text",
}
ALIEN4CLOUD = {
    "quick": "App@env@quick",
    "quick_inputs": {"user_id": "alice"},
    "required": frozenset({"user_id"}),
    "slow": "App@env@slow",
    "failing": "App@env@fails",
    "output": "result",
}


class TestTwoEngines(EngineConformance):
    """The tests that all engines pass."""

    @pytest.fixture(scope="class")
    def shared(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """One data directory for all tests, so that its launcher is started once."""
        return tmp_path_factory.mktemp("data")

    @pytest.fixture(params=["cwl", "alien4cloud"])
    def world(
        self, request: pytest.FixtureRequest, shared: Path, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[World]:
        """Both engines as the registry makes them."""
        monkeypatch.setattr("hpcwaas.engines.alien4cloud.log_reader._SETTLED", 0)
        monkeypatch.setattr("hpcwaas.core.engines._WARM", 60.0)  # a busy machine describes workflows slowly
        with Simulator(alien4cloud.contents(), lag=0.1, cancel_time=0.3) as simulator:
            others = frozenset(threading.enumerate())
            stores = Stores(database)
            context = EngineContext(shared, [], stores.starts, stores.listings)
            known = registry()
            sections = {
                "cwl": CWLSettings(catalogue=CATALOGUE, max_running=4),
                "alien4cloud": known.sections["alien_config"].model_validate({"address": simulator.url}),
            }
            engines = Engines([known.make(name, it, context) for name, it in sections.items()], known.forms)
            mine: Any = {"cwl": CWL, "alien4cloud": ALIEN4CLOUD}[request.param]
            world = World(engine=Among(engines, request.param), others=others, within=90, **mine)
            yield world
            engines.close()
