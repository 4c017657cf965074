"""What the JSON Schema of a workflow's inputs says of a value. Pure functions.

`own` is always the schema of the value, and `root` the document that `$ref` in it points into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .text import is_file

Schema: TypeAlias = Mapping[str, Any]

_FILES = {"#/$defs/File": "File", "#/$defs/Directory": "Directory"}
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Several:
    """What takes the place of one member of a list."""

    members: list[Any]


Act: TypeAlias = Callable[[Any, Schema, Schema, str], Any]
"""Makes another value of a file or a single value: value, its schema, that of the input or member of a record that it
belongs to, the way to it (`reads[0]`)."""


def properties(own: Schema) -> Mapping[str, Schema]:
    """The schemas of the members of an object by name."""
    return own.get("properties") or {}


def choices(own: Schema, root: Schema, depth: int = 0) -> list[Schema]:
    """The alternatives of a schema, references followed, each with one type."""
    if (target := _target(own, root)) is not None and depth < _DEEPEST:
        return choices(target, root, depth + 1)
    alternatives = own.get("anyOf") or own.get("oneOf")
    if alternatives and depth < _DEEPEST:
        return [choice for alternative in alternatives for choice in choices(alternative, root, depth + 1)]
    declared = own.get("type")
    if isinstance(declared, list):
        return [{**own, "type": one} for one in declared]
    return [own]


def options(own: Schema, root: Schema, depth: int = 0) -> list[Schema]:
    """The alternatives of a schema as people name them: a file is one, however it may be given, and so is any value."""
    if (target := _target(own, root)) is not None and own["$ref"] not in _FILES and depth < _DEEPEST:
        return options(target, root, depth + 1)
    alternatives = own.get("anyOf") or own.get("oneOf")
    if alternatives and depth < _DEEPEST and leaf(own, root) is None:
        return [option for alternative in alternatives for option in options(alternative, root, depth + 1)]
    declared = own.get("type")
    if isinstance(declared, list) and leaf(own, root) is None:
        return [{**own, "type": one} for one in declared]
    return [own]


def leaf(own: Schema, root: Schema) -> str | None:
    """`File`, `Directory` or `Any` where a schema, one without alternatives, is that; else None."""
    if own.get("$ref") in _FILES:
        return _FILES[own["$ref"]]
    if len(named := _named(own, root)) == 1 and "[" not in own["x-type"]:
        return named.copy().pop()
    declared = own.get("type")
    if isinstance(declared, list) and {"array", "object"} <= set(declared) and not properties(own):
        return "Any"
    return "Any" if not set(own) & {"type", "enum", "anyOf", "oneOf", "$ref", "const"} else None


def leaves(own: Schema, root: Schema, depth: int = 0) -> set[str]:
    """`File`, `Directory` and `Any` as far as a schema takes them, in lists too, and `other` when it takes more."""
    found = _named(own, root)
    if found:
        return found
    for option in options(own, root):
        if kind := leaf(option, root):
            found.add(kind)
        elif option.get("type") == "array" and depth < _DEEPEST:
            found |= leaves(_items(option), root, depth + 1)
        elif option.get("type") != "null":
            found.add("other")
    return found


def takes_files(own: Schema, root: Schema) -> bool:
    """Whether a file or a directory may be given, or a list of them."""
    return bool(leaves(own, root) & {"File", "Directory", "Any"})


def takes_only(wanted: set[str], own: Schema, root: Schema) -> bool:
    """Whether nothing is taken but these leaves, one or a list of them."""
    found = leaves(own, root)
    return bool(found) and found <= wanted


def lists(own: Schema, root: Schema) -> list[Schema]:
    """The schemas of the members, for each kind of list that is taken."""
    return [_items(choice) for choice in choices(own, root) if choice.get("type") == "array"]


def fits(value: Any, own: Schema, root: Schema) -> bool:
    """Whether a value has a type that the schema takes."""
    match value:
        case None:
            wanted = {"null"}
        case bool():
            wanted = {"boolean"}
        case int():
            wanted = {"integer", "number"}
        case float():
            wanted = {"number"}
        case str():
            wanted = {"string"}
        case list():
            wanted = {"array"}
        case _:
            wanted = {"object"}
    return bool(kinds(own, root) & (wanted | {"any"}))


def kinds(own: Schema, root: Schema) -> set[str]:
    """The JSON types that a schema takes; `any` when it doesn't say."""
    return {str(choice.get("type", "string" if "enum" in choice else "any")) for choice in choices(own, root)}


def changed(value: Any, own: Schema, root: Schema, way: str, act: Act, rule: Schema | None = None) -> Any:
    """A value with all files and single values in it replaced by what `act` makes of them.

    Args:
        way: to the value.
        rule: the schema of the input or member that the value belongs to. Default: `own`.
    """
    rule = own if rule is None else rule
    if isinstance(value, list):
        items: Schema = {"anyOf": lists(own, root)} if lists(own, root) else {}
        found: list[Any] = []
        for index, item in enumerate(value):
            new = changed(item, items, root, f"{way}[{index}]", act, rule)
            found += new.members if isinstance(new, Several) else [new]
        return found
    if not isinstance(value, dict) or is_file(value):
        return act(value, own, rule, way)
    fields = dict(members(own, root))
    return {
        name: _whole(changed(member, fields.get(name, {}), root, f"{way}.{name}", act))
        for name, member in value.items()
    }


def members(own: Schema, root: Schema) -> Iterator[tuple[str, Schema]]:
    """The members of the records that a schema takes."""
    for option in options(own, root):
        if leaf(option, root) is None:
            yield from properties(option).items()


def _named(own: Schema, root: Schema) -> set[str]:
    """The leaves of a type in words (`File[]?`), where the schema has no better way to tell that files are taken."""
    if "File" in (root.get("$defs") or {}):
        return set()
    words = set(re.findall(r"[A-Za-z_][\w.-]*", str(own.get("x-type", "")))) - {"null"}
    files = words & {"File", "Directory", "Any"} | {"File" for _ in words & {"stdin"}}
    return files | {"other" for _ in words - files - {"stdin"}} if files else set()


def _whole(value: Any) -> Any:
    return value.members if isinstance(value, Several) else value


def _items(array: Schema) -> Schema:
    items = array.get("items")
    return items if isinstance(items, dict) else {}


def _target(own: Schema, root: Schema) -> Schema | None:
    """What a `$ref` leads to."""
    reference = own.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    target: Any = root
    for part in reference[2:].split("/"):
        target = target.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, dict) else {}
    return target if isinstance(target, dict) else {}
