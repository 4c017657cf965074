"""Brings times of a site, whose clock may be wrong, to those of the service."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hpcwaas.core.models import ExecutionState
from hpcwaas.core.site_models import Job

_EXACT = 5.0
"""Seconds that a site's clock may be off before its times are corrected."""


def off(clock: Any) -> timedelta:
    """What has to be added to a site's times."""
    if not isinstance(clock, int | float):
        return timedelta(0)
    seconds = datetime.now(UTC).timestamp() - clock
    return timedelta(seconds=round(seconds)) if abs(seconds) > _EXACT else timedelta(0)


def _moved(moment: datetime | None, by: timedelta) -> datetime | None:
    return moment + by if moment else None


def shifted(state: ExecutionState, by: timedelta) -> ExecutionState:
    """A state whose times are moved."""
    if not by:
        return state
    steps = tuple(
        replace(step, started_at=_moved(step.started_at, by), ended_at=_moved(step.ended_at, by))
        for step in state.steps
    )
    return replace(state, started_at=_moved(state.started_at, by), ended_at=_moved(state.ended_at, by), steps=steps)


def shifted_job(job: Job, by: timedelta) -> Job:
    """A job whose times are moved."""
    if not by:
        return job
    return replace(
        job,
        submitted_at=_moved(job.submitted_at, by),
        started_at=_moved(job.started_at, by),
        ended_at=_moved(job.ended_at, by),
    )
