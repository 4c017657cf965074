"""Alien4Cloud's recorded answers as the service's own values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import Level, Status, StepStatus
from hpcwaas.engines.alien4cloud import mapper, stomp
from hpcwaas.engines.alien4cloud.references import Reference, WorkflowId, parse_reference, parse_workflow
from hpcwaas.errors import NotFound

RECORDINGS = Path(__file__).parents[1] / "simulators/recordings/alien4cloud"


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text())["response"]["body"]["data"]


def test_published_workflows() -> None:
    environments = recorded("envs-10-bulk-environments-of-many-apps")
    found = {
        workflow.id: workflow
        for application in recorded("apps-01-search-by-tag")["data"]
        for workflow in mapper.workflows(application, environments[application["id"]])
    }
    assert list(found) == [
        "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@exec_job",
        "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@fail_job",
        "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@slow_job",
        "RecApp2@eaf6541e-fc9a-4de2-8911-9daa95490038@exec_job",
    ]
    first, *_, last = found.values()
    assert (first.authorized_users, last.authorized_users) == (None, frozenset({"alice", "bob"}))
    assert (first.label, first.environment_name) == ("Rec App 1", "Environment")
    (other, *_) = recorded("apps-01-search-by-tag")["data"]
    assert list(mapper.workflows(other, environments["RecApp2"])) == []  # of another application


@pytest.mark.parametrize(
    "names",
    [
        ("hpcwaas-authorized-users", "hpcwaas-authorized-users"),
        ("hpcwaas-authorized-groups", "hpcwaas-authorized-groups"),
        ("hpcwaas-workflows",),
        ("hpcwaas-authorized-user",),
        ("hpcwaas-authorised-users",),
        ("HPCWaaS-Authorized-Users",),
        ("hpcwaas_authorized_users",),
        ("hpcwaas-authorized-users ",),
        ("hpcwaas-authorized-group",),
        ("hpcwass-authorized-users",),
        ("authorized-users",),
    ],
)
def test_tags_that_are_not_understood_as_a_permission_permit_nothing(names: tuple[str, ...]) -> None:
    tags = [{"name": "hpcwaas-workflows", "value": "w"}, *({"name": name, "value": "alice"} for name in names)]
    assert names[0] in (mapper.misunderstood({"id": "App", "tags": tags}) or "")


def test_other_tags_are_nobodys_business() -> None:
    names = ("hpcwaas-workflows", "hpcwaas-authorized-users", "hpcwaas-authorized-groups", "users", "icon", "hpcwaas-x")
    assert mapper.misunderstood({"id": "App", "tags": [{"name": name, "value": "x"} for name in names]}) is None
    assert mapper.misunderstood({"id": "App", "tags": None}) is None


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("exec-02-get-running", Status.RUNNING),
        ("exec-03-get-succeeded", Status.SUCCEEDED),
        ("exec-04-get-failed", Status.FAILED),
        ("exec-05-get-cancelling", Status.CANCELLING),
        ("exec-06-get-cancelled", Status.CANCELLED),
    ],
)
def test_executions(name: str, status: Status) -> None:
    run = mapper.run(recorded(name))
    assert run.status is status
    assert run.started_at is not None
    assert run.started_at.tzinfo is UTC
    assert (run.ended_at is not None) == status.over
    assert mapper.run({**recorded(name), "status": "ODD"}).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("wfexec-01-last-running", StepStatus.RUNNING),
        ("wfexec-02-last-succeeded", StepStatus.SUCCEEDED),
        ("wfexec-03-last-failed", StepStatus.FAILED),
    ],
)
def test_steps(name: str, status: StepStatus) -> None:
    (step,) = mapper.overview_steps(recorded(name))
    assert (step.name, step.status) == ("run", status)
    assert step.started_at is not None
    (task,) = mapper.task_steps(recorded(name)["stepTasks"]["run"], {("Job", "custom.run"): "run"})
    assert task == step
    assert list(mapper.task_steps(recorded(name)["stepTasks"]["run"], {})) == []


def test_no_steps() -> None:
    assert list(mapper.overview_steps(recorded("wfexec-04-unknown-deployment"))) == []


def test_log_lines() -> None:
    lines = [mapper.line(item) for item in recorded("logs-15-sort-rawtimestamp")["data"]]
    assert [line.level for line in lines] == [Level.INFO, Level.INFO, Level.DEBUG, Level.INFO, Level.INFO]
    assert lines == sorted(lines, key=lambda line: line.time)
    assert lines[0].time == 1795425343296724000
    assert lines[0].search_time == 1795425343296


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-23T09:15:43Z", 1795425343_000000000),
        ("2026-11-23T09:15:43.1Z", 1795425343_100000000),
        ("2026-11-23T09:15:43.123456789Z", 1795425343_123456789),
        ("2026-11-23T11:15:43.5+02:00", 1795425343_500000000),
        ("2026-11-23T09:15:43.5", 1795425343_500000000),
        ("nonsense", 7_000000),
        (None, 7_000000),
    ],
)
def test_stamps(stamp: str | None, expected: int) -> None:
    assert mapper.nanoseconds(stamp, 7) == expected


def test_attributes() -> None:
    one = recorded("depl-34-instance-informations-after-workflow")
    assert mapper.attribute_values(one, "Job", "result") == "result-of-exec_job"
    assert mapper.attribute_values(one, "Job", "other") is None
    assert mapper.attribute_values(one, "Other", "result") is None
    two = {"Job": {"10": {"attributes": {"x": 3}}, "2": {"attributes": {"x": 1}}, "3": {"attributes": None}}}
    assert mapper.attribute_values(two, "Job", "x") == [1, 3]


def frames() -> list[str]:
    session = json.loads((RECORDINGS / "ws-02-stomp-more.json").read_text())
    return [frame for part in ("failing", "cancelled") for frame in session[part]["frames"]]


def test_recorded_frames_and_events() -> None:
    found = [stomp.decode(text) for text in frames()]
    assert all(frame is not None for frame in found)
    messages = [frame for frame in found if frame is not None and frame.command == "MESSAGE"]
    assert all(int(frame.headers["content-length"]) == len(frame.body.encode()) for frame in messages)
    events = [event for frame in messages if (event := mapper.event(json.loads(frame.body))) is not None]
    statuses = [event.status for event in events if event.status is not None]
    assert statuses == [Status.RUNNING, Status.FAILED, Status.RUNNING, Status.CANCELLING, Status.CANCELLED]
    steps = [(event.step.name, event.step.status) for event in events if event.step is not None]
    assert steps[:3] == [
        ("run", StepStatus.RUNNING),
        ("run", StepStatus.FAILED),
        ("run", StepStatus.SUCCEEDED),  # "completed"
    ]
    assert mapper.event({"eventType": "PaaSDeploymentLog"}) is None
    assert mapper.event({"eventType": "TaskSentEvent", "executionId": "x", "date": 1}) is None


def test_frames() -> None:
    assert stomp.decode("\n") is None
    frame = stomp.decode("MESSAGE\r\na:b\\cc\\n\\\\n\na:second\n\nbody\n\nmore\0\n")
    assert frame == stomp.Frame("MESSAGE", {"a": "b:c\n\\n"}, "body\n\nmore")
    for wrong in ("MESSAGE", "MESSAGE\nno colon\n\n\0"):
        with pytest.raises(ValueError, match="a STOMP"):
            stomp.decode(wrong)
    assert stomp.Frame("SEND", {"a": "b"}, "x").encode() == "SEND\na:b\n\nx\0"


def test_ids() -> None:
    assert parse_workflow("a@b@c") == WorkflowId("a", "b", "c")
    assert str(Reference("a", "b", "c")) == "a@b@c"
    for wrong in ("", "a", "a@b", "a@@c", "@b@c", "a@b@", "a@b@c@d", "..@b@c", "a@b@\n"):
        with pytest.raises(NotFound):
            parse_workflow(wrong)
        with pytest.raises(NotFound):
            parse_reference(wrong)


def test_moments() -> None:
    assert mapper.moment(1795425343342) == datetime(2026, 11, 23, 9, 15, 43, 342000, UTC)
