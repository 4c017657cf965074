"""A file of inputs to fill in."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from . import literals
from .examples import example, needed
from .outputs import files_in
from .schemas import Schema, properties
from .text import described, one_line
from .workflow_view import about, input_rows, kind

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WORDS = re.compile(r"(true|false|null|yes|no|on|off|y|n)", re.IGNORECASE)
_WIDTH = 100


def template(workflow_id: str, workflow: Mapping[str, Any]) -> str:
    """An inputs file in YAML with all inputs of a workflow: those that it needs with words to replace, the others
    commented out with their defaults; comments say what each is."""
    schema: Schema = workflow.get("inputs") or {}
    title = one_line(workflow.get("label") or workflow.get("name"))
    run = shlex.join(["waas", "workflows", "trigger", one_line(workflow_id), "--inputs-file"])
    lines = [*_comment(f"Inputs of {one_line(workflow_id)}: {title}"), *_comment(f"{run} THIS_FILE")]
    members: dict[str, list[str]] = {}
    for row, own in input_rows(schema):
        if row[0] not in properties(schema):
            name = next((each for each in properties(schema) if re.match(rf"{re.escape(each)}(\[\])*\.", row[0])), "")
            said = about(own)
            members.setdefault(name, []).append(
                f"{row[0]}: {kind(own, schema)}{', required' if row[2] == 'yes' else ''}{f'. {said}' if said else ''}"
            )
    for name, own in properties(schema).items():
        required = name in needed(schema)
        lines += ["", *(_comment(about(own)) if about(own) else ())]
        default = own.get("default")
        # Files of the workflow's own have a name, but nothing that a user could give.
        its_own = any("location" not in file and "contents" not in file for file in files_in(default))
        left_out = f"may be left out{f': then {described(default)} is used' if its_own else ''}"
        lines += _comment(f"{kind(own, schema)}; {'required' if required else left_out}")
        lines += [line for each in members.get(name, ()) for line in _comment(each)]
        value = default if "default" in own and not its_own else example(own, schema)
        written = [*_entry(_key(name), value, "")]
        lines += written if required else [f"# {line}" for line in written]
    if not properties(schema):
        lines += ["", "# It takes no inputs.", "{}"]
    elif not needed(schema):
        # Comments alone would be no file of inputs.
        lines += ["", "# Nothing has to be given."]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    wrapped = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"# {line}" for line in wrapped]


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and not _WORDS.fullmatch(name) else literals.dumps(name, ascii_only=True)


def _entry(key: str, value: Any, indent: str) -> Iterator[str]:
    """The lines of a member of a mapping."""
    if isinstance(value, dict) and value:
        yield f"{indent}{key}:"
        for name, member in value.items():
            yield from _entry(_key(name), member, indent + "  ")
    elif isinstance(value, list) and value:
        yield f"{indent}{key}:"
        for item in value:
            yield from _item(item, indent + "  ")
    else:
        yield f"{indent}{key}: {_scalar(value)}"


def _item(value: Any, indent: str) -> Iterator[str]:
    """The lines of a member of a list."""
    if isinstance(value, dict) and value:
        lines = [line for name, member in value.items() for line in _entry(_key(name), member, indent + "  ")]
        yield f"{indent}- {lines[0].lstrip()}"
        yield from lines[1:]
    else:
        yield f"{indent}- {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value):
        return value
    return literals.dumps(value, ascii_only=True)
