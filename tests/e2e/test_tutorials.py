"""The tutorials are true: every command of theirs is run, in the order of the page, beginning with nothing."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.e2e.tutorial import Reader, blocks, first_missing
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted(ROOT.glob("docs/tutorial/*.md"))
COPIED = (
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints.txt",
    "openapi.yaml",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """With a copy of the repository and an empty home, in which `make` and pip find what they would install."""
    copy, home = tmp_path / "copy", tmp_path / "home"
    home.mkdir()
    for folder in ("cli", "examples", "hpcwaas"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED:
        shutil.copy(ROOT / name, copy)
    (copy / ".venv").mkdir()
    (copy / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (copy / ".venv" / ".installed").touch()
    environment = {
        "PATH": f"{Path(sys._base_executable).parent}{os.pathsep}{os.defpath}",  # type: ignore[attr-defined]
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        # What pip would install is here already, the setuptools that builds included: no index is asked.
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_BUILD_ISOLATION": "0",  # which is pip's way to say that there is to be none
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return Reader(
        copy,
        environment,
        {"127.0.0.1:9090": f"127.0.0.1:{free_port()}"},
        {"python3 -m venv ~/hpcwaas": lambda: share_packages(home / "hpcwaas")},
    )


def share_packages(environment: Path) -> None:
    """Lets the programs of an environment that has been made find our packages, those too whose variables are few."""
    packages = environment / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))


@pytest.mark.timeout(1200)  # an installation is among them
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_every_command_of_a_tutorial_does_what_the_page_says(reader: Reader, page: Path) -> None:
    reader.follow(page)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_every_block_of_a_tutorial_is_run_or_written(page: Path) -> None:
    found = blocks(page)
    assert len(found) == page.read_text(encoding="utf-8").count("\n```") / 2
    assert all(block.language == "console" or block.title for block in found)
    assert sum(len(block.commands) for block in found if block.language == "console") > 10


@pytest.mark.parametrize(
    ("expected", "output", "missing"),
    [
        (["a … c", "d"], "a b c\nx\nd\n", None),
        (["d", "a"], "a\nd\n", "a"),
        (["a  b"], "a\tb", None),
        (["SUCCEEDED"], "FAILED", "SUCCEEDED"),
        (["id 63500e6f-4b63-481f-897f-8c628d7bbe7b"], "id 00000000-4b63-481f-897f-8c628d7bbe7b", None),
        (["id 63500e6f-4b63-481f-897f-8c628d7bbe7b"], "id none", "id 63500e6f-4b63-481f-897f-8c628d7bbe7b"),
        (["a.c"], "abc", "a.c"),
    ],
)
def test_what_is_shown_has_to_be_said(expected: list[str], output: str, missing: str | None) -> None:
    assert first_missing(expected, output) == missing
