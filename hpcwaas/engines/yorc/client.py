"""The calls of Yorc's REST interface that the engine makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from hpcwaas.common.http import NoAnswer
from hpcwaas.core.models import JSON
from hpcwaas.engines.yorc import documents
from hpcwaas.engines.yorc.documents import Deployment, DeploymentDetails, Event, Line, Task
from hpcwaas.engines.yorc.faults import NO_STORE, Refusal, reading
from hpcwaas.engines.yorc.references import WorkflowId
from hpcwaas.engines.yorc.transport import Answer, Transport
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed

AT_ONCE = 0.01
"""Seconds to wait for something newer when nobody wants to wait: without any, Yorc waits for minutes."""


K = TypeVar("K")
T = TypeVar("T")


class YorcClient:
    """Yorc's REST interface. Ids may hold anything: they are quoted.

    Besides what is named below, every method may raise `Refusal`, `Unavailable`, `UpstreamFailed` or `UpstreamTimeout`.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def ping(self, timeout: float) -> None:
        """The cheapest call for which Yorc needs its store: what it says of its health doesn't look there.

        Args:
            timeout: seconds.
        """
        try:
            self.transport.call("HEAD", "/events", timeout=timeout)
        except NoAnswer as failure:
            raise failure.error from failure
        except Refusal as refused:
            if refused.status < 500:
                raise
            raise Unavailable(NO_STORE, 30) from refused

    def deployments(self) -> list[Deployment]:
        """All deployments, whatever their status."""
        return documents.deployments(self._get("/deployments"))

    def deployment(self, deployment: str) -> DeploymentDetails:
        """A deployment and its tasks."""
        return documents.deployment(self._get(_deployment(deployment)))

    def workflow_names(self, deployment: str) -> list[str]:
        """The names of a deployment's workflows that have steps."""
        return documents.workflow_names(self._get(f"{_deployment(deployment)}/workflows"), deployment)

    def workflow_names_of(self, deployments: Sequence[str]) -> dict[str, list[str] | ServiceError]:
        """As `workflow_names`, of many deployments at once: the names, or why there are none."""
        paths = {f"{_deployment(deployment)}/workflows": deployment for deployment in deployments}
        return self._of_many(paths, documents.workflow_names)

    def workflows_of(self, places: Iterable[WorkflowId]) -> dict[WorkflowId, Mapping[str, Any] | ServiceError]:
        """As `workflow`, of many at once: the definitions, or why there are none."""
        return self._of_many({_workflow(*place): place for place in places}, lambda found, _: documents.workflow(found))

    def workflow(self, deployment: str, name: str) -> Mapping[str, Any]:
        """The definition of a workflow as Yorc writes it."""
        return documents.workflow(self._get(_workflow(deployment, name)))

    def run(self, deployment: str, workflow: str, inputs: Mapping[str, str]) -> str:
        """Runs a workflow, once.

        Returns:
            the task's id.

        Raises:
            NoAnswer: it is not known whether it runs, if `sent`.
        """
        path = _workflow(deployment, workflow)
        body = {"inputs": dict(inputs)}  # always there: without one Yorc doesn't look whether inputs are missing
        try:
            answer = self.transport.retried(lambda: self.transport.call("POST", path, body=body), unless_sent=True)
        except Refusal as refused:
            if refused.status < 500:
                raise
            # It broke somewhere, maybe after the task had been made.
            raise NoAnswer(refused, sent=True, again=False, why=refused.message[:200]) from refused
        try:
            with reading("a start"):
                return _task_of(answer.headers["Location"])
        except UpstreamFailed as error:
            raise NoAnswer(error, sent=True, again=False) from error

    def task(self, deployment: str, task: str) -> Task:
        """A task."""
        return documents.task(self._get(_task(deployment, task)))

    def steps(self, deployment: str, task: str) -> Mapping[str, str]:
        """The steps of a task: the status of each, as Yorc says it, by name."""
        return documents.steps(self._get(f"{_task(deployment, task)}/steps"))

    def cancel(self, deployment: str, task: str) -> None:
        """Asks for the end of a task. Refused with 400 when it has ended."""
        self._safe("DELETE", _task(deployment, task))

    def resume(self, deployment: str, task: str) -> None:
        """Goes on with a failed task. Refused with 400 when it hasn't failed."""
        try:
            self.transport.call("PUT", _task(deployment, task))
        except NoAnswer as failure:
            raise failure.error from failure

    def logs(self, index: int, wait: float, deployment: str | None = None) -> tuple[list[Line], int]:
        """Entries of the log.

        Args:
            index: only what is newer; 0 for everything.
            wait: seconds to wait for something newer.
            deployment: whose; default: of all.

        Returns:
            the entries, and the index to go on from. It is lower than before when Yorc's store was made anew.
        """
        return documents.lines(self._poll("logs", index, wait, deployment))

    def events(self, index: int, wait: float, deployment: str | None = None) -> tuple[list[Event], int]:
        """As `logs`, for events."""
        return documents.events(self._poll("events", index, wait, deployment))

    def log_index(self) -> int:
        """An index at least as high as that of the newest entry of the log."""
        return self._index("/logs")

    def event_index(self) -> int:
        """An index at least as high as that of the newest event."""
        return self._index("/events")

    def _of_many(self, paths: Mapping[str, K], read: Callable[[JSON, K], T]) -> dict[K, T | ServiceError]:
        """What is at many paths, or why it can't be had, by what the paths are of."""

        def taken(path: str, document: JSON) -> T | ServiceError:
            try:
                return read(document, paths[path])
            except ServiceError as error:
                return error

        found: dict[K, T | ServiceError] = {}
        failure: ServiceError | None = None
        try:
            answers = self.transport.documents(paths, taken)
        except NoAnswer as error:
            answers, failure = {}, error.error
        for path, key in paths.items():
            if path in answers:
                found[key] = answers[path]
                continue
            if failure is not None:
                found[key] = failure
                continue
            try:
                found[key] = read(self._get(path), key)
            except Refusal as refused:
                found[key] = refused
            except ServiceError as error:
                found[key] = failure = error  # the others are likely to fare no better
        return found

    def _poll(self, what: str, index: int, wait: float, deployment: str | None) -> JSON:
        path = f"/{what}" if deployment is None else f"{_deployment(deployment)}/{what}"
        params: dict[str, str | int] = {"index": index, "wait": f"{round(wait * 1000)}ms"}
        return self._safe("GET", path, params=params, wait=wait).document

    def _index(self, path: str) -> int:
        answer = self._safe("HEAD", path)
        with reading("its index"):
            return int(answer.headers["X-Yorc-Index"])

    def _get(self, path: str) -> JSON:
        return self._safe("GET", path).document

    def _safe(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, wait: float = 0.0
    ) -> Answer:
        """A call that may be repeated: it changes nothing, or nothing more the second time."""
        try:
            return self.transport.retried(lambda: self.transport.call(method, path, params=params, wait=wait))
        except NoAnswer as failure:
            raise failure.error from failure


def _task_of(location: str) -> str:
    """The id in the address of a task. Raises `ValueError`."""
    before, _, task = urlsplit(location).path.rpartition("/")
    if not task or not before.endswith("/tasks"):
        raise ValueError(location)
    return task


def _part(text: str) -> str:
    """A part of a path. Dots alone would be taken for the directory above."""
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no id")
    return quote(text, safe="")


def _deployment(deployment: str) -> str:
    return f"/deployments/{_part(deployment)}"


def _workflow(deployment: str, workflow: str) -> str:
    return f"{_deployment(deployment)}/workflows/{_part(workflow)}"


def _task(deployment: str, task: str) -> str:
    return f"{_deployment(deployment)}/tasks/{_part(task)}"
