"""Imports point one way: from a room to those of lower layers, never across and never up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LAYERS = (
    *({"errors"}, {"common"}, {"core"}, {"api", "engines", "vault", "identity", "store"}, {"configuration"}),
    *({"app"}, {"server"}, {"command"}),
)
"""From the bottom to the top. Adapters and the edge know nothing of each other: `app` alone brings them together."""

CWL_LAYERS = (
    *({"settings"}, {"confinement", "storage", "workflows"}, {"containers"}, {"checks", "inputs"}, {"run"}),
    *({"sites", "watcher"}, {"states"}, {"engine"}),
)
"""The rooms of the engine `cwl`, and its modules that stand beside them."""

LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
BELOW_THE_EDGE = {room for room, level in LEVEL.items() if level <= LEVEL["configuration"]} - {"api"}
FRAMEWORKS = {"connexion", "flask", "starlette", "werkzeug"}


def modules(folder: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(ROOT.joinpath(folder).rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names of what a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_imports_point_one_way() -> None:
    wrong = []
    for path, tree in modules("hpcwaas"):
        room = path.parts[1].removesuffix(".py")
        for name in imports(tree):
            package, _, inside = name.partition(".")
            other = inside.partition(".")[0]
            if (
                package == "hpcwaas"
                and other not in ("", "__init__", "__version__", room)
                and LEVEL[other] >= LEVEL[room]
            ):
                wrong.append(f"{path} imports {name}")
    assert wrong == []


def test_imports_in_the_engine_cwl_point_one_way() -> None:
    level = {room: level for level, rooms in enumerate(CWL_LAYERS) for room in rooms}
    engine = "hpcwaas.engines.cwl."
    rooms = {path: path.parts[3].removesuffix(".py") for path, _ in modules("hpcwaas/engines/cwl")}
    assert set(rooms.values()) == {*level, "__init__"}
    assert [
        f"{path} imports {name}"
        for path, tree in modules("hpcwaas/engines/cwl")
        for name in imports(tree)
        if name.startswith(engine)
        and (other := name.removeprefix(engine).partition(".")[0]) != rooms[path]
        and level[other] >= level[rooms[path]]
    ] == []


def test_engines_know_nothing_of_each_other() -> None:
    shared = {"orchestrated"}
    wrong = []
    for path, tree in modules("hpcwaas/engines"):
        if len(path.parts) > 3:
            engine = path.parts[2]
            rooms = {name.split(".")[2] for name in imports(tree) if name.startswith("hpcwaas.engines.")}
            others = {room for room in rooms if ROOT.joinpath("hpcwaas/engines", room).is_dir()} - {engine} - shared
            wrong += [f"{path} imports of {other}" for other in others]
    assert wrong == []


def test_the_hall_holds_rooms_only() -> None:
    hall = {path.stem for path in ROOT.joinpath("hpcwaas").iterdir() if path.suffix in ("", ".py")}
    assert hall - {"__init__", "__pycache__"} == LEVEL.keys()


def test_the_command_knows_nothing_of_the_service() -> None:
    assert [path for path, tree in modules("cli") for name in imports(tree) if name.startswith("hpcwaas")] == []


def test_no_framework_below_the_edge() -> None:
    assert [
        f"{path} imports {name}"
        for path, tree in modules("hpcwaas")
        if path.parts[1].removesuffix(".py") in BELOW_THE_EDGE
        for name in imports(tree)
        if name.split(".")[0] in FRAMEWORKS
    ] == []


@pytest.mark.parametrize("folder", ["hpcwaas", "cli"])
def test_modules_import_each_other_in_no_circle(folder: str) -> None:
    """Imports inside functions count as well. A circle raises `CycleError`, which names its modules."""
    found = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): (path, tree) for path, tree in modules(folder)
    }
    imported: dict[str, set[str]] = {module: set() for module in found}
    for module, (path, tree) in found.items():
        package = module if path.stem == "__init__" else module.rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                source = resolve_name("." * node.level + (node.module or ""), package)
                below = {f"{source}.{name.name}" for name in node.names}
                imported[module] |= (below & found.keys() or {source} & found.keys()) - {"hpcwaas"}
    assert list(TopologicalSorter(imported).static_order())
