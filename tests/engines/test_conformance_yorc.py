"""The engine `yorc` does what every engine has to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.engines.yorc.engine import YorcEngine
from hpcwaas.engines.yorc.settings import YorcSettings
from hpcwaas.store.database import Database
from hpcwaas.store.listings import ListingStore
from hpcwaas.store.starts import StartStore
from tests.engines import conformance
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_worlds import demo, jobs


class TestYorcEngine(conformance.EngineConformance):
    @pytest.fixture
    def world(self, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[conformance.World]:
        monkeypatch.setattr("hpcwaas.engines.yorc.polls.WAIT", 1.0)
        with Simulator([demo(), jobs(rate=1.0)]) as simulator:
            others = frozenset(threading.enumerate())
            stores = StartStore(database), ListingStore(database)
            settings = YorcSettings(address=simulator.url, publish=({"deployments": ("*",), "workflows": ("*",)},))
            engine = YorcEngine(settings, tmp_path, *stores)
            yield conformance.World(
                engine=engine,
                quick="demo-Environment@hello",
                quick_inputs={"who": "alice"},
                required=frozenset({"who"}),
                slow="jobs@plain",
                failing="demo-Environment@fail",
                output="greeting",
                others=others,
            )
            engine.close()
