"""Alien4Cloud's JSON as the service's own values. Pure functions; nobody else knows its words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from hpcwaas.core.models import JSON, Level, Status, StepStatus, Workflow
from hpcwaas.engines.alien4cloud.client import PUBLISHED
from hpcwaas.engines.alien4cloud.references import WorkflowId
from hpcwaas.engines.orchestrated.references import usable

AUTHORIZED_USERS = "hpcwaas-authorized-users"
AUTHORIZED_GROUPS = "hpcwaas-authorized-groups"
"""Tags of applications that not everybody may use; their values are who may."""

_TAGS = (PUBLISHED, AUTHORIZED_USERS, AUTHORIZED_GROUPS)
_BLANKS = re.compile(r"[\s_.]+")

ENGINE = "alien4cloud"
"""Name of the engine."""

_REFUSED = frozenset({"install", "uninstall"})
"""Workflows that Alien4Cloud never runs on demand: publishing them could only disappoint."""

_DEPLOYED = frozenset({"DEPLOYED", "UPDATED"})

_STATUSES = {
    "SCHEDULED": Status.PENDING,
    "RUNNING": Status.RUNNING,
    "SUCCEEDED": Status.SUCCEEDED,
    "FAILED": Status.FAILED,
    "CANCELLING": Status.CANCELLING,
    "CANCELLED": Status.CANCELLED,
}

_STEP_STATUSES = {
    "STARTED": StepStatus.RUNNING,
    "COMPLETED_SUCCESSFULL": StepStatus.SUCCEEDED,
    "COMPLETED_WITH_ERROR": StepStatus.FAILED,
}

_TASK_STATUSES = {
    "SCHEDULED": StepStatus.PENDING,
    "STARTED": StepStatus.RUNNING,
    "SUCCEEDED": StepStatus.SUCCEEDED,
    "FAILED": StepStatus.FAILED,
    "CANCELLED": StepStatus.CANCELLED,
}

_FRACTION = re.compile(r"\.(\d+)")


def moment(milliseconds: int) -> datetime:
    """A time as Alien4Cloud counts it, in UTC."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def meant_to_publish(application: Mapping[str, Any]) -> bool:
    """Whether an application names workflows to publish: an unknown filter is ignored by Alien4Cloud, so look again."""
    return bool(_names(application, PUBLISHED)) and usable(application["id"])


def publishing(application: Mapping[str, Any]) -> bool:
    """Whether an application publishes anything. Half-understood, it could be open to everybody."""
    return meant_to_publish(application) and misunderstood(application) is None


def misunderstood(application: Mapping[str, Any]) -> str | None:
    """What is wrong with the tags that say who may run an application's workflows, if anything is."""
    names = [item["name"] for item in application.get("tags") or ()]
    for name in names:
        if name in _TAGS and names.count(name) > 1:
            return f"application {application['id']}: the tag {name} is set {names.count(name)} times"
        if name not in _TAGS and (near := _meant(name)) and near != PUBLISHED:
            return f"application {application['id']}: the tag {name!r} has no effect; it may be meant as {near}"
    return None


@lru_cache(1024)  # few names stand on many applications, and comparing takes long
def _meant(name: str) -> str | None:
    near = difflib.get_close_matches(_BLANKS.sub("-", name.strip().casefold()), _TAGS, n=1, cutoff=0.8)
    return near[0] if near else None


def workflows(application: Mapping[str, Any], environments: Sequence[Mapping[str, Any]]) -> Iterator[Workflow]:
    """What an application publishes, in each of its environments that is deployed."""
    names = _names(application, PUBLISHED) or ()
    users, groups = _names(application, AUTHORIZED_USERS), _names(application, AUTHORIZED_GROUPS)
    for environment in environments:
        if not belongs(environment, application["id"]) or not deployed(environment):
            continue
        for name in names:
            if name not in _REFUSED and usable(environment["id"], name):
                yield Workflow(
                    id=str(WorkflowId(application["id"], environment["id"], name)),
                    name=name,
                    engine=ENGINE,
                    application_id=application["id"],
                    environment_id=environment["id"],
                    environment_name=environment["name"],
                    label=application.get("name"),
                    description=application.get("description"),
                    authorized_users=None if users is None else frozenset(users),
                    authorized_groups=None if groups is None else frozenset(groups),
                )


def unpublished(application: Mapping[str, Any], environments: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Why an application that publishes workflows doesn't publish some of them, a sentence each."""
    label = f"application {application['id']}"
    own = [each for each in environments if belongs(each, application["id"])]
    if not any(map(deployed, own)):
        yield f"{label}: nothing of it is deployed; its workflows aren't published until one of its environments is"
    for name in _names(application, PUBLISHED) or ():
        if name in _REFUSED:
            yield f"{label}: the workflow {name!r} isn't published, because Alien4Cloud never runs it on demand"
        elif any(deployed(each) and not usable(each["id"], name) for each in own):
            yield f"{label}: the workflow {name!r} isn't published, because its name can't be a part of an id"


def belongs(environment: Mapping[str, Any], application: str) -> bool:
    """Whether the environment is one of this application."""
    return bool(environment["applicationId"] == application)


def deployed(environment: Mapping[str, Any]) -> bool:
    """Whether something is deployed in the environment that can run."""
    return environment["status"] in _DEPLOYED


def _names(application: Mapping[str, Any], tag: str) -> tuple[str, ...] | None:
    """The names in a tag, without doubles; None without the tag."""
    for item in application.get("tags") or ():
        if item["name"] == tag:
            return tuple(dict.fromkeys(name for part in (item["value"] or "").split(",") if (name := part.strip())))
    return None


@dataclass(frozen=True, slots=True)
class Run:
    """What Alien4Cloud's record of an execution says."""

    id: str
    deployment: str
    workflow: str
    status: Status
    started_at: datetime | None
    ended_at: datetime | None


def run(execution: Mapping[str, Any]) -> Run:
    """An execution."""
    started, ended = execution.get("startDate"), execution.get("endDate")
    return Run(
        id=execution["id"],
        deployment=execution["deploymentId"],
        workflow=execution.get("workflowName") or execution["workflowId"],
        status=_STATUSES.get(execution["status"], Status.UNKNOWN),
        started_at=None if started is None else moment(started),
        ended_at=None if ended is None else moment(ended),
    )


@dataclass(frozen=True, slots=True)
class StepNews:
    """What is known of a step."""

    name: str
    status: StepStatus
    started_at: datetime | None = None
    ended_at: datetime | None = None


def overview_steps(overview: Mapping[str, Any]) -> Iterator[StepNews]:
    """The steps of the last execution of a deployment. When they ended, Alien4Cloud doesn't keep."""
    tasks = overview.get("stepTasks") or {}
    for name, word in (overview.get("stepStatus") or {}).items():
        begins = [task["scheduleDate"] for task in tasks.get(name) or () if task.get("scheduleDate") is not None]
        statuses = {_TASK_STATUSES.get(task["status"]) for task in tasks.get(name) or ()}
        status = _STEP_STATUSES.get(word, StepStatus.PENDING)
        if StepStatus.CANCELLED in statuses and status is not StepStatus.SUCCEEDED:
            status = StepStatus.CANCELLED
        yield StepNews(name, status, moment(min(begins)) if begins else None)


def task_steps(tasks: Sequence[Mapping[str, Any]], operations: Mapping[tuple[str, str], str]) -> Iterator[StepNews]:
    """The steps of an execution that isn't the last one of its deployment.

    Args:
        operations: names of the steps by node and operation, as `topology.operations` gives them.
    """
    latest: dict[tuple[str, Any], Mapping[str, Any]] = {}  # a step that was tried again has a task for each attempt
    for task in sorted(tasks, key=lambda task: task.get("scheduleDate") or 0):
        name = operations.get((task.get("nodeId") or "", (task.get("operationName") or "").lower()))
        if name is not None:
            latest[name, task.get("instanceId")] = task
    for (name, _), task in latest.items():
        begin = task.get("scheduleDate")
        status = _TASK_STATUSES.get(task["status"], StepStatus.PENDING)
        yield StepNews(name, status, None if begin is None else moment(begin))


@dataclass(frozen=True, slots=True)
class Event:
    """News of an execution.

    Attributes:
        status: of the execution, when that is what changed.
        step: of a step, likewise.
    """

    execution: str
    at: datetime
    status: Status | None = None
    step: StepNews | None = None


_EXECUTION_EVENTS = {
    "PaaSWorkflowStartedEvent": Status.RUNNING,
    "PaaSWorkflowSucceededEvent": Status.SUCCEEDED,
    "PaaSWorkflowFailedEvent": Status.FAILED,
    "PaaSWorkflowCancelledEvent": Status.CANCELLED,
    "PaaSWorkflowMonitorEvent": Status.CANCELLING,
}

_STEP_EVENTS = {
    "WorkflowStepStartedEvent": StepStatus.RUNNING,
    "WorkflowStepCompletedEvent": StepStatus.SUCCEEDED,
    "TaskFailedEvent": StepStatus.FAILED,
    "TaskCancelledEvent": StepStatus.CANCELLED,
}


def event(document: Mapping[str, Any]) -> Event | None:
    """News of an execution; None when there is nothing in it that matters here."""
    execution, kind = document.get("executionId"), document.get("eventType")
    if not isinstance(execution, str) or not isinstance(kind, str):
        return None
    date = document.get("date")
    at = datetime.now(UTC) if date is None else moment(date)  # the one about cancelling has none
    if kind in _EXECUTION_EVENTS:
        return Event(execution, at, status=_EXECUTION_EVENTS[kind])
    name = document.get("stepId") or document.get("workflowStepId")
    if kind not in _STEP_EVENTS or not isinstance(name, str):
        return None
    status = _STEP_EVENTS[kind]
    if status is StepStatus.RUNNING:
        return Event(execution, at, step=StepNews(name, status, started_at=at))
    return Event(execution, at, step=StepNews(name, status, ended_at=at))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log.

    Attributes:
        time: in nanoseconds since 1970, by the orchestrator's own stamp.
        search_time: in milliseconds, by Alien4Cloud's reading of it, which searches go by. It drops the stamp's zone.
    """

    id: str
    level: Level
    time: int
    search_time: int
    content: str


def line(log: Mapping[str, Any]) -> Line:
    """A line of a log."""
    stamp = log["timestamp"]
    return Line(
        id=log["id"],
        level=Level.__members__.get(log["level"], Level.INFO),
        time=nanoseconds(log.get("rawtimestamp"), stamp),
        search_time=int(stamp),
        content=log.get("content") or "",
    )


def nanoseconds(stamp: str | None, milliseconds: int) -> int:
    """An RFC 3339 stamp in nanoseconds since 1970. Its trailing zeros may be missing, so it can't be sorted as text.

    Args:
        milliseconds: what counts when there is no such stamp.
    """
    try:
        parsed = datetime.fromisoformat(stamp or "")
    except ValueError:
        return milliseconds * 1_000_000
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    fraction = _FRACTION.search(stamp or "")
    seconds = int(parsed.replace(microsecond=0).timestamp())
    return seconds * 1_000_000_000 + (int(fraction[1][:9].ljust(9, "0")) if fraction else 0)


def attribute_values(instances: Mapping[str, Any], node: str, attribute: str) -> JSON:
    """The value of an attribute; of a node with several instances, a list of theirs. None when nobody set it."""
    found = instances.get(node) or {}
    values = [
        found[name]["attributes"][attribute]
        for name in sorted(found, key=lambda name: (len(name), name))
        if attribute in (found[name].get("attributes") or {})
    ]
    if not values:
        return None
    return values[0] if len(found) == 1 else values
