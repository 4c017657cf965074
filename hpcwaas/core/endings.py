"""How executions ended that went on, or that only a user could end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
