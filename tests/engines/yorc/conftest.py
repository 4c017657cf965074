"""The engine against a simulated Yorc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.yorc.engine import YorcEngine
from hpcwaas.engines.yorc.settings import YorcSettings
from hpcwaas.store.database import Database
from hpcwaas.store.listings import ListingStore
from hpcwaas.store.starts import StartStore
from tests.engines.yorc.helpers import ENGINE, Make
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_worlds import demo, jobs

EVERYTHING = ({"deployments": ["*"], "workflows": ["*"]},)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks doesn't wait long, so that what is closed has ended soon; Yorc never is down for long."""
    monkeypatch.setattr(f"{ENGINE}.polls.WAIT", 1.0)
    monkeypatch.setattr(f"{ENGINE}.polls._LONGEST_PAUSE", 0.5)
    monkeypatch.setattr("hpcwaas.common.cached._FAILURE_COUNTS", 0.2)
    monkeypatch.setattr("hpcwaas.engines.orchestrated.reach._PROBE_EVERY", 0.1)


@pytest.fixture
def make(tmp_path: Path, database: Database) -> Iterator[Make]:
    engines: list[YorcEngine] = []
    stores = StartStore(database), ListingStore(database)

    def make(simulator: Simulator, directory: Path = tmp_path, **settings: Any) -> YorcEngine:
        whole = {"address": simulator.url, "publish": EVERYTHING, **settings}
        engines.append(YorcEngine(YorcSettings(**whole), directory, *stores))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator([demo(), jobs()]) as simulator:
        yield simulator


@pytest.fixture
def engine(simulator: Simulator, make: Make) -> YorcEngine:
    return make(simulator)
