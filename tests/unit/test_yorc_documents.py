"""What Yorc wrote once, as values."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from hpcwaas.core.models import Level
from hpcwaas.engines.yorc import documents
from hpcwaas.engines.yorc.references import Reference, WorkflowId, parse_reference, parse_workflow
from hpcwaas.errors import NotFound, UpstreamFailed


def test_moments_are_exact_to_a_nanosecond() -> None:
    whole = int(datetime(2026, 11, 23, 9, 4, 14, tzinfo=UTC).timestamp()) * 10**9
    for stamp, rest in (
        ("2026-11-23T09:04:14Z", 0),
        ("2026-11-23T09:04:14.9Z", 900_000_000),
        ("2026-11-23T09:04:14.925467956Z", 925_467_956),
        ("2026-11-23T10:04:14.000000001+01:00", 1),
    ):
        assert documents.nanoseconds(stamp) == whole + rest
    for nonsense in ("", "yesterday", "2026-11-23T09:04:14"):
        with pytest.raises(ValueError, match=r"."):
            documents.nanoseconds(nonsense)


def test_entries_of_a_log() -> None:
    document = {
        "logs": [
            {
                "alienTaskId": "cdadfae7-f10f-4d27-889c-98cbb2b2df42-0",
                "content": 'Node "Greeter", host "Greeter_0", stderr:\noops',
                "deploymentId": "demo-Environment",
                "executionId": "a48d0b00-5c4e-40bf-b719-c5a3efb38533",
                "level": "ERROR",
                "timestamp": "2026-11-23T09:04:19.286284934Z",
                "workflowId": "hello",
            },
            {
                "content": "Status",
                "deploymentId": "demo-Environment",
                "level": "INFO",
                "timestamp": "2026-11-23T09:04:20Z",
            },
        ],
        "last_index": 408,
    }
    (line, bare), index = documents.lines(document)
    assert index == 408
    assert (line.level, line.workflow, line.execution) == (Level.ERROR, "hello", "a48d0b00-5c4e-40bf-b719-c5a3efb38533")
    assert line.moment == datetime(2026, 11, 23, 9, 4, 19, 286284, UTC)
    assert (bare.execution, bare.workflow) == (None, None)


def test_an_odd_entry_keeps_no_other_from_its_readers(caplog: pytest.LogCaptureFixture) -> None:
    good = {"content": "x", "deploymentId": "d", "level": "INFO", "timestamp": "2026-11-23T09:04:20Z"}
    odd: tuple[Any, ...] = ({}, None, good | {"timestamp": "never"}, good | {"content": 7})
    with caplog.at_level(logging.WARNING):
        found, _ = documents.lines({"logs": [*odd, good], "last_index": 1})
    assert [line.content for line in found] == ["x"]
    assert "4 entries of its log" in caplog.text


@pytest.mark.parametrize("index", [None, -1, "7", True, 1.5])
def test_a_log_without_an_index_is_none(index: object) -> None:
    with pytest.raises(UpstreamFailed, match="its log"):
        documents.lines({"logs": [], "last_index": index})


def test_a_deployments_tasks_and_workflows() -> None:
    base = "/deployments/demo"
    links = [
        {"rel": rel, "href": base + href} for rel, href in (("self", ""), ("task", "/tasks/1"), ("node", "/nodes/N"))
    ]
    found = documents.deployment({"id": "demo", "status": "DEPLOYED", "links": links})
    assert found == documents.DeploymentDetails("demo", "DEPLOYED", ("1",))
    names = {"workflows": [{"rel": "workflow", "href": f"{base}/workflows/{name}"} for name in ("a", "b c", "d/e")]}
    assert documents.workflow_names(names, "demo") == ["a", "b c", "d/e"]
    assert documents.workflow_names({"workflows": []}, "demo") == []
    with pytest.raises(UpstreamFailed):
        documents.workflow_names(names, "another")


def test_a_task_without_more() -> None:
    task = documents.task({"id": "1", "target_id": "demo", "type": "CustomWorkflow", "status": "RUNNING"})
    assert (task.error_message, task.outputs) == (None, {})
    assert documents.steps([{"name": "a", "status": "DONE"}]) == {"a": "DONE"}
    assert documents.steps(None) == {}


def test_ids_come_apart_again() -> None:
    assert parse_workflow("demo-Env_1@hello world") == WorkflowId("demo-Env_1", "hello world")
    assert parse_reference("demo@hello@1") == Reference("demo", "hello", "1")
    for wrong in ("", "demo", "demo@", "@hello", "a@b@c", "de mo@hello", "demo@a/b", "demo@..", "demo@a\n"):
        with pytest.raises(NotFound):
            parse_workflow(wrong)
    for wrong in ("demo@hello", "demo@hello@", "a@b@c@d", "../x@a@b\x00"):
        with pytest.raises(NotFound):
            parse_reference(wrong)
