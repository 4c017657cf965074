"""Fixtures that the tests of the engine `cwl` share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows import catalogue as catalogue_module
from hpcwaas.engines.cwl.workflows import reading
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from tests.engines.cwl_bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Runs workflows, with a secret in the environment when it was opened."""
    os.environ["HWA_SECRET"] = "not for tools"
    bench = Bench.open(tmp_path_factory.mktemp("bench") / "cwl", limits={"cores": 2, "memory": "2 GiB"})
    del os.environ["HWA_SECRET"]
    yield bench
    bench.executions.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty directory for a catalogue."""
    path = tmp_path / "catalogue"
    path.mkdir()
    return path


@pytest.fixture
def make(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Catalogue]:
    """Makes catalogues of that directory, all with the same memory."""
    # Each call looks, so that tests needn't wait for the next look.
    monkeypatch.setattr(catalogue_module, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(reading, "SETTLE", 0.0)
    return lambda: Catalogue(directory, tmp_path / "state")
