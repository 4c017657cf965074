"""The engine `alien4cloud` does what every engine has to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.engines.alien4cloud.settings import Alien4CloudSettings
from hpcwaas.store.database import Database
from hpcwaas.store.listings import ListingStore
from hpcwaas.store.starts import StartStore
from tests.engines import conformance
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Application, Environment, Input, Workflow, World
from tests.simulators.alien4cloud_worlds import ADMIN, WORKFLOWS


def contents() -> World:
    """One application with a workflow for each of the tests' needs."""
    workflows = (
        Workflow(name="quick", inputs={"user_id": Input(required=True)}, duration=1, log_rate=2),
        Workflow(name="slow", duration=60, log_rate=1),
        Workflow(name="fails", duration=1, outcome="FAILED"),
    )
    application = Application(
        id="App", tags=((WORKFLOWS, "quick,slow,fails"),), workflows=workflows, environments=[Environment(id="env")]
    )
    return World([application], [ADMIN])


class TestAlien4CloudEngine(conformance.EngineConformance):
    """The tests that all engines pass."""

    @pytest.fixture
    def world(self, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[conformance.World]:
        """The engine with a simulated Alien4Cloud, whose log lines are all there when an execution has ended."""
        monkeypatch.setattr("hpcwaas.engines.alien4cloud.log_reader._SETTLED", 0)
        with Simulator(contents(), lag=0.1, cancel_time=0.3) as simulator:
            others = frozenset(threading.enumerate())
            stores = StartStore(database), ListingStore(database)
            engine = Alien4CloudEngine(Alien4CloudSettings(address=simulator.url), tmp_path, *stores)
            yield conformance.World(
                engine=engine,
                quick="App@env@quick",
                quick_inputs={"user_id": "alice"},
                required=frozenset({"user_id"}),
                slow="App@env@slow",
                failing="App@env@fails",
                output="result",
                others=others,
            )
            engine.close()
