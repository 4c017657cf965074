"""The engine `cwl` does what every engine has to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.settings import CWLSettings
from tests.engines.conformance import EngineConformance, World

CATALOGUE = Path(__file__).parents[1] / "api" / "catalogue"


class TestCWLEngine(EngineConformance):
    """The tests that all engines pass."""

    @pytest.fixture(scope="class")
    def shared(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """One data directory for all tests, so that its launcher is started once."""
        return tmp_path_factory.mktemp("data")

    @pytest.fixture
    def world(self, shared: Path) -> Iterator[World]:
        """The engine with the tests' catalogue."""
        others = frozenset(threading.enumerate())
        engine = CWLEngine(CWLSettings(catalogue=CATALOGUE, max_running=4), shared)
        yield World(
            engine=engine,
            quick="echo",
            quick_inputs={"message": "hello"},
            required=frozenset({"message"}),
            slow="slow",
            slow_inputs={"seconds": 60},
            failing="fails",
            output="text",
            others=others,
        )
        engine.close()
