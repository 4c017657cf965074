"""Imports point one way: api → core → the bases of engines, vault, identity and store; `app` alone wires everything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ADAPTERS = ("hpcwaas.engines", "hpcwaas.vault", "hpcwaas.identity", "hpcwaas.store")
COMMON = {
    "hpcwaas",
    "hpcwaas.addresses",
    "hpcwaas.errors",
    "hpcwaas.calls",
    "hpcwaas.cursors",
    "hpcwaas.chained",
    "hpcwaas.durable",
    "hpcwaas.kernel",
    "hpcwaas.configuration.settings",
    "hpcwaas.repeats",
    "hpcwaas.resources",
    "hpcwaas.written",
    "hpcwaas.core.endings",
    "hpcwaas.core.models",
    "hpcwaas.core.people",
    "hpcwaas.core.policy",
    "hpcwaas.store.base",
}
BASES = {f"{adapter}.base" for adapter in ADAPTERS}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Names and files of a package's modules."""
    for path in sorted(ROOT.joinpath(*package.split(".")).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    """What a module imports of this project, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("hpcwaas"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hpcwaas"):
            for name in node.names:
                below = f"{node.module}.{name.name}"
                file = ROOT.joinpath(*below.split("."))
                yield below if file.with_suffix(".py").exists() or file.is_dir() else node.module


def may_import(module: str, imported: str) -> bool:
    """The rule."""
    if imported in COMMON:
        return True
    if module.startswith("hpcwaas.core"):
        return imported in BASES or imported.startswith("hpcwaas.core")
    if module.startswith("hpcwaas.api"):
        return imported.startswith(("hpcwaas.api", "hpcwaas.core")) or imported == "hpcwaas.identity.base"
    for adapter in ADAPTERS:
        if module.startswith(adapter):
            return imported.startswith(adapter)
    raise AssertionError(f"no rule for {module}")


@pytest.mark.parametrize("package", ["hpcwaas.api", "hpcwaas.core", *ADAPTERS])
def test_imports_point_one_way(package: str) -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, path in modules(package)
        for imported in imports(path)
        if not may_import(module, imported)
    ]
    assert wrong == []


def test_the_command_knows_nothing_of_the_service() -> None:
    assert [path for path in ROOT.joinpath("cli").rglob("*.py") for name in imports(path) if name] == []


def test_no_framework_below_the_edge() -> None:
    below = [path for package in ("hpcwaas.core", *ADAPTERS) for _, path in modules(package)]
    frameworks = ("connexion", "flask", "starlette", "werkzeug")
    wrong = []
    for path in below:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            wrong += [f"{path.name}: {name}" for name in names if name.split(".")[0] in frameworks]
    assert wrong == []


def test_the_modules_of_the_command_import_each_other_in_no_circle() -> None:
    """Imports inside functions count as well. A circle raises `CycleError`, which names its modules."""
    packages = {
        module: module if path.stem == "__init__" else module.rpartition(".")[0] for module, path in modules("cli")
    }
    imported: dict[str, set[str]] = {module: set() for module in packages}
    for module, path in modules("cli"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                source = resolve_name("." * node.level + (node.module or ""), packages[module])
                below = {f"{source}.{name.name}" for name in node.names}
                imported[module] |= below & packages.keys() or {source}
    assert list(TopologicalSorter(imported).static_order())
