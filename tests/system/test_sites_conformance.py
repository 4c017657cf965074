"""The engine `cwl` does on a real site what every engine has to do."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import JSON, WorkflowDetails
from hpcwaas.core.ports.engine import ExecutionLookup, UploadLookup
from hpcwaas.core.ports.sites import Credential
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.sites.ssh import SSHConnections
from hpcwaas.engines.site_settings import SiteSettings
from tests.engines.conformance import EngineConformance, World
from tests.system.slurm_site import Site, one_node

CATALOGUE = Path(__file__).parents[1] / "api" / "catalogue"

pytestmark = [pytest.mark.system, pytest.mark.timeout(200)]


@dataclass(frozen=True)
class Key:
    """Opens every account with the same key."""

    private_key: str

    def credential(self, placement: Placement, purpose: str) -> Credential:
        assert placement.ssh_key
        assert purpose
        return Credential(self.private_key)

    def ready(self, placement: Placement) -> None:
        """It always is."""


class PlacedEngine(CWLEngine):
    """The engine, for a user who runs everything on one site."""

    placement = Placement()

    def prepare(
        self,
        details: WorkflowDetails,
        inputs: Mapping[str, JSON],
        uploads: UploadLookup,
        executions: ExecutionLookup = lambda _: None,
        *,
        announced: bool = False,
    ) -> Job:
        prepared = super().prepare(details, inputs, uploads, executions, announced=announced)
        return self.place(prepared, details, self.placement)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node() as site:
        yield site


@pytest.fixture(scope="module")
def key(site: Site) -> Key:
    file = site.directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    site.alice.authorize(file.with_suffix(".pub").read_text())
    return Key(file.read_text())


class SiteConformance(EngineConformance):
    """The tests that all engines pass, and what differs between the sites."""

    changes: Mapping[str, Any]

    @pytest.fixture(scope="class")
    def shared(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """One data directory for all tests."""
        return tmp_path_factory.mktemp("data")

    @pytest.fixture
    def world(self, site: Site, key: Key, shared: Path) -> Iterator[World]:
        """The engine with the tests' catalogue, for one account of the site."""
        others = frozenset(threading.enumerate())
        sites = {"lap": SiteSettings.model_validate(site.settings(**self.changes))}
        engine = PlacedEngine(
            CWLSettings(catalogue=CATALOGUE, local=False), shared, sites=sites, connections=SSHConnections(sites, key)
        )
        engine.placement = Placement("lap", site.alice.name, "a-key")
        yield World(
            engine=engine,
            quick="echo",
            quick_inputs={"message": "hello"},
            required=frozenset({"message"}),
            slow="slow",
            slow_inputs={"seconds": 60},
            failing="fails",
            output="text",
            within=90,
            others=others,
        )
        engine.close()


class TestOnTheLoginNode(SiteConformance):
    changes: Mapping[str, Any] = {"scheduler": "none", "slurm": {}}


class TestInAJob(SiteConformance):
    changes: Mapping[str, Any] = {"leader": "job"}
