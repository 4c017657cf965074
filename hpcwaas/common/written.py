"""JSON whose numbers remember how they were written.

`1.10` and `1e3` are more than their values to a script that gets them as text, and a float doesn't hold every number of
twenty digits.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Self

_LITERAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class _Written:
    """What a number is that knows how it was written.

    Args:
        text: as it was written.
    """

    text: str

    def __new__(cls, text: str) -> Self:
        """Reads it. Raises `ValueError`."""
        self = super().__new__(cls, text)  # type: ignore[call-arg] # the next class is float or int, which take a text
        self.text = text
        return self

    def __getnewargs__(self) -> tuple[str]:  # what copies it calls `__new__` with
        return (self.text,)

    def __repr__(self) -> str:
        return self.text


class WrittenFloat(_Written, float):  # type: ignore[misc] # float's `__getnewargs__` gives a float, ours the text
    """A number with a fraction or an exponent."""


class WrittenInteger(_Written, int):  # type: ignore[misc] # as above, with int
    """A whole number that Python would write otherwise: `-0`, `007`."""


def integer(text: str) -> int:
    """A whole number, as it was written.

    Raises:
        ValueError: it isn't one, or has more digits than Python reads.
    """
    value = int(text)
    return value if str(value) == text else WrittenInteger(text)


def whole(value: float) -> int | None:
    """The whole number that a number is; None when it is none. `9007199254740993.0` is one, which no float holds."""
    if not math.isfinite(value):
        return None  # `1e999999999` has more digits than there is time for
    if not isinstance(value, WrittenFloat):
        return int(value) if value == int(value) else None
    try:
        exact = Decimal(value.text)
    except InvalidOperation:  # an exponent of twenty digits
        return None
    return int(exact) if exact == exact.to_integral_value() else None


def in_text(value: float) -> str:
    """A number as it was written, or else as JSON has it."""
    return value.text if isinstance(value, _Written) else json.dumps(value)


def loads(text: str | bytes, **options: Any) -> Any:
    """As `json.loads`."""
    return json.loads(text, parse_float=WrittenFloat, parse_int=integer, **options)


def deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie inside each other in more levels than that."""
    layer = [value]
    for _ in range(levels + 1):
        inner: list[Any] = []
        for item in layer:
            if isinstance(item, Mapping):
                inner += item.values()
            elif isinstance(item, (list, tuple)):
                inner += item
        if not inner:
            return False
        layer = inner
    return True


def dumps(value: Any, **options: Any) -> str:
    """As `json.dumps`, with numbers as they were written."""
    if not _has_written(value):
        return json.dumps(value, **options)
    mark = secrets.token_hex(16)  # nobody who sends a text can know it
    return re.sub(f'"{mark}([^"]*)"', r"\1", json.dumps(_marked(value, mark), **options))


def _has_written(value: Any) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Written):
            return True
        if isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item
    return False


def _marked(value: Any, mark: str) -> Any:
    """The value with texts in place of the numbers whose texts JSON can say."""
    if isinstance(value, _Written):
        return f"{mark}{value.text}" if _LITERAL.fullmatch(value.text) else value
    if isinstance(value, Mapping):
        return {name: _marked(member, mark) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(item, mark) for item in value]
    return value
