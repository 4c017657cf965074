"""Numbers that are sent as they were written: `1.10` may be the name of a version, and 1.1 isn't it."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any, Self

_LITERAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Number(float):
    """A number with a fraction or an exponent, and its text."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Reads it. Raises `ValueError`."""
        self = super().__new__(cls, text)
        self.text = text.removeprefix("+")
        return self


def integer(text: str) -> float:
    """A whole number; `-0` isn't 0 to who reads it as text. Raises `ValueError`."""
    return int(text) or (Number(text) if text.startswith("-") else 0)


def loads(text: str) -> Any:
    """As `json.loads`."""
    return json.loads(text, parse_float=Number, parse_int=integer)


def encode(value: Any) -> bytes:
    """JSON of a value. A number whose text JSON doesn't know, `.5`, is written as JSON does."""
    mark = secrets.token_hex(16)

    def marked(item: Any) -> Any:
        if isinstance(item, Number) and _LITERAL.fullmatch(item.text):
            return mark + item.text
        if isinstance(item, dict):
            return {key: marked(member) for key, member in item.items()}
        return [marked(member) for member in item] if isinstance(item, list) else item

    return re.sub(f'"{mark}([^"]*)"', r"\1", json.dumps(marked(value))).encode()
