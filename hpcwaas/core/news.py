"""What an engine says of an execution, beside what was known of it before."""

from __future__ import annotations

from dataclasses import replace

from hpcwaas.core.models import ExecutionState, Step
from hpcwaas.errors import Unavailable, UpstreamFailed, UpstreamTimeout

SILENT = (Unavailable, UpstreamFailed, UpstreamTimeout)
"""What an engine raises that can't say anything just now."""


def with_times(news: ExecutionState, before: ExecutionState) -> ExecutionState:
    """News, with the times that were known before and that this process has missed.

    Only who was there when something began may know when that was. Without this, each process would store its own view
    of it over the other's, again and again, and times would come and go before the user's eyes.
    """
    if news.status is not before.status:
        return news
    known = {step.name: step for step in before.steps}
    steps = tuple(_with_times(step, known.get(step.name)) for step in news.steps)
    return replace(news, started_at=news.started_at or before.started_at, steps=steps)


def _with_times(step: Step, before: Step | None) -> Step:
    if before is None or before.status is not step.status:
        return step
    return replace(step, started_at=step.started_at or before.started_at, ended_at=step.ended_at or before.ended_at)
