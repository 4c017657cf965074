"""Values that a workflow would take, with words where a user's own have to stand. Pure functions."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from . import inputs, literals
from .errors import UsageError
from .schemas import Schema, leaf, options, properties
from .text import one_line

FILE, DIRECTORY = "FILE", "DIRECTORY"
_DEEPEST = 8


def example(own: Schema, root: Schema, depth: int = 0, rule: Schema | None = None) -> Any:
    """A value that a schema takes; local files in it are called `FILE` and `DIRECTORY`.

    Args:
        rule: the schema of the input or member that the value belongs to. Default: `own`.
    """
    rule = own if rule is None else rule
    named = [option for option in options(own, root) if option.get("type") != "null"]
    if not named or depth > _DEEPEST:
        return None
    option = named[0]
    match leaf(option, root):
        case "File":
            return _file(rule)
        case "Directory":
            return {"class": "Directory", "path": DIRECTORY}
        case "Any":
            return "TEXT"
    if option.get("enum"):
        return option["enum"][0]
    match option.get("type"):
        case "boolean":
            return True
        case "integer" | "number":
            return _number(option)
        case "array":
            items = option.get("items")
            one = example(items if isinstance(items, dict) else {}, root, depth + 1, rule)
            return [one] * max(int(option.get("minItems", 1)), 1)
        case "object":
            fields = properties(option)
            return {name: example(fields.get(name, {}), root, depth + 1) for name in option.get("required") or ()}
    text = "KEY_ID" if own.get("x-ssh-key") else "TEXT"
    return (text * int(option.get("minLength", 1)))[: max(int(option.get("minLength", 1)), len(text))]


def needed(schema: Schema) -> list[str]:
    """The names of the inputs that have to be given."""
    return [name for name in properties(schema) if name in (schema.get("required") or ())]


def command_line(workflow_id: str, schema: Schema) -> str:
    """What triggers a workflow with all inputs that it needs, for a shell."""
    words = ["waas", "workflows", "trigger", workflow_id]
    for name in needed(schema):
        argument = _argument(name, properties(schema)[name], schema)
        if argument is None:
            made = shlex.join(["waas", "workflows", "show", workflow_id, "--template"])
            run = shlex.join([*words[:4], "--inputs-file", "inputs.yml", "--follow"])
            return one_line(f"{made} > inputs.yml && {run}")
        words += ["-i", argument]
    return shlex.join([*map(one_line, words), "--follow"])


def _argument(name: str, own: Schema, root: Schema) -> str | None:
    """What is given with `-i` for an input; None when it can't be given so."""
    if not name or "=" in name or name.startswith("-") or name.endswith(":") or one_line(name) != name:
        return None
    value = example(own, root)
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(one, dict) and one.get("class") in ("File", "Directory") and set(one) == {"class", "path"}:
        return f"{name}=@{one['path']}"
    if not isinstance(one, (dict, list)):
        text = one if isinstance(one, str) else literals.dumps(one)
        if one_line(text) == text and _is_read(f"{name}={text}", {name: value}, root):
            return f"{name}={text}"
    text = literals.dumps(value, ascii_only=True)
    return f"{name}:={text}" if one_line(text) == text else None


def _is_read(argument: str, expected: dict[str, Any], root: Schema) -> bool:
    """Whether an argument of `-i` is understood as these inputs."""

    def none(path: Path, kind: str) -> Any:
        raise UsageError(f"{path} is no {kind} here.")

    try:
        found = inputs.values(inputs.split([argument]), root, none)
    except UsageError:
        return False
    return literals.encode(found) == literals.encode(expected)


def _file(rule: Schema) -> dict[str, Any]:
    """A file of a format that is taken: told by its ending, or in words where several are taken."""
    formats, endings = list(rule.get("x-format") or ()), rule.get("x-format-endings") or {}
    if len(formats) < 2 or endings:
        return {"class": "File", "path": f"{FILE}{next(iter(endings), '')}"}
    return {"class": "File", "path": FILE, "format": formats[0]}


def _number(option: Schema) -> int | float:
    whole = option.get("type") == "integer"
    value: int | float = 1 if whole else 0.5
    for bound, least in (
        ("minimum", True),
        ("exclusiveMinimum", True),
        ("maximum", False),
        ("exclusiveMaximum", False),
    ):
        limit = option.get(bound)
        if isinstance(limit, (int, float)) and not isinstance(limit, bool):
            step = (1 if whole else abs(limit) * 1e-6 + 1e-6) if bound.startswith("exclusive") else 0
            value = max(value, limit + step) if least else min(value, limit - step)
    return value
