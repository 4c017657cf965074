"""Settings of several machines."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.configuration.checks import contradictions, make_data_dir
from hpcwaas.configuration.settings import Settings

POSTGRESQL = "postgresql+psycopg://hpcwaas@db.example.org/hpcwaas"


def settings(directory: Path, **given: Any) -> Settings:
    (directory / "shared").mkdir(exist_ok=True)
    values = {"data_dir": directory / "data", "shared_dir": directory / "shared", "store": {"url": POSTGRESQL}} | given
    return Settings.model_validate(values)


def test_a_machine_is_called_as_its_host_unless_it_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.configuration.settings.gethostname", lambda: "node-a.example.org")
    assert settings(tmp_path).machine_name == "node-a.example.org"
    assert settings(tmp_path, machine="b").machine_name == "b"
    alone = settings(tmp_path, shared_dir=None)
    assert (alone.machine_name, alone.shared) == (None, tmp_path / "data")
    assert not list(contradictions(settings(tmp_path)))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"shared_dir": "relative"}, "shared_dir: relative has to be an absolute path"),
        ({"shared_dir": "/nowhere/shared"}, "shared_dir: /nowhere/shared is no directory: mount it, or make it once"),
        ({"store": {}}, "shared_dir: needs PostgreSQL (`store.url`)"),
        ({"shared_dir": None, "machine": "a"}, "machine: is of no use without `shared_dir`"),
    ],
)
def test_what_can_not_be_is_told(tmp_path: Path, given: dict[str, Any], problem: str) -> None:
    assert problem in "\n".join(str(each) for each in contradictions(settings(tmp_path, **given)))


def test_neither_directory_is_in_the_other(tmp_path: Path) -> None:
    for own, shared in (("a", "a"), ("a/b", "a"), ("a", "a/b")):
        (tmp_path / "a" / "b").mkdir(parents=True, exist_ok=True)
        found = contradictions(settings(tmp_path, data_dir=tmp_path / own, shared_dir=tmp_path / shared))
        assert "one inside of the other" in "\n".join(map(str, found))


def test_a_host_name_that_is_no_name_of_a_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.configuration.settings.gethostname", lambda: "../odd")
    (problem,) = contradictions(settings(tmp_path))
    assert str(problem).startswith("machine: the host name")


def test_the_shared_directory_is_closed_to_others_and_never_made(tmp_path: Path) -> None:
    given = settings(tmp_path)
    (tmp_path / "shared").chmod(0o755)
    make_data_dir(given)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o700
    (tmp_path / "shared").rmdir()
    with pytest.raises(Exception, match="shared_dir: "):
        make_data_dir(given)
    assert not (tmp_path / "shared").exists()
