"""The engine `cwl` does on a site what every engine has to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import WorkflowDetails
from hpcwaas.core.ports.engine import Prepared
from hpcwaas.core.ports.sites import SiteEngine
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.site_settings import SiteSettings
from tests.engines.conformance import EngineConformance, World
from tests.simulators.logins import Logins

CATALOGUE = Path(__file__).parents[1] / "api" / "catalogue"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvwm0n2l2O0bqUwbOeA0B3n9uGmY6wQ3K3m9dVQq1zH"
PLACEMENT = Placement("mare", "u1234", "key")


@dataclass(frozen=True)
class SiteWorld(World):
    """Starts everything on a site."""

    def prepared(self, details: WorkflowDetails, inputs: Mapping[str, Any]) -> Prepared:
        engine = self.engine
        assert isinstance(engine, SiteEngine)
        return engine.place(World.prepared(self, details, inputs), details, PLACEMENT)


class TestCWLEngineOnASite(EngineConformance):
    """The tests that all engines pass."""

    @pytest.fixture(scope="class")
    def shared(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """One data directory for all tests, and one login node."""
        return tmp_path_factory.mktemp("data")

    @pytest.fixture
    def world(self, shared: Path) -> Iterator[World]:
        """The engine with the tests' catalogue, and nothing that runs on this machine."""
        others = frozenset(threading.enumerate())
        settings = {"host": "login.example.org", "host_keys": [HOST_KEY], "scheduler": "none"}
        site = SiteSettings.model_validate(settings | {"runner": {"command": ["cwltool"]}})
        engine = CWLEngine(
            CWLSettings(catalogue=CATALOGUE, local=False),
            shared / "service",
            sites={"mare": site},
            connections=Logins(shared / "homes"),
        )
        yield SiteWorld(
            engine=engine,
            quick="echo",
            quick_inputs={"message": "hello"},
            required=frozenset({"message"}),
            slow="slow",
            slow_inputs={"seconds": 60},
            failing="fails",
            output="text",
            within=60,
            others=others,
        )
        engine.close()
