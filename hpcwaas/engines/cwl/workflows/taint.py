"""What of a CWL process users can choose: which inputs hold their text, and which expressions depend on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

from hpcwaas.engines.cwl.workflows.declare import as_list, is_expression, short


class Kind(IntEnum):
    """How much a user chooses."""

    NOTHING = 0
    NAME = 1
    """The name of a file, in which there are no slashes."""
    TEXT = 2


@dataclass(frozen=True, slots=True)
class Taint:
    """That something depends on what a user chooses.

    Attributes:
        inputs: names of the inputs of the whole workflow that it depends on.
    """

    kind: Kind = Kind.NOTHING
    inputs: frozenset[str] = frozenset()

    def __or__(self, other: Taint) -> Taint:
        """The taint of what depends on both."""
        return Taint(max(self.kind, other.kind), self.inputs | other.inputs)

    def at_most(self, kind: Kind) -> Taint:
        """The taint of what can hold no more than that."""
        return Taint(min(self.kind, kind), self.inputs) if kind else CLEAN


CLEAN = Taint()

Inputs: TypeAlias = Mapping[str, Taint]
"""Of a process, by their short names."""

_NAMED = re.compile(r"""\binputs\s*(?:\.\s*([A-Za-z_$][\w$]*)|\[\s*(?:'([^']*)'|"([^"]*)")\s*\])""")
_INPUTS = re.compile(r"\binputs\b")
_SELF = re.compile(r"\bself\b")
_CONTENTS = re.compile(r"\bcontents\b")
_OPAQUE = re.compile(r"\b(eval|Function|this|globalThis)\b")
_CALL = re.compile(r"[\w\])]\s*\(")


def holds(kind: Any, types: Mapping[str, Any]) -> Kind:
    """How much of a value of this CWL type its giver chooses.

    Args:
        types: named ones.
    """
    return _holds(kind, types, frozenset())


def _holds(kind: Any, types: Mapping[str, Any], above: frozenset[str]) -> Kind:
    match kind:
        case list():
            return _most(_holds(option, types, above) for option in kind)
        case "string" | "Any":
            return Kind.TEXT
        case "File" | "Directory" | "stdin" | "stdout" | "stderr":
            return Kind.NAME
        case str() if kind in types and kind not in above:
            return _holds(types[kind], types, above | {kind})
        case {"type": "array", "items": items}:
            return _holds(items, types, above)
        case {"type": "record"}:
            return _most(_holds(field["type"], types, above) for field in as_list(kind.get("fields")))
        case {"type": "enum"}:
            return Kind.NOTHING
        case {"type": inner}:
            return _holds(inner, types, above)
    return Kind.NOTHING


def _most(kinds: Iterable[Kind]) -> Kind:
    return max(kinds, default=Kind.NOTHING)


def all_of(taints: Iterable[Taint]) -> Taint:
    """The taint of what depends on all of them."""
    found = CLEAN
    for taint in taints:
        found |= taint
    return found


def expression(text: Any, inputs: Inputs, library: str = "", itself: Taint = CLEAN) -> Taint:
    """What an expression depends on, too much rather than too little.

    Args:
        text: a string that may hold expressions; a list of such; anything else depends on nothing.
        library: JavaScript that its functions come from.
        itself: of what `self` is.
    """
    if isinstance(text, list):
        return all_of(expression(item, inputs, library, itself) for item in text)
    if not isinstance(text, str) or not is_expression(text):
        return CLEAN
    named = [next(filter(None, match.groups()), "") for match in _NAMED.finditer(text)]
    opaque = len(_INPUTS.findall(text)) > len(named) or _OPAQUE.search(text)
    if opaque or (_INPUTS.search(library) and _CALL.search(text)):
        found = all_of(inputs.values())
    else:
        found = all_of(inputs.get(name, CLEAN) for name in named)
    if _SELF.search(text):
        found |= itself
    # The content of a file is text like any other.
    return Taint(Kind.TEXT, found.inputs) if found.kind and _CONTENTS.search(text) else found


def named_types(tool: Any) -> dict[str, Any]:
    """The types of SchemaDefRequirement that a process sees, by their full names."""
    requirement = tool.get_requirement("SchemaDefRequirement")[0] or {}
    return {item["name"]: item for item in requirement.get("types", ())}


def library_of(tool: Any) -> str:
    """The JavaScript that a process's expressions may call."""
    requirement = tool.get_requirement("InlineJavascriptRequirement")[0] or {}
    return "\n".join(str(item) for item in as_list(requirement.get("expressionLib")))


def ports(step: Any, inside: Mapping[str, Taint]) -> dict[str, Taint]:
    """What a step of a workflow hands on, by the short names of its inputs.

    Args:
        inside: what the workflow's inputs and its other steps' outputs depend on, by full names.
    """
    given = {}
    for port in as_list(step.tool.get("in")):
        given[short(port["id"])] = all_of(inside.get(source, CLEAN) for source in as_list(port.get("source")))
    library = library_of(step)
    result = dict(given)
    for port in as_list(step.tool.get("in")):
        name = short(port["id"])
        if "valueFrom" in port:
            result[name] = expression(port["valueFrom"], given, library, given[name])
    return result
