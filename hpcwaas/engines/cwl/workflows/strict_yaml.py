"""YAML files of the catalogue, read completely or not at all: half-understood, they could open what they restrict."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

SIZE_LIMIT = 1 << 20
"""Bytes of the largest file that is read."""

_MERGE = "tag:yaml.org,2002:merge"


class Unreadable(Exception):
    """Why a file isn't understood; begins with it, and its line where there is one."""


def read(directory: Path, name: str) -> yaml.Node | None:
    """Reads a file.

    Args:
        directory: what `name` is relative to.

    Returns:
        what it holds; None if that is nothing.

    Raises:
        Unreadable: it can't be read, isn't YAML, gives a key twice or merges maps.
    """
    path = directory / name
    try:
        if path.exists() and not path.is_file():
            raise Unreadable(f"{name}: this is not a file")
        with path.open("rb") as stream:
            content = stream.read(SIZE_LIMIT + 1)
        if len(content) > SIZE_LIMIT:
            raise Unreadable(f"{name}: it is over {SIZE_LIMIT >> 20} MiB")
        root = yaml.compose(content.decode(), Loader=yaml.SafeLoader)
        _refuse_doubles(name, root, set())
    except yaml.MarkedYAMLError as error:
        raise _unreadable(name, error) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise Unreadable(f"{name}: can't be read ({type(error).__name__})") from error
    return root


def value_of(name: str, node: yaml.Node) -> Any:
    """What a node says, as Python's own values.

    Args:
        name: of its file.

    Raises:
        Unreadable: it can't be made.
    """
    try:
        return yaml.SafeLoader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _unreadable(name, error) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise Unreadable(f"{name}:{line_of(node)}: can't be read ({type(error).__name__})") from error


def items_of(name: str, node: yaml.MappingNode) -> Iterator[tuple[Any, yaml.Node, str]]:
    """The keys of a map with their values, and where each stands: `name:line`.

    Raises:
        Unreadable: a key isn't one.
    """
    for key, value in node.value:
        given = value_of(name, key)
        if isinstance(given, list | dict | set):
            raise Unreadable(f"{name}:{line_of(key)}: found unhashable key")
        yield given, value, f"{name}:{line_of(key)}"


def line_of(node: yaml.Node) -> int:
    """The line that a node begins in, counted from 1."""
    return int(node.start_mark.line) + 1


def unknown(place: str, key: Any, known: tuple[str, ...]) -> Unreadable:
    """The error about a key that isn't one of those that are known."""
    near = get_close_matches(str(key).casefold(), known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return Unreadable(f"{place}: unknown key {key!r}, expected any of {', '.join(known)}{meant}")


def _unreadable(name: str, error: yaml.MarkedYAMLError) -> Unreadable:
    line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
    return Unreadable(f"{name}{line}: {error.problem}")


def _refuse_doubles(name: str, node: yaml.Node | None, seen: set[int]) -> None:
    """Refuses keys that are given twice, of which YAML's readers take one silently, and merged maps."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:  # an alias leads to what was there already
        return
    seen.add(id(node))
    if not isinstance(node, yaml.MappingNode):
        for item in node.value:
            _refuse_doubles(name, item, seen)
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        _refuse_doubles(name, value, seen)
        here = line_of(key)
        if key.tag == _MERGE:
            raise Unreadable(
                f"{name}:{here}: `<<` merges keys from elsewhere, which is not supported: write the keys out"
            )
        if not isinstance(key, yaml.ScalarNode):
            continue
        if first := lines.get(key.value):
            raise Unreadable(f"{name}:{here}: the key {key.value} is given twice (first in line {first})")
        lines[key.value] = here
