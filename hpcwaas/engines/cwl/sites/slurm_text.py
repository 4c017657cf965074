"""What Slurm's commands print: fields, times, sizes. What can't be understood is left out, never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

SEPARATOR = "\x1f"
"""Between fields: no name and no comment of a job holds it."""

_NOTHING = frozenset({"", "(null)", "N/A", "None", "None assigned", "Unknown", "n/a", "NONE"})
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_UNREACHABLE = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Unexpected message received|Zero Bytes were transmitted"
    r"|Connection refused|Slurm backup controller in standby|slurmdbd: .*(connect|refused|timed out)",
    re.IGNORECASE,
)

_PREFIX = re.compile(r"^(\w+: )?((\w+ )?error: |allocation failure: |Batch job submission failed: )*")


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended; `status` is None when it took too long."""

    status: int | None
    stdout: str
    stderr: str

    @classmethod
    def of(cls, told: Any) -> Answer:
        """From the agent's answer."""
        status = told.get("status")
        return cls(status if isinstance(status, int) else None, str(told.get("stdout")), str(told.get("stderr")))

    @property
    def unreachable(self) -> bool:
        """Whether Slurm itself gave no answer, so that it may give one later."""
        return self.status is None or bool(_UNREACHABLE.search(self.stderr))

    def words(self) -> str:
        """What it complained of, in a line; how it ended, when it didn't complain."""
        lines = [_PREFIX.sub("", line.strip()) for line in self.stderr.splitlines() if line.strip()]
        if lines:
            return lines[-1][:300].rstrip(".")
        return "it took too long" if self.status is None else f"it ended with status {self.status}"


def rows(text: str, fields: int) -> Iterator[Sequence[str]]:
    """The lines that have as many fields."""
    for line in text.splitlines():
        row = [field.strip() for field in line.split(SEPARATOR)]
        if len(row) == fields:
            yield row


def told(field: str) -> str | None:
    """A field, or None when it says nothing."""
    return None if field in _NOTHING else field


def moment(field: str) -> datetime | None:
    """A time as seconds since 1970. One in words is in a zone that nobody told of."""
    return datetime.fromtimestamp(int(field), UTC) if re.fullmatch(r"[1-9]\d{0,11}", field) else None


def size(field: str) -> int | None:
    """Bytes of a size such as `3224K`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)B?", field)
    return int(float(found[1]) * _UNITS[found[2]]) if found else None


def human(number: int) -> str:
    """A size for people: `9.1 GiB`."""
    unit, name = (2**30, "GiB") if number >= 2**30 else (2**20, "MiB")
    return f"{f'{number / unit:.1f}'.removesuffix('.0')} {name}"


def limit(field: str) -> str | None:
    """A time limit for people: `1:00:00`, `2-00:00:00`. Slurm's commands write the same one differently."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d\d)", field)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return f"{f'{days}-{hours:02}' if days else hours}:{minutes:02}:{seconds:02}"
