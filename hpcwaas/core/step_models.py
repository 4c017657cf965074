"""What is known of the runs of a step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scatter:
    """How far a step has come that runs once for each of several values.

    Attributes:
        total: of its runs; None while that isn't known.
        done: runs that have ended, those of `failed` and `skipped` among them.
        failed: runs that ended in a failure.
        skipped: runs that a condition left out.
        running: runs of which something is being executed.
    """

    total: int | None = None
    done: int = 0
    failed: int = 0
    skipped: int = 0
    running: int = 0
