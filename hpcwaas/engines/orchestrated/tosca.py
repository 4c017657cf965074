"""What TOSCA says of inputs and steps, in the service's words. Pure functions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from hpcwaas.common import written
from hpcwaas.core.models import JSON, StepDeclaration

Schema = dict[str, Any]

S = TypeVar("S", bound=StepDeclaration)

_TYPES: Mapping[str, Schema] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "float": {"type": "number"},
    "boolean": {"type": "boolean"},
    "timestamp": {"type": "string", "format": "date-time"},
    "list": {"type": "array"},
    "map": {"type": "object"},
    "version": {"type": "string"},
}
"""Sizes and the like are strings with a unit; a type of somebody's own can be anything."""


def typed(kind: str, inner: Schema | None) -> Schema:
    """The schema of a type.

    Args:
        inner: of what a list or a map holds, where it is said.
    """
    schema = dict(_TYPES.get(kind, {"type": "string"} if kind.startswith("scalar-unit.") else {}))
    if inner and schema.get("type") in ("array", "object"):
        schema["items" if schema["type"] == "array" else "additionalProperties"] = inner
    return schema


def inputs_schema(properties: Mapping[str, Schema], required: Iterable[str]) -> Schema:
    """The schema of the `inputs` object."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def number(value: JSON) -> int | float | None:
    """A number that is written as a text; None when it isn't one."""
    try:
        return written.integer(value)
    except ValueError:
        pass
    try:
        found = written.WrittenFloat(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


_READERS: Mapping[str, Callable[[JSON], JSON]] = {
    "integer": written.integer,
    "float": number,
    "boolean": lambda value: str(value).lower() == "true",
}


def value(kind: str, text: JSON) -> JSON:
    """A value as its type has it. Orchestrators write scalars as strings.

    Raises:
        ValueError: it isn't one of this type.
    """
    if isinstance(text, str) and kind in _READERS:
        return _READERS[kind](text)
    return text


def in_order(steps: Sequence[S]) -> tuple[S, ...]:
    """Steps, each after those it follows."""
    ordered: dict[str, S] = {}
    while len(ordered) < len(steps):
        left = [step for step in steps if step.name not in ordered]
        # A cycle can't be ordered: take the rest as it comes.
        ready = [step for step in left if all(other in ordered for other in step.after)] or left
        ordered.update((step.name, step) for step in ready)
    return tuple(ordered.values())


def digest(content: JSON) -> str:
    """The version of a workflow of this content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
