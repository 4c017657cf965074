"""The lists of packages agree: the same versions everywhere, each with its digests, each range with an end."""

from __future__ import annotations

import configparser
import re
import tomllib

import pytest

from tests.unit.test_dependencies import ROOT, declared, imported, normal

LISTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "requirements").glob("*.txt"))}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Versions by normalised name."""
    return {normal(name): version for name, version in PIN.findall(text)}


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LISTS)
def test_versions_are_those_that_are_tested(name: str) -> None:
    other = "\n".join(line for line in LISTS[name].splitlines() if "sys_platform == 'win32'" not in line)
    assert pins(other).items() <= CONSTRAINTS.items(), "run `make requirements` and commit what it writes"


def test_all_that_is_declared_is_there() -> None:
    assert declared("cwl", "postgresql", "tracing") <= pins(LISTS["service"]).keys(), "run `make requirements`"


def test_the_command_alone_has_what_it_imports() -> None:
    needed = {{"yaml": "pyyaml"}.get(name, name) for name, _ in imported(ROOT / "cli")} & declared()
    asked = {line for line in (ROOT / "requirements/cli.in").read_text().splitlines() if not line.startswith("#")}
    assert asked == needed
    assert asked <= pins(LISTS["cli"]).keys()


def test_the_command_alone_declares_the_ranges_of_the_service() -> None:
    project = tomllib.loads((ROOT / "cli/pyproject.toml").read_text(encoding="utf-8"))["project"]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    ranges = set(parser["options"]["install_requires"].strip().split("\n"))
    assert set(project["dependencies"]) <= ranges
    asked = {line for line in (ROOT / "requirements/cli.in").read_text().splitlines() if not line.startswith("#")}
    assert {line.split()[0] for line in project["dependencies"]} == asked
    assert project["requires-python"] == parser["options"]["python_requires"]


@pytest.mark.parametrize("name", LISTS)
def test_every_package_has_digests_and_no_list_names_a_server(name: str) -> None:
    packages = re.split(r"^(?=[A-Za-z])", LISTS[name], flags=re.MULTILINE)[1:]
    assert packages
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []
    assert "://" not in LISTS[name]


def test_every_range_has_an_end() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    extras = parser["options.extras_require"]
    lines = "\n".join([parser["options"]["install_requires"], extras["cwl"], extras["postgresql"]]).split("\n")
    assert [line for line in lines if line.strip() and "<" not in line] == []
