"""A workflow for people: what it does, and what one must know to run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import printing
from .examples import command_line
from .globs import is_expression
from .schemas import Schema, leaf, options, properties
from .text import compact, described, one_line

_DEEPEST = 8


def show(workflow_id: str, workflow: Mapping[str, Any]) -> None:
    """Prints a workflow as the service describes it."""
    printing.line(f"{workflow.get('id')}: {one_line(workflow.get('label') or workflow.get('name'))}")
    if workflow.get("description"):
        printing.line(f"\n{workflow['description'].strip()}")
    schema: Schema = workflow.get("inputs") or {}
    columns = ("Name", "Type", "Required", "Default", "Description")
    printing.section("Inputs", columns, [row for row, _ in input_rows(schema)])
    printing.section(
        "Outputs",
        ("Name", "Type", "Description"),
        [(each["name"], each["type"], each.get("description") or each.get("label")) for each in workflow["outputs"]],
    )
    printing.section(
        "Steps",
        ("Name", "After", "Description"),
        [
            (step["name"], ", ".join(step["after"]), step.get("label") or step.get("description"))
            for step in workflow["steps"]
        ],
    )
    if workflow.get("commit"):
        printing.line(f"\nVersion: commit {one_line(workflow['commit'])}")
    if workflow.get("sites") is not None:
        printing.line(f"\nRuns on: {', '.join(map(one_line, workflow['sites'])) or 'no site'}")
    if kept := _kept(workflow.get("retention") or {}):
        printing.line(f"\nKept after its end: {kept}")
    printing.line("\nTo run it:")
    printing.line("  " + command_line(workflow_id, schema))


def _kept(retention: Mapping[str, int | None]) -> str:
    """For how long executions are kept; nothing where that is for ever."""
    words = (("executions", "an execution"), ("outputs", "its outputs"), ("logs", "its log"))
    return ", ".join(f"{what} for {retention[name]} days" for name, what in words if retention.get(name))


def input_rows(schema: Schema) -> Iterator[tuple[tuple[str, str, str, str, str], Schema]]:
    """A row for each input, and for each member of a record in one, behind it: its name, type, whether it has to be
    given, default, and what there is to know of it; with its schema."""
    required = schema.get("required") or ()
    for name, own in properties(schema).items():
        yield _row(name, own, schema, needed=name in required), own
        yield from _members(name, own, schema)


def _members(
    way: str, own: Schema, root: Schema, depth: int = 0
) -> Iterator[tuple[tuple[str, str, str, str, str], Schema]]:
    if depth > _DEEPEST:
        return
    for option in options(own, root):
        if leaf(option, root) is not None:
            continue
        if option.get("type") == "array" and isinstance(option.get("items"), dict):
            yield from _members(f"{way}[]", option["items"], root, depth + 1)
        for name, inner in properties(option).items():
            here = f"{way}.{name}"
            yield _row(here, inner, root, needed=name in (option.get("required") or ())), inner
            yield from _members(here, inner, root, depth + 1)


def _row(name: str, own: Schema, root: Schema, *, needed: bool) -> tuple[str, str, str, str, str]:
    default = described(own["default"]) if "default" in own else ""
    return name, kind(own, root), "yes" if needed else "no", default, about(own)


def kind(own: Schema, root: Schema) -> str:
    """The type of an input in the workflow's own words, with the words that it can be."""
    declared = compact(own.get("x-type") or own.get("type") or "any")
    words = [compact(word) for word in _words(own, root)]
    return f"{declared}: {', '.join(words)}" if words else declared


def _words(own: Schema, root: Schema, depth: int = 0) -> list[Any]:
    found: list[Any] = []
    for option in options(own, root):
        found += option.get("enum") or ()
        if option.get("type") == "array" and isinstance(option.get("items"), dict) and depth < _DEEPEST:
            found += _words(option["items"], root, depth + 1)
    return found


def about(own: Schema) -> str:
    """What is said of an input, and what files have to be like."""
    text = one_line(own.get("description") or own.get("title"))
    said = [text, *(("The id of an SSH key: see `waas ssh_keys list`.",) if own.get("x-ssh-key") else ())]
    endings = own.get("x-format-endings") or {}
    formats = [_format(one_line(each), endings) for each in own.get("x-format") or ()]
    if formats:
        said.append(f"Format: {' or '.join(formats)}.")
    if beside := [_companion(one_line(each)) for each in own.get("x-secondaryFiles") or ()]:
        said.append(f"Beside each file: {', '.join(beside)}.")
    if text and text[-1] not in ".!?:" and len(said) > 1:
        said[0] = f"{text}."  # a sentence before others
    return " ".join(filter(None, said))


def _format(iri: str, endings: Mapping[str, Any]) -> str:
    """A format, with the endings of names that tell it where several are taken."""
    own = [one_line(ending) for ending, of in endings.items() if of == iri]
    return f"{iri} ({', '.join(own)})" if own else iri


def _companion(pattern: str) -> str:
    name = pattern.removesuffix("?")
    shown = name if is_expression(name) else "*" + name if not name.startswith("^") else name
    return f"{shown} (if it is there)" if pattern.endswith("?") else shown
