"""Values of inputs as their types have them.

Texts stand for numbers and the like: some clients can send nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from hpcwaas.common import written
from hpcwaas.core.models import JSON

_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,20})?")

_DEPTH = 100
"""Levels to which a list or an object in a text may be nested."""


def integer(given: JSON) -> int:
    """A whole number. Raises `TypeError` or `ValueError`."""
    if isinstance(given, str):
        if not _INTEGER.fullmatch(given := given.strip()):
            raise ValueError
        return written.integer(given)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError
    if isinstance(given, int):
        return given
    whole = written.whole(given)
    if whole is None:
        raise ValueError
    return whole


def number(given: JSON) -> float | int:
    """A number. Raises `TypeError` or `ValueError`."""
    if isinstance(given, str):
        if not _NUMBER.fullmatch(given := given.strip()):
            raise ValueError
        given = written.integer(given) if _INTEGER.fullmatch(given) else written.WrittenFloat(given)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError
    return given


def boolean(given: JSON) -> bool:
    """True or false. Raises `TypeError`."""
    if isinstance(given, str) and given.strip().lower() in ("true", "false"):
        return given.strip().lower() == "true"
    if not isinstance(given, bool):
        raise TypeError
    return given


def string(given: JSON) -> str:
    """A text. Raises `TypeError` or `ValueError`."""
    if isinstance(given, int) and not isinstance(given, bool):
        return written.in_text(given)  # orchestrators take a whole number for a text
    if not isinstance(given, str):
        raise TypeError
    given.encode()  # half a surrogate pair is no text: UnicodeEncodeError, a ValueError
    return given


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _parsed(kind: type) -> Callable[[JSON], JSON]:
    def read(given: JSON) -> JSON:
        value = written.loads(given, parse_constant=_refuse) if isinstance(given, str) else given
        if not isinstance(value, kind):
            raise TypeError
        if written.deeper(value, _DEPTH):
            raise ValueError
        return value

    return read


READERS: dict[str, Callable[[JSON], JSON]] = {
    "integer": integer,
    "number": number,
    "boolean": boolean,
    "string": string,
    "array": _parsed(list),
    "object": _parsed(dict),
}
"""By the types of JSON Schema. What can't be read raises `ValueError`, `TypeError`, `OverflowError` or
`RecursionError`."""


def inside(value: JSON) -> Iterator[JSON]:
    """The value, all that is in it, and the names of what is in it."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        yield item
        if isinstance(item, Mapping):
            waiting += item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
