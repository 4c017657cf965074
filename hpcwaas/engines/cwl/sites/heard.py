"""What a site tells of executions, taken for what it is: files of an account, in which its user or a job of theirs may
have written anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from hpcwaas.core.models import JSON, ExecutionState
from hpcwaas.core.step_models import Scatter
from hpcwaas.engines.cwl.storage import outputs, stored

_MOST_REASON = 4000
_MOST_VALUES = 400_000
_MOST_RUNS = 10**9
_DEPTH = 200
_YEARS = range(1970, 9000)


def state_of(told: Any, steps: Collection[str]) -> ExecutionState:
    """A state.

    Args:
        steps: names of those that the execution has.

    Raises:
        ValueError: it can't be one.
    """
    state = stored.read_state(told)
    moments = [state.started_at, state.ended_at]
    for step in state.steps:
        moments += [step.started_at, step.ended_at]
    if not all(map(_sound, moments)):
        raise ValueError("a time that there is not")
    if sorted(step.name for step in state.steps) != sorted(steps):
        raise ValueError("other steps")
    if not all(_counts(step.scatter) for step in state.steps if step.scatter):
        raise ValueError("counts that can't be")
    reason = state.reason and state.reason[:_MOST_REASON].encode(errors="replace").decode()
    return replace(state, reason=reason, outputs={}, stale_since=None)


def _counts(told: Scatter) -> bool:
    parts = (told.done, told.failed, told.skipped, told.running)
    whole = _MOST_RUNS if told.total is None else told.total
    fits = told.failed + told.skipped <= told.done and told.done + told.running <= whole
    return fits and min(parts) >= 0 and whole <= _MOST_RUNS


def _sound(moment: datetime | None) -> bool:
    return moment is None or (moment.tzinfo is not None and moment.year in _YEARS)


def jobs_of(told: Any) -> dict[str, str | None]:
    """Ids of jobs, and the names of their steps where they are known.

    Raises:
        ValueError: it can't be that.
    """
    if told is None:
        return {}
    found = {}
    for each in told if isinstance(told, list) else [told]:
        job, step = (each.get("id"), each.get("step")) if isinstance(each, dict) else (None, None)
        if not isinstance(job, str) or not job.isascii() or not job.isdecimal() or not isinstance(step, str | None):
            raise ValueError("something else than jobs")
        found[job] = step
    return found


def outputs_of(told: Any) -> Mapping[str, JSON]:
    """An output object as `storage/outputs.py` takes it.

    Raises:
        ValueError: it can't be one.
    """
    if not isinstance(told, dict):
        raise ValueError("no output object")  # noqa: TRY004  (as all that is wrong)
    waiting: list[tuple[JSON, int]] = [(told, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > _DEPTH or seen > _MOST_VALUES:
            raise ValueError("too much of it")
        if isinstance(value, dict):
            if outputs.is_path(value) and not _is_inside(value):
                raise ValueError("a file that is none of its own")
            waiting += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]
    return told


def _is_inside(file: Mapping[str, JSON]) -> bool:
    location = file[outputs.LOCATION]
    if not all(isinstance(file.get(key, ""), str) for key in ("basename", "checksum", outputs.LOCATION)):
        return False
    return not location.startswith("/") and "\0" not in location and ".." not in PurePosixPath(location).parts
