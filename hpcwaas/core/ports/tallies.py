"""What metrics ask of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from hpcwaas.core.models import Status


class Tally(NamedTuple):
    """Executions of an engine that have a status, and when the oldest of them was asked for."""

    engine: str
    status: Status
    number: int
    oldest: datetime


class Tallies(Protocol):
    """Counts records. Every method may raise `Unavailable`, and takes a time that doesn't depend on how many executions
    have ended."""

    def unfinished(self) -> Sequence[Tally]:
        """The executions that aren't over as far as is stored."""

    def ssh_keys(self) -> Mapping[str, int]:
        """How many SSH keys there are, by type."""
