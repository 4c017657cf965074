"""Text from elsewhere made fit for a terminal, and values made fit for people. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from . import literals

# Escape sequences whole, so that no half of one stays; then every other control character, and the marks that turn
# the direction of text and can make one line look like another.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def to_json(value: Any, *, encoding: str = "utf-8", indent: int | None = None) -> str:
    """JSON with letters as they are, or with all but ASCII escaped when the encoding can't hold them."""
    text = literals.dumps(value, indent=indent)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return literals.dumps(value, ascii_only=True, indent=indent)
    return text


def clean(value: object) -> str:
    """`value` as text without anything that a terminal would obey; tabs and newlines stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", str(value)))


def one_line(value: object) -> str:
    """`value` as one clean line for the cell of a table; None is empty."""
    return "" if value is None else " ".join(clean(value).split())


def compact(value: Any) -> str:
    """A JSON value in one line; strings without their quotes."""
    return one_line(value if isinstance(value, str) else literals.dumps(value, separators=(", ", ": ")))


def described(value: Any) -> str:
    """A value in one line, files and directories by their names and sizes."""
    if isinstance(value, list) and value and all(map(is_file, value)):
        return ", ".join(map(described, value))
    if not is_file(value):
        return compact(value)
    length = value.get("size")
    name = one_line(value.get("basename") or value.get("location"))
    return f"{name} ({size(length)})" if isinstance(length, int) else name


def is_file(value: Any) -> bool:
    """Whether a value is a CWL File or Directory object."""
    return isinstance(value, dict) and value.get("class") in ("File", "Directory")


def parse_time(value: object) -> datetime | None:
    """The time in an RFC 3339 string, in UTC; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def show_time(value: object) -> str:
    """`2026-11-23 09:25:41Z`, or the text itself when it is no time."""
    parsed = parse_time(value)
    return f"{parsed:%Y-%m-%d %H:%M:%S}Z" if parsed else one_line(value)


def duration(start: object, end: object = None) -> str:
    """The time between two RFC 3339 strings, until now without an end: `0.7s 42s 3m05s 2h00m`."""
    first, last = parse_time(start), parse_time(end) or datetime.now(UTC)
    if first is None:
        return ""
    seconds = max((last - first).total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, whole = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{whole:02}s" if minutes else f"{whole}s"
    return f"{minutes // 60}h{minutes % 60:02}m"


def job(value: object) -> str:
    """What the scheduler knows of a step, in a few words: `job 48213 PENDING (Priority)`, `job 48213 RUNNING on n042`.

    Empty when it knows nothing.
    """
    if not isinstance(value, dict):
        return ""
    reason, node = one_line(value.get("reason")), one_line(value.get("node"))
    words = ["job", one_line(value.get("id")), one_line(value.get("state"))]
    return " ".join(filter(None, [*words, reason and f"({reason})", node and f"on {node}"]))


def runs(step: Mapping[str, Any]) -> str:
    """How far a step has come that runs once for each of several values: `37 of 500, 2 failed, 8 running`.

    Empty for another one.
    """
    scatter = step.get("scatter")
    if not isinstance(scatter, dict):
        return ""
    total, done = scatter.get("total"), scatter.get("done") or 0
    words = [f"{done} done" if total is None else f"{done} of {total}"]
    words += [f"{scatter[key]} {key}" for key in ("failed", "skipped", "running") if scatter.get(key)]
    return one_line(", ".join(words))


def spent(item: Mapping[str, Any]) -> str:
    """How long an execution, a step, a job or an attempt has taken."""
    return duration(item.get("started_at"), item.get("ended_at"))


def size(number: int) -> str:
    """A number of bytes for people: `812 B`, `1.3 kB`."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def log_line(entry: Mapping[str, Any]) -> str:
    """`LEVEL: [timestamp] content`, with the timestamp as existing scripts know it."""
    time = parse_time(entry.get("timestamp"))
    stamp = f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03} +0000 UTC" if time else entry.get("timestamp")
    return clean(f"{entry.get('level')}: [{stamp}] {entry.get('content')}")
