"""JSON as users write it: nothing is dropped, and numbers go out with the digits that were typed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import UsageError

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<more>\.[0-9]+)?(?P<power>[eE][-+]?[0-9]+)?")
_LOOSE = re.compile(r"[-+]?(?:[0-9]+(?P<more>\.[0-9]*)?|(?P<bare>\.[0-9]+))(?P<power>[eE][-+]?[0-9]+)?")
_MOST_DIGITS = 4300
"""Python's own bound for integers, here and at the service."""


class Wrong(Exception):
    """What is wrong with a value, as the end of a sentence."""


class Literal(float):
    """A number that isn't an integer, with the text that it goes out with: `1.10` stays `1.10`."""

    def __init__(self, text: str) -> None:
        self.text = text


def number(text: str, *, loose: bool = True) -> int | float | None:
    """The number that a text is; None when it is none.

    Args:
        loose: take `+5`, `007`, `.5` and `5.` as well, which JSON spells in another way.

    Raises:
        Wrong: it is one that is too long or too large to be sent.
    """
    strict = _NUMBER.fullmatch(text)
    match = strict or (_LOOSE.fullmatch(text) if loose else None)
    if match is None:
        return None
    if not (match["more"] or match["power"]) and match.groupdict().get("bare") is None:
        digits = len(text.lstrip("+-"))
        if digits > _MOST_DIGITS:
            raise Wrong(f"a number of {digits} digits is too long: at most {_MOST_DIGITS} can be sent")
        return Literal(text) if text == "-0" else int(text)
    if math.isinf(float(text)):
        raise Wrong(f"{_short(text)} is too large a number: the largest is about 1.8e308")
    return Literal(text) if strict else float(text)


def loads(text: str) -> Any:
    """The value in a JSON text.

    Raises:
        Wrong: it is JSON but for a key that is given twice, or a number that JSON doesn't allow or that is too large.
        ValueError: it isn't JSON.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_int=_number, parse_float=_number, parse_constant=_constant
        )
    except RecursionError:
        raise Wrong("it is nested too deeply") from None


def encode(value: Any) -> bytes:
    """A value as JSON in UTF-8.

    Raises:
        UsageError: it holds what JSON can't say; names the member that does.
    """
    try:
        return dumps(value).encode()
    except UnicodeEncodeError:
        raise UsageError(f"The text of {_culprit(value)} isn't valid Unicode, so it can't be sent.") from None
    except RecursionError:
        raise UsageError(f"The value of {_culprit(value)} is nested too deeply to be sent.") from None


def well_formed(text: str) -> bool:
    """Whether a text can be sent as UTF-8: an argument whose bytes aren't UTF-8 can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dumps(
    value: Any, *, ascii_only: bool = False, indent: int | None = None, separators: tuple[str, str] = (",", ":")
) -> str:
    """A value as a JSON text, numbers with their own digits.

    Args:
        ascii_only: escape all other letters.
        indent: spaces of each level; None for one line.
        separators: what stands between members, and between a key and its value.
    """
    comma, colon = separators if indent is None else (",", ": ")
    return "".join(_parts(value, _Layout(ascii_only, indent, comma, colon), 0))


@dataclass(frozen=True, slots=True)
class _Layout:
    ascii_only: bool
    indent: int | None
    comma: str
    colon: str

    def line(self, depth: int) -> str:
        return "" if self.indent is None else "\n" + " " * (self.indent * depth)


def _parts(value: Any, layout: _Layout, depth: int) -> Iterator[str]:
    match value:
        case Literal():
            yield value.text
        case dict() if value:
            yield "{"
            for index, (key, member) in enumerate(value.items()):
                name = json.dumps(key, ensure_ascii=layout.ascii_only)
                yield f"{layout.comma if index else ''}{layout.line(depth + 1)}{name}{layout.colon}"
                yield from _parts(member, layout, depth + 1)
            yield layout.line(depth) + "}"
        case list() | tuple() if value:
            yield "["
            for index, member in enumerate(value):
                yield f"{layout.comma if index else ''}{layout.line(depth + 1)}"
                yield from _parts(member, layout, depth + 1)
            yield layout.line(depth) + "]"
        case _:
            yield json.dumps(value, ensure_ascii=layout.ascii_only)


def _culprit(value: Any) -> str:
    """The innermost name above what can't be sent."""
    name = "the request"
    while isinstance(value, dict):
        for key, member in value.items():
            try:
                json.dumps({key: member}, ensure_ascii=False).encode()
            except (UnicodeEncodeError, RecursionError):
                name, value = ascii(key)[1:-1], member
                break
        else:
            break
    return name


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Wrong(f"the key {json.dumps(key)} is given twice")
        found[key] = value
    return found


def _number(text: str) -> int | float | None:
    return number(text)


def _constant(text: str) -> Any:
    raise Wrong(f"{text} isn't a number that JSON allows")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:30]}…"
