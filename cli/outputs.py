"""Outputs of an execution taken apart into files and other values. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .text import compact, is_file, one_line, size

COLUMNS = ("Name", "Type", "Value", "Size")


def rows_of(outputs: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """A row of `COLUMNS` for every file in the outputs, those of lists and records among them, and for every other
    value. Files have the names that they are offered by as their values."""
    rows = []
    for output, value in outputs.items():
        for name, leaf in _leaves(output, value):
            length = leaf.get("size") if is_file(leaf) else None
            shown = leaf.get("basename") or leaf.get("location") if is_file(leaf) else compact(leaf)
            rows.append((name, _type(leaf), one_line(shown), size(length) if isinstance(length, int) else ""))
    return rows


def files_in(value: Any) -> Iterator[dict[str, Any]]:
    """All File and Directory objects in an output."""
    if isinstance(value, list):
        for item in value:
            yield from files_in(item)
    elif is_file(value):
        yield value
        yield from files_in(value.get("secondaryFiles"))
    elif isinstance(value, dict):
        yield from files_in(list(value.values()))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The value; instead of a list or record that holds files its members, those of a record as `name.member`."""
    if is_file(value):
        for file in files_in(value):
            yield name, file
    elif next(files_in(value), None) is None:
        yield name, value
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(name, item)
    else:
        for key, member in value.items():
            yield from _leaves(f"{name}.{key}", member)


def _type(value: Any) -> str:
    """The type of a value in CWL's words."""
    if is_file(value):
        return str(value["class"])
    if isinstance(value, list) and value:
        kinds = {_type(item) for item in value}
        return f"{kinds.pop()}[]" if len(kinds) == 1 else "array"
    names = {bool: "boolean", int: "int", float: "double", str: "string", list: "array", dict: "record"}
    # A number keeps its digits as a class of its own below float; bool is one below int.
    return next((name for kind, name in names.items() if isinstance(value, kind)), "null")
