"""How the catalogue follows changes, and what it needn't describe again."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.workflows import catalogue as catalogue_module
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.engines.cwl.workflows.describer import Answer, _Process
from hpcwaas.engines.cwl.workflows.metadata import Entry
from tests.engines.cwl_documents import DATA, ids, tool


def test_changes_are_seen(directory: Path, make: Callable[[], Catalogue]) -> None:
    catalogue = make()
    assert ids(catalogue) == []
    (directory / "a.cwl").write_text(tool())
    (directory / "b.cwl").write_text(tool("", "{x: }"))
    assert ids(catalogue) == ["a"]
    assert catalogue.check().status == "degraded"
    version = catalogue.details("a").version
    (directory / "b.cwl").write_text(tool("B"))
    assert ids(catalogue) == ["a", "b"]
    assert catalogue.check().status == "ok"
    assert catalogue.details("a").version == version
    (directory / "a.cwl").write_text(tool("Other"))
    assert catalogue.workflows()[0].label == "Other"
    assert catalogue.details("a").version != version
    (directory / "a.meta.yaml").write_text("authorized_users: [alice]")
    assert catalogue.workflows()[0].authorized_users == frozenset({"alice"})
    (directory / "a.meta.yaml").write_text("authorized_users: alice")
    assert ids(catalogue) == ["b"]
    (directory / "a.meta.yaml").unlink()
    (directory / "b.cwl").unlink()
    assert ids(catalogue) == ["a"]


def test_changes_of_what_a_document_is_made_of_are_seen(directory: Path, make: Callable[[], Catalogue]) -> None:
    shutil.copytree(DATA / "everything", directory / "everything")
    catalogue = make()
    versions = {catalogue.details("everything").version}
    for name in ("lib.js", "tools/graph.cwl", "data/deep/file"):
        with (directory / "everything" / name).open("a") as stream:
            stream.write("\n")
        versions.add(catalogue.details("everything").version)
    (directory / "everything" / "data" / "own.txt.gone").touch()
    versions.add(catalogue.details("everything").version)
    assert len(versions) == 5
    (directory / "everything" / "README").touch()
    (directory / "everything" / "meta.yaml").unlink()
    assert catalogue.details("everything").version in versions


def test_an_old_version_stays_what_it_was(directory: Path, make: Callable[[], Catalogue]) -> None:
    (directory / "a.cwl").write_text(tool("Old"))
    catalogue = make()
    old = catalogue.details("a")
    (directory / "a.cwl").write_text(tool("New", "{x: int}"))
    assert catalogue.details("a").workflow.label == "New"
    snapshot = catalogue.snapshot(old)
    assert "Old" in snapshot.path.read_text()
    assert snapshot.inputs == ()


def test_it_looks_once_a_second(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "a.cwl").write_text(tool())
    catalogue = Catalogue(directory, tmp_path / "state")
    assert ids(catalogue) == ["a"]
    (directory / "b.cwl").write_text(tool())
    time.sleep(1.05)
    assert ids(catalogue) == ["a", "b"]
    monkeypatch.setattr(catalogue_module, "LOOK_EVERY", 60.0)
    time.sleep(1.05)
    assert ids(catalogue) == ["a", "b"]
    (directory / "b.cwl").unlink()
    assert ids(catalogue) == ["a", "b"], "the time for the next look has not come"


def test_a_restart_describes_nothing(
    directory: Path, make: Callable[[], Catalogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "a.cwl").write_text(tool())
    (directory / "b.cwl").write_text("")
    first = make()
    assert ids(first) == ["a"]
    monkeypatch.setattr(subprocess, "Popen", None)
    second = make()
    assert ids(second) == ["a"]
    assert second.check().problems == first.check().problems


def test_lost_snapshots_are_made_again(directory: Path, make: Callable[[], Catalogue], tmp_path: Path) -> None:
    (directory / "a.cwl").write_text(tool())
    details = make().details("a")
    shutil.rmtree(tmp_path / "state" / "snapshots")
    catalogue = make()
    assert catalogue.snapshot(catalogue.details("a")).path.is_file()
    assert catalogue.details("a") == details


@pytest.mark.parametrize("content", ["", "{", '{"made_by": "an older version"}'])
def test_a_damaged_index_is_made_again(
    directory: Path, make: Callable[[], Catalogue], tmp_path: Path, content: str
) -> None:
    (directory / "a.cwl").write_text(tool())
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "catalogue.json").write_text(content)
    assert ids(make()) == ["a"]


def test_many_threads_and_processes_describe_once(
    directory: Path, make: Callable[[], Catalogue], tmp_path: Path
) -> None:
    for number in range(5):
        (directory / f"w{number}.cwl").write_text(tool(f"W{number}"))
    described: list[str] = []
    describe = _Process.describe

    def counting(process: _Process, entry: Entry, timeout: float, **more: Any) -> Answer:
        described.append(entry.id)
        return describe(process, entry, timeout, **more)

    catalogues = [make(), make(), make()]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(12) as pool:
        patch.setattr(_Process, "describe", counting)
        lists = list(pool.map(lambda number: ids(catalogues[number % 3]), range(24)))
    assert all(found == [f"w{number}" for number in range(5)] for found in lists)
    assert sorted(described) == [f"w{number}" for number in range(5)]
