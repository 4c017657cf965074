"""What is imported is declared: another package's dependency may go away with that package."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"hpcwaas", "waas_cli", "cli", "tests", "benchmarks", "examples"}
ELSEWHERE = {"compose_spec", "helm_python", "kubernetes_validate", "playwright", "toscaparser"}
"""Installed by `make test-system` in virtual environments of their own."""

BUILDING = ROOT / "cli" / "packaging"
"""Run by pip alone, with what `cli/pyproject.toml` asks for."""

TYPES = {"_typeshed"}
"""Known to type checkers alone."""


def imported(folder: Path) -> Iterator[tuple[str, Path]]:
    """Top-level names of the packages that modules import, wherever in them."""
    for path in sorted(path for path in folder.rglob("*.py") if BUILDING not in path.parents):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((name.name.split(".")[0], path) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0], path


def declared(*extras: str) -> set[str]:
    """Normalised names of the distributions that `setup.cfg` asks for."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    lists = [parser["options"]["install_requires"], *(parser["options.extras_require"][extra] for extra in extras)]
    names = (re.match(r"[A-Za-z0-9._-]+", line.strip()) for text in lists for line in text.splitlines())
    return {normal(name[0]) for name in names if name}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("hpcwaas", ("cwl", "postgresql", "tracing")),
        ("cli", ("async",)),
        ("tests", ("cwl", "postgresql", "tracing", "dev")),
        ("benchmarks", ("cwl", "dev", "postgresql")),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    known = declared(*extras)
    providers = packages_distributions()
    undeclared = {
        f"{name} ({path.relative_to(ROOT)})"
        for name, path in imported(ROOT / folder)
        if name not in sys.stdlib_module_names | OURS | ELSEWHERE | TYPES
        and not known & {normal(distribution) for distribution in providers.get(name, [name])}
    }
    assert undeclared == set()
