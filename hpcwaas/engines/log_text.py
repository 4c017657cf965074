"""The text of log entries: what is left of a line for those who read it."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_LINE = 16 * 1024
"""The longest content of an entry; longer lines are split."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """A line as a terminal would leave it standing: no escape sequences, no control characters, and of a progress bar
    that overwrites itself its last form."""
    if text.isprintable():
        return text
    return _CONTROLS.sub("", _ESCAPES.sub("", text.rstrip("\r")).rpartition("\r")[2])


def pieces(line: str) -> Iterator[str]:
    """A line in parts that aren't too long for an entry; an empty one is one, too."""
    return (line[start : start + MAX_LINE] for start in range(0, len(line) or 1, MAX_LINE))
