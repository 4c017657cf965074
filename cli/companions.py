"""Files that a workflow is to find beside those that are its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from .errors import UsageError
from .globs import companion_name, is_expression
from .local_paths import is_there
from .mistakes import Mistakes
from .planned import Local, name_of, planned
from .schemas import Schema, changed, properties
from .text import is_file

Need: TypeAlias = tuple[str, bool]
"""The name of a file that belongs beside another, and whether it has to."""
Ask: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Iterable[Need]]]
"""Asks the service what belongs beside the files in some inputs, by the way to each."""
Needs: TypeAlias = Callable[[Schema, str, str], Iterable[Need]]
"""What belongs beside a file: the schema of its input or member, its name, the way to it."""


def added(values: Mapping[str, Any], schema: Schema, ask: Ask, mistakes: Mistakes) -> dict[str, Any]:
    """Inputs whose local files have those beside them that the workflow declares, as far as they are there.

    Args:
        ask: called when only the service can tell what belongs beside a file.
    """
    expressions = False

    def by_patterns(rule: Schema, basename: str, way: str) -> list[Need]:
        nonlocal expressions
        patterns = [each for each in rule.get("x-secondaryFiles") or () if isinstance(each, str)]
        expressions = expressions or any(map(is_expression, patterns))
        return [
            (companion_name(each, basename), not each.endswith("?")) for each in patterns if not is_expression(each)
        ]

    found = _each(values, schema, by_patterns, mistakes)
    if not expressions:
        return found
    try:
        asked = ask(found)  # expressions may ask for what patterns have found
    except UsageError as failure:
        mistakes.told(failure, properties(schema))
        return found
    return _each(found, schema, lambda _, __, way: asked.get(way, ()), mistakes)


def _each(values: Mapping[str, Any], schema: Schema, needs: Needs, mistakes: Mistakes) -> dict[str, Any]:
    def act(value: Any, own: Schema, rule: Schema, way: str) -> Any:
        if not is_file(value) or not isinstance(value.get("location"), Local):
            return value
        local = value["location"].path
        shown = name_of(local)
        # Its own name may hold bytes that can't be sent.
        name = value.get("basename", shown)
        return _with(value, needs(rule, local.name if name == shown and local.name else name, way), way)

    result = dict(values)
    for name, value in values.items():
        with mistakes.of(name):
            result[name] = changed(value, properties(schema).get(name, {}), schema, name, act)
    return result


def _with(value: dict[str, Any], needs: Iterable[Need], way: str) -> dict[str, Any]:
    """A file with what is found beside it.

    Raises:
        UsageError: something is missing that is needed.
    """
    local: Path = value["location"].path
    beside = list(value.get("secondaryFiles") or ())
    known = {each.get("basename") for each in beside if is_file(each)}
    missing = []
    for name, required in needs:
        place = local.parent / name
        if name_of(place) in known:
            continue
        known.add(name_of(place))
        if is_there(place):
            beside.append(planned(place, "Directory" if place.is_dir() else "File"))
        elif (original := _of_original(local, value["basename"], name)) is not None:
            beside.append({**planned(original, "File"), "basename": name})
        elif required:
            missing.append(name)
    if missing:
        raise UsageError(f"The input {way} needs {' and '.join(missing)} beside {local}: not found in {local.parent}.")
    return {**value, "secondaryFiles": beside} if beside else value


def _of_original(local: Path, basename: str, name: str) -> Path | None:
    """The file beside a renamed one that has the name which the other would have without that."""
    if basename == local.name or not name.startswith(basename):
        return None
    place = local.parent / (local.name + name.removeprefix(basename))
    return place if place.is_file() else None
