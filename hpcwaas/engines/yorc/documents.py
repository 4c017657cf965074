"""What Yorc writes, as plain values."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hpcwaas.core.models import JSON, Level
from hpcwaas.engines.yorc.faults import reading

_LOGGER = logging.getLogger(__name__)

_FRACTION = re.compile(r"\.(\d+)")
_LEVELS = {"DEBUG": Level.DEBUG, "INFO": Level.INFO, "WARN": Level.WARN, "ERROR": Level.ERROR}


@dataclass(frozen=True, slots=True)
class Deployment:
    """An application that was deployed.

    Attributes:
        status: as Yorc says it: `DEPLOYED`, `UPDATED`, …
    """

    id: str
    status: str


@dataclass(frozen=True, slots=True)
class DeploymentDetails:
    """A deployment with the ids of its tasks, in no order of time."""

    id: str
    status: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """Something that Yorc does for a deployment, such as running a workflow.

    Attributes:
        type: `CustomWorkflow` for workflows.
        status: `INITIAL`, `RUNNING`, `DONE`, `FAILED` or `CANCELED`.
        error_message: why it failed.
        outputs: of its workflow; older runs' unless it is `DONE`.
    """

    id: str
    deployment: str
    type: str
    status: str
    error_message: str | None
    outputs: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of a log; its content may have several lines.

    Attributes:
        stamp: when, as Yorc writes it.
        at: the same, in nanoseconds since 1970.
        execution: the task, if it belongs to one.
    """

    stamp: str
    at: int
    level: Level
    content: str
    deployment: str
    execution: str | None
    workflow: str | None

    @property
    def moment(self) -> datetime:
        """When, to a microsecond."""
        return _moment(self.at)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        kind: `Deployment`, `Instance`, `AttributeValue`, `Workflow`, `WorkflowStep`, `AlienTask`, …
        status: in lower case.
        stamp: when, as Yorc writes it.
        at: the same, in nanoseconds since 1970.
        execution: the task, if it belongs to one.
    """

    kind: str
    status: str
    stamp: str
    at: int
    deployment: str
    execution: str | None
    workflow: str | None
    step: str | None

    @property
    def moment(self) -> datetime:
        """When, to a microsecond."""
        return _moment(self.at)


def nanoseconds(stamp: str) -> int:
    """A moment as Yorc writes it, in nanoseconds since 1970. Raises `ValueError`."""
    fraction = _FRACTION.search(stamp)
    whole = datetime.fromisoformat(_FRACTION.sub("", stamp, count=1))
    if whole.tzinfo is None:
        raise ValueError("a moment without its zone")
    return int(whole.timestamp()) * 10**9 + (int(f"{fraction[1]:0<9}"[:9]) if fraction else 0)


def deployments(document: JSON) -> list[Deployment]:
    """The list of deployments; None, the body of an empty answer, is an empty list."""
    with reading("its deployments"):
        return [Deployment(_text(one["id"]), _text(one["status"])) for one in _list(document, "deployments")]


def deployment(document: JSON) -> DeploymentDetails:
    """A deployment."""
    with reading("a deployment"):
        links = _list(document, "links")
        tasks = tuple(last_segment(link["href"]) for link in links if link["rel"] == "task")
        return DeploymentDetails(_text(document["id"]), _text(document["status"]), tasks)


def workflow_names(document: JSON, deployment_id: str) -> list[str]:
    """The names of a deployment's workflows, as they stand."""
    with reading("a deployment's workflows"):
        prefix = f"/deployments/{deployment_id}/workflows/"
        links = [_text(link["href"]) for link in _list(document, "workflows")]
        if not all(link.startswith(prefix) for link in links):
            raise ValueError(links)
        return [link.removeprefix(prefix) for link in links]


def workflow(document: JSON) -> Mapping[str, Any]:
    """A workflow's definition."""
    with reading("a workflow"):
        if not isinstance(document, dict) or not isinstance(document["name"], str):
            raise TypeError
        return document


def task(document: JSON) -> Task:
    """A task."""
    with reading("a task"):
        return Task(
            id=_text(document["id"]),
            deployment=_text(document["target_id"]),
            type=_text(document["type"]),
            status=_text(document["status"]),
            error_message=_optional(document, "error_message"),
            outputs=dict(document.get("outputs") or {}),
        )


def steps(document: JSON) -> dict[str, str]:
    """The statuses of a task's steps, by their names; the order is a matter of chance."""
    with reading("a task's steps"):
        return {_text(one["name"]): _text(one["status"]) for one in _list(document)}


def lines(document: JSON) -> tuple[list[Line], int]:
    """Entries of a log, and the index to go on from."""
    with reading("its log"):
        return _readable(_list(document, "logs"), _line, "its log"), _index(document)


def events(document: JSON) -> tuple[list[Event], int]:
    """Events, and the index to go on from."""
    with reading("its events"):
        return _readable(_list(document, "events"), _event, "its events"), _index(document)


def last_segment(path: str) -> str:
    """The end of a path, which is an id. Raises `ValueError`."""
    if not (name := path.rpartition("/")[2]):
        raise ValueError(path)
    return name


def _line(entry: Mapping[str, JSON]) -> Line:
    stamp = _text(entry["timestamp"])
    return Line(
        stamp=stamp,
        at=nanoseconds(stamp),
        level=_LEVELS.get(str(entry.get("level")).upper(), Level.INFO),
        content=_text(entry["content"]),
        deployment=_text(entry["deploymentId"]),
        execution=_optional(entry, "executionId"),
        workflow=_optional(entry, "workflowId"),
    )


def _event(entry: Mapping[str, JSON]) -> Event:
    stamp = _text(entry["timestamp"])
    return Event(
        kind=_text(entry["type"]),
        status=str(entry.get("status") or "").lower(),
        stamp=stamp,
        at=nanoseconds(stamp),
        deployment=_text(entry["deploymentId"]),
        execution=_optional(entry, "alienExecutionId"),
        workflow=_optional(entry, "workflowId"),
        step=_optional(entry, "stepId"),
    )


def _readable(entries: Sequence[JSON], read: Any, what: str) -> list[Any]:
    """What can be read of these. One odd entry mustn't keep all others from their readers for ever."""
    found, odd = [], 0
    for entry in entries:
        try:
            found.append(read(entry))
        except (KeyError, TypeError, ValueError, AttributeError):
            odd += 1
    if odd:
        _LOGGER.warning("Yorc gave %s entries of %s that can't be understood; they are left out", odd, what)
    return found


def _index(document: JSON) -> int:
    index = document["last_index"]
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise TypeError(index)
    return index


def _list(document: JSON, name: str | None = None) -> list[JSON]:
    """A list, or the one of this name in an object. Go writes one without entries as null too, or leaves it out."""
    if document is None:
        return []
    found = document if name is None else document.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise TypeError(name)
    return found


def _text(value: JSON) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _optional(document: Mapping[str, JSON], name: str) -> str | None:
    value = document.get(name)
    return _text(value) if value else None


def _moment(nanoseconds_: int) -> datetime:
    seconds, rest = divmod(nanoseconds_, 10**9)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
