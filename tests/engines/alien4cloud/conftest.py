"""The engine against a simulated Alien4Cloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.engines.alien4cloud.settings import Alien4CloudSettings
from hpcwaas.store.database import Database
from hpcwaas.store.listings import ListingStore
from hpcwaas.store.starts import StartStore
from tests.engines.alien4cloud.helpers import ENGINE, Make
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import recorded


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator's lines are there when an execution has ended, and it never is down for long."""
    monkeypatch.setattr(f"{ENGINE}.log_reader._SETTLED", 0.3)
    monkeypatch.setattr("hpcwaas.common.cached._FAILURE_COUNTS", 0.2)
    monkeypatch.setattr("hpcwaas.engines.orchestrated.reach._PROBE_EVERY", 0.1)


@pytest.fixture
def make(tmp_path: Path, database: Database) -> Iterator[Make]:
    engines: list[Alien4CloudEngine] = []
    stores = StartStore(database), ListingStore(database)

    def make(simulator: Simulator, directory: Path = tmp_path, **settings: Any) -> Alien4CloudEngine:
        engines.append(Alien4CloudEngine(Alien4CloudSettings(address=simulator.url, **settings), directory, *stores))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(recorded(duration=1.0), lag=0.1, cancel_time=0.3) as simulator:
        yield simulator


@pytest.fixture
def engine(simulator: Simulator, make: Make) -> Alien4CloudEngine:
    return make(simulator)
