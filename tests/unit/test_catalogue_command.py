"""The commands `hpcwaas-api catalogue …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hpcwaas.command.main import main
from tests.engines.cwl_documents import tool
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Application, Environment, Workflow, World
from tests.simulators.alien4cloud_worlds import ADMIN


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HWA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["catalogue", "access", *arguments])


def access(*arguments: str) -> dict[str | None, dict[str, Any]]:
    result = run("-o", "json", *arguments)
    assert result.exit_code == 0, result.output
    return {item["id"]: item for item in json.loads(result.stdout)}


def test_who_may_run_what_of_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "catalogue"
    directory.mkdir()
    monkeypatch.setenv("HWA_CWL_CATALOGUE", str(directory))
    for name in ("some", "none", "open", "double", "misspelt"):
        (directory / f"{name}.cwl").write_text(tool())
    (directory / "broken.cwl").write_text("x: [")
    (directory / "some.meta.yaml").write_text("authorized_users: [bob, alice, bob]\nauthorized_groups: [climate]")
    (directory / "none.meta.yaml").write_text("authorized_groups: []")
    (directory / "double.meta.yaml").write_text("authorized_users: []\nauthorized_users: [alice]")
    (directory / "misspelt.yaml").write_text("authorized_users: []")
    (directory / "nothing\x1b[2J.meta.yaml").touch()
    found = access()
    assert [item for item in found if item is not None] == ["broken", "double", "misspelt", "none", "open", "some"]
    assert {name for name, item in found.items() if item["published"]} == {"none", "open", "some"}
    assert {name for name, item in found.items() if item["everybody"]} == {"open"}
    assert (found["some"]["users"], found["some"]["groups"]) == (["alice", "bob"], ["climate"])
    assert found["some"]["warnings"] == ["some.meta.yaml: authorized_users has bob more than once"]
    assert found["double"]["problem"].startswith("double.meta.yaml:2: the key authorized_users is given twice")
    assert found[None]["problem"].startswith("nothing")
    text = run().output
    assert "some      users alice, bob; group climate  published" in text
    assert "none      nobody                           published" in text
    assert "misspelt  nobody                           not published" in text
    assert "\x1b" not in text
    assert not (tmp_path / "data").exists(), "it only looks"
    monkeypatch.setenv("HWA_CWL_WITHOUT_METADATA", "nobody")
    assert not access()["open"]["everybody"]


def test_a_directory_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWA_CWL_CATALOGUE", str(tmp_path / "gone"))
    result = run()
    assert result.exit_code == 1
    assert "gone is no directory" in result.output


def test_who_may_run_what_of_alien4cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    def application(name: str, *tags: tuple[str, str]) -> Application:
        return Application(
            id=name,
            tags=(("hpcwaas-workflows", "w"), *tags),
            workflows=(Workflow(name="w"),),
            environments=[Environment(id=f"e-{name}")],
        )

    users = "hpcwaas-authorized-users"
    world = World(
        [
            application("Open"),
            application("Some", (users, "alice,bob")),
            application("Double", (users, "alice"), (users, "bob")),
            application("Misspelt", ("hpcwaas-authorized-user", "alice")),
        ],
        [ADMIN],
    )
    with Simulator(world) as simulator:
        monkeypatch.setenv("HWA_ALIEN_CONFIG_ADDRESS", simulator.url)
        result = run("-o", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {item["id"]: item["users"] for item in found if item["id"]} == {
        "Open@e-Open@w": [],
        "Some@e-Some@w": ["alice", "bob"],
    }
    assert {item["problem"].partition(":")[0] for item in found if not item["id"]} == {
        "application Double",
        "application Misspelt",
    }


def test_without_alien4cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWA_ALIEN_CONFIG_ADDRESS", "http://127.0.0.1:9")
    result = run()
    assert result.exit_code == 1
    assert "hpcwaas-api: " in result.output
