"""Fixtures of tests of backups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.backup_world import World, configure, done


@pytest.fixture
def home_of_backups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home whose configuration the commands use."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")
    configure(tmp_path, tmp_path / "data")


@pytest.fixture
def full(tmp_path: Path) -> World:
    """What is backed up."""
    return World(tmp_path / "data")


@pytest.fixture(scope="module")
def plain_backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that is made once."""
    home = tmp_path_factory.mktemp("plain")
    configure(home, home / "data")
    World(home / "data")
    before = os.environ["HOME"]
    os.environ["HOME"] = str(home)
    try:
        done("backup", home / "one.tar")
    finally:
        os.environ["HOME"] = before
    return home / "one.tar"
