"""An execution as `waas executions show` shows it to readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from . import printing
from .outputs import COLUMNS, rows_of
from .text import compact, described, runs, show_time, spent


def show(execution: Mapping[str, Any]) -> None:
    """Prints its facts, and what it consists of."""
    closed = execution.get("closed")
    facts = {
        "Execution": execution["id"],
        "Workflow": execution.get("workflow_id"),
        "Version": execution.get("workflow_version"),
        "Status": execution["status"],
        "Reason": execution.get("reason"),
        "Owner": execution.get("owner"),
        "Site": execution.get("site"),
        "Account": execution.get("account"),
        "Directory": execution.get("directory"),
        "Triggered": show_time(execution.get("created_at")),
        "Started": show_time(execution.get("started_at")),
        "Ended": show_time(execution.get("ended_at")),
        "Time": spent(execution),
        "Removed": ", ".join(execution.get("removed") or ()),
        "Deleted": _deletion(execution),
        "Closed": closed and f"{show_time(closed['at'])} by {closed['by']}: {closed['reason']}",
    }
    for name, value in facts.items():
        if value:
            printing.line(f"{name + ':':<11}{compact(value)}")
    attempts = execution.get("attempts") or ()
    steps = execution.get("steps") or ()
    step_columns: dict[str, Callable[[dict[str, Any]], object]]
    step_columns = {"Name": itemgetter("name"), "Status": itemgetter("status"), "Time": spent}
    if any(map(runs, steps)):
        step_columns["Runs"] = runs
    jobs = [(step["name"], step["job"]) for step in steps if step.get("job")]
    sections = (
        (
            "Inputs",
            ("Name", "Value"),
            [(name, described(value)) for name, value in (execution.get("inputs") or {}).items()],
        ),
        ("Steps", (*step_columns,), [tuple(cell(step) for cell in step_columns.values()) for step in steps]),
        (
            "Jobs",
            ("Step", "Job", "State", "Reason", "Node", "Time"),
            [(name, job["id"], job["state"], job.get("reason"), job.get("node"), spent(job)) for name, job in jobs],
        ),
        (
            "Attempts",
            ("Number", "Status", "Started", "Time", "Reason"),
            [
                (
                    attempt["number"],
                    attempt["status"],
                    show_time(attempt.get("started_at")),
                    spent(attempt),
                    attempt.get("reason"),
                )
                for attempt in attempts
                if len(attempts) > 1
            ],
        ),
        ("Outputs", COLUMNS, rows_of(execution.get("outputs") or {})),
    )
    for title, columns, rows in sections:
        if rows:
            printing.section(title, columns, rows)


def _deletion(execution: Mapping[str, Any]) -> str | None:
    """Since when it is being deleted, and what that waits for."""
    since = execution.get("removing_since")
    if not since:
        return None
    return f"since {show_time(since)}. {execution.get('removal_problem') or ''}".rstrip()
