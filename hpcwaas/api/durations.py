"""Go's notation for durations, in which existing clients write `timeout`."""

from __future__ import annotations

import re

from hpcwaas.errors import BadRequest

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<unit>ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(
    rf"(?P<sign>[+-]?)(?:0|(?P<parts>(?:{_PART.pattern.replace('?P<number>', '?:').replace('?P<unit>', '?:')})+))"
)


def seconds(text: str) -> float:
    """A duration such as `300ms`, `1.5s`, `1m30s`, `-1s` or `0` in seconds.

    Source: https://pkg.go.dev/time#ParseDuration

    Raises:
        BadRequest: it isn't one.
    """
    match = _WHOLE.fullmatch(text)
    if not match:
        raise BadRequest(
            f"`timeout` is {text!r}; expected a number with a unit (ns us µs ms s m h), "
            "for instance 300ms, 1.5s or 1m30s."
        )
    total = sum(float(part["number"]) * _SECONDS[part["unit"]] for part in _PART.finditer(match["parts"] or ""))
    return -total if match["sign"] == "-" else total
