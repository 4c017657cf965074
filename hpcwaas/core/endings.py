"""How executions end, and what becomes of them afterwards. No I/O, no framework."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag

from hpcwaas.errors import Gone

RESTORED = (
    "The service was restored from a backup that was made before the execution had ended. It isn't started again by "
    "itself, since it may have ended in the meantime: trigger it again if you need it."
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at an execution that failed, before it was resumed."""

    started_at: datetime | None
    ended_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Closing:
    """That somebody declared an execution ended whose engine never said so.

    Attributes:
        by: subject of the user.
        reason: in their words.
    """

    by: str
    at: datetime
    reason: str


class Part(IntFlag):
    """What of an ended execution is removed, or is to be: a set of these."""

    OUTPUTS = 1
    LOG = 2
    ALL = 4


NOTHING = Part(0)


@dataclass(frozen=True, slots=True)
class Removal:
    """How far an engine came with removing a part of an execution.

    Attributes:
        waits_for: why not all of it is gone yet, in sentences; None when nothing is left that can be removed.
        left: what stays elsewhere for good, in sentences; None when nothing does.
        kept: bytes that are still kept of the execution on the disk of the service.
    """

    waits_for: str | None = None
    left: str | None = None
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days after its end parts of an execution are kept; None for as long as nobody removes them."""

    executions: int | None = None
    outputs: int | None = None
    logs: int | None = None

    def stricter(self, other: Retention) -> Retention:
        """The shorter time of two for each part."""
        return Retention(
            _shorter(self.executions, other.executions),
            _shorter(self.outputs, other.outputs),
            _shorter(self.logs, other.logs),
        )


FOR_EVER = Retention()


def check_there(removed: Part, part: Part) -> None:
    """Refuses to look for what isn't there any more.

    Args:
        removed: which parts of the execution are gone.

    Raises:
        Gone: this one is.
    """
    if Part.ALL in removed:
        raise Gone("The execution is being deleted.")
    if part in removed:
        what = "outputs of the execution were" if part is Part.OUTPUTS else "log of the execution was"
        raise Gone(f"The {what} removed: the time for which the service keeps that is over.")


def _shorter(one: int | None, other: int | None) -> int | None:
    return min((days for days in (one, other) if days is not None), default=None)
