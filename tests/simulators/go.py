"""How programs in Go write values."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

LONG = 2048
"""Bytes: an answer that is longer is sent in chunks."""


def text(value: Any) -> str:
    """A value that was read from JSON, as `%v` prints it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return _number(float(value))
        case list():
            return f"[{' '.join(map(text, value))}]"
        case dict():
            return f"map[{' '.join(f'{key}:{text(one)}' for key, one in sorted(value.items()))}]"
    raise TypeError(value)


def _number(value: float) -> str:
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if digits == (0,):
        return "-0" if sign else "0"
    assert isinstance(exponent, int)
    power = len(digits) + exponent - 1
    if -4 <= power < 6:
        return f"{Decimal(repr(value)).normalize():f}"
    mantissa = "".join(map(str, digits))
    point = f"{mantissa[0]}.{mantissa[1:]}".rstrip(".")
    return f"{'-' if sign else ''}{point}e{'-' if power < 0 else '+'}{abs(power):02}"


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def document(value: Any) -> bytes:
    """JSON as an encoder of Go writes it, with a line feed at its end."""
    written = _encode(value)
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return f"{written}\n".encode()


def duration(written: str) -> float:
    """Seconds of a duration with its units.

    Raises:
        ValueError: it is none; the text is Go's.
    """
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    rest, seconds = written.lstrip("+-"), 0.0
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError(f"time: invalid duration {json.dumps(written)}")
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        if number.strip(".") == "":
            raise ValueError(f"time: invalid duration {json.dumps(written)}")
        unit = rest[: len(rest) - len(rest.lstrip("abcdefghijklmnopqrstuvwxyzµ"))]
        rest = rest[len(unit) :]
        if not unit:
            raise ValueError(f"time: missing unit in duration {json.dumps(written)}")
        if unit not in units:
            raise ValueError(f"time: unknown unit {json.dumps(unit)} in duration {json.dumps(written)}")
        seconds += float(number) * units[unit]
    return -seconds if written.startswith("-") else seconds
