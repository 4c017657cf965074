"""Where the inputs of an execution name SSH keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

JSON: TypeAlias = Any

KEY_INPUT = "vault_id"
"""Input, or member of one, that names a key by its name alone; any other does by `x-ssh-key: true` in its schema."""

_DEEPEST = 64
"""Levels that are looked into. No engine takes what is nested deeper."""


def named_keys(schema: Mapping[str, JSON], inputs: Mapping[str, JSON]) -> Iterator[tuple[str, str]]:
    """Every text at a place that is for the id of a key, with the name of its input and the way into it.

    What stands in a marked input is an id wherever it stands in it. A text that is JSON is looked into as well: some
    clients send lists and records so, and engines and workflows read them.

    Args:
        schema: of the `inputs` object.
    """
    for name, value in inputs.items():
        yield from _below((schema,), name, value, name, _DEEPEST)


def _below(
    around: tuple[Mapping[str, JSON], ...], name: str, value: JSON, way: str, depth: int
) -> Iterator[tuple[str, str]]:
    """What a member names.

    Args:
        around: schemas of what it is a member of.
    """
    schemas = tuple(
        inner
        for outer in around
        for inner in (outer.get("properties", {}).get(name), outer.get("additionalProperties"))
        if isinstance(inner, Mapping)
    )
    yield from _in(_with_alternatives(schemas), value, way, depth, marked=name == KEY_INPUT)


def _in(
    schemas: tuple[Mapping[str, JSON], ...], value: JSON, way: str, depth: int, *, marked: bool
) -> Iterator[tuple[str, str]]:
    marked = marked or any(schema.get("x-ssh-key") is True for schema in schemas)
    if depth == 0:
        return
    match value:
        case _Pairs() | dict():
            for name, inner in value.pairs if isinstance(value, _Pairs) else value.items():
                if marked:
                    yield from _in((), inner, f"{way}.{name}", depth - 1, marked=True)
                else:
                    yield from _below(schemas, name, inner, f"{way}.{name}", depth - 1)
        case list():
            items = _with_alternatives(tuple(schema["items"] for schema in schemas if "items" in schema))
            for index, inner in enumerate(value):
                yield from _in(items, inner, f"{way}[{index}]", depth - 1, marked=marked)
        case str():
            parsed = _parsed(value)
            if parsed is not None:
                yield from _in(schemas, parsed, way, depth - 1, marked=marked)
            elif marked and value:
                yield way, value
        case int() | float() if marked and not isinstance(value, bool):
            yield way, str(value)  # some engines take a number for a text


def _with_alternatives(schemas: tuple[Mapping[str, JSON], ...]) -> tuple[Mapping[str, JSON], ...]:
    found = list(schemas)
    for schema in found:
        found += schema.get("anyOf", ())  # what is added here is gone through as well
    return tuple(found)


class _Pairs:
    """A JSON object with all its members: who reads the text later may take another one of two with the same name."""

    def __init__(self, pairs: list[tuple[str, JSON]]) -> None:
        self.pairs = pairs


def _parsed(text: str) -> JSON | None:
    """The list or object that a text holds, if it holds one."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        value = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, _Pairs | list) else None
