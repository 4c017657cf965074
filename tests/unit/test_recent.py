"""What a worker remembers of executions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.core.recent import RecentExecutions

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def execution(status: Status, reference: str | None = "r", name: str = "e") -> Execution:
    return Execution(name, "alice", "w", "w", "cwl", {}, NOW, ExecutionState(status), reference)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.FAILED])
def test_kept(status: Status) -> None:
    recent = RecentExecutions()
    recent.put(execution(status))
    assert recent.get("e") == execution(status)
    recent.forget("e")
    assert recent.get("e") is None


def test_a_failure_is_not_kept_and_neither_is_what_was_before() -> None:
    recent = RecentExecutions()
    recent.put(execution(Status.RUNNING))
    recent.put(execution(Status.FAILED))
    assert recent.get("e") is None


def test_older_news_do_not_replace_an_end() -> None:
    recent = RecentExecutions()
    recent.put(execution(Status.SUCCEEDED))
    for status in (Status.RUNNING, Status.FAILED):
        recent.put(execution(status))
        assert recent.get("e") == execution(Status.SUCCEEDED)


def test_neither_intents_nor_large_ones_are_kept() -> None:
    recent = RecentExecutions()
    recent.put(execution(Status.PENDING, None))
    recent.put(replace(execution(Status.RUNNING), inputs={"text": "x" * 70_000}))
    assert recent.get("e") is None


def test_the_one_used_longest_ago_goes_first() -> None:
    recent = RecentExecutions(2)
    for name in ("a", "b"):
        recent.put(execution(Status.RUNNING, name=name))
    recent.get("a")
    recent.put(execution(Status.RUNNING, name="c"))
    assert [recent.get(name) is not None for name in "abc"] == [True, False, True]
