"""Texts that Yorc wouldn't hand to a workflow as they are.

Yorc reads the text of every input as YAML first (version 1.1, by go-yaml 2). A mapping whose only key is the name of a
TOSCA function is that function, and Yorc evaluates it with its own rights: `get_secret: [PATH]` reads any secret of its
vault. A document that holds nothing makes the step fail. Then Ansible takes `{{ ... }}` in a value for a template, and
runs what stands there on Yorc's machine. Yorc itself takes it for one where a key or a password is expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hpcwaas.core.models import JSON
from hpcwaas.engines.orchestrated.values import inside

FUNCTIONS = frozenset({"get_property", "get_attribute", "get_input", "get_operation_output", "get_secret", "concat"})
"""Functions of TOSCA that Yorc knows."""

_EMPTY = (
    "a text that is {} can't be given: Yorc takes it for nothing, and fails with `Failed to parse TOSCA function`. "
    "Leave the input out, or give another text."
)
_FUNCTION = (
    "Yorc may take this for a TOSCA function (such as get_input or get_secret) and evaluate it, instead of handing it "
    "to the workflow. Write it in other words, or put something in front of it."
)
_TEMPLATE = (
    "a text with `{{`, `{%` or `{#` in it can't be given: Yorc and Ansible would evaluate it as a template instead of "
    "handing it to the workflow. A blank between the two characters is enough."
)
_NUL = "a text with a NUL character in it can't be given: a program takes none."

_HALF = "a text with half a surrogate pair in it can't be given: it is no text, and Yorc would change it."

_HALVES = re.compile(r"[\ud800-\udfff]")
_TEMPLATES = re.compile(r"\{[{%#]")

_BREAK = "\n\r\x85\u2028\u2029"
_COMMENT = rf"#[^{_BREAK}]*+"
_MARK = r"(?:---|\.\.\.)"
_BETWEEN = rf"[\s\ufeff]|{_COMMENT}|{_MARK}|%[^{_BREAK}]*+|&[\w-]*+"
"""What may stand before the content of a document: blanks, comments, marks, directives and anchors."""

_NOTHING = re.compile(
    rf"(?:[\s\ufeff]|{_COMMENT}|{_MARK})*+"
    rf"(?:\Z|(?:~|null|!!null|&[\w-]++)(?:[\s\ufeff]*+(?:\Z|[#,:}}\]])|[{_BREAK}]++{_MARK}))"
)

_NAME = rf"(?:{'|'.join(sorted(FUNCTIONS))})"

_ONE_KEY = re.compile(
    rf"(?:[,{{]|{_BETWEEN})*+"
    rf"(?:!|\?.*?(?:!|{_NAME})|[\"']?\s*+(?:<<|{_NAME}[\"']?\s*+[:,?\[\]{{}}#]))",
    re.DOTALL,
)
"""How a mapping begins whose only key may be a function's name. A tag can hide the name (`!!binary`), `<<` brings the
keys of another mapping, and after `?` a key may be written in many ways."""

_MAPPING = re.compile(r"[:{?]")
"""No mapping is without one of these."""

_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(?:\r\n|[\n\r\x85\u2028\u2029])[ \t]*)"
)
"""How YAML writes a letter in double quotes by its number, and a line that goes on in the next."""


def unfit(value: JSON) -> str | None:
    """Why the value of an input can't be given to Yorc, in a whole sentence; None when it can."""
    for item in inside(value):
        match item:
            case str() if _TEMPLATES.search(item):
                return _TEMPLATE
            case str() if "\x00" in item:
                return _NUL
            case str() if _HALVES.search(item):
                return _HALF
            case Mapping() if len(item) == 1 and next(iter(item)) in FUNCTIONS:
                return _FUNCTION
    return unfit_text(value) if isinstance(value, str) else None


def unfit_text(text: str) -> str | None:
    """Why a text can't be sent as the whole of an input; None when it can."""
    if _NOTHING.match(text):
        return _EMPTY.format(_what(text))
    if _MAPPING.search(text) and any(_ONE_KEY.match(read) for read in {text, _ESCAPE.sub(_written_out, text)}):
        return _FUNCTION
    return None


def _what(text: str) -> str:
    if not text:
        return "empty"
    if not text.strip():
        return "blank"
    return f"`{text}`" if text in ("null", "~") else "nothing but a comment or a mark of YAML"


def _written_out(found: re.Match[str]) -> str:
    digits = found[1] or found[2] or found[3]
    number = int(digits, 16) if digits else 0
    return chr(number) if digits and number <= 0x10FFFF else ""
