"""The calls of Alien4Cloud's REST interface that the engine makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from hpcwaas.common.http import NoAnswer
from hpcwaas.core.models import JSON
from hpcwaas.engines.alien4cloud.faults import reading
from hpcwaas.engines.alien4cloud.transport import Transport

PAGE = 1000
"""Most applications or log lines that Alien4Cloud gives at once, whatever is asked for."""

WINDOW = 10_000
"""Hits beyond this one can't be had by counting on."""

PUBLISHED = "hpcwaas-workflows"
"""Tag of the applications that publish workflows; their names are its value."""


class Alien4CloudClient:
    """Alien4Cloud's REST interface. Ids may hold anything: they are quoted.

    Besides what is named below, every method may raise `Refusal`, `Unavailable`, `UpstreamFailed` or `UpstreamTimeout`.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def applications(self, start: int) -> tuple[list[dict[str, Any]], int]:
        """A page of the applications that publish something, and how many there are in all."""
        body = {"from": start, "size": PAGE, "filters": {"tags.name": [PUBLISHED]}}
        return _page(self._safe("POST", "/applications/search", body=body), "applications")

    def environments(self, applications: Sequence[str]) -> JSON:
        """The environments of many applications, by application. Refused as a whole for one that is unknown."""
        return self._safe("POST", "/applications/environments", body=list(applications))

    def application(self, application: str) -> JSON:
        """An application with its tags."""
        return self._safe("GET", f"/applications/{_part(application)}")

    def environment(self, application: str, environment: str) -> JSON:
        """An environment; Alien4Cloud doesn't check that it belongs to the application."""
        return self._safe("GET", _environment(application, environment))

    def topology(self, application: str, environment: str) -> JSON:
        """What is deployed there."""
        return self._safe("GET", f"{_environment(application, environment)}/runtime-topology")

    def instances(self, application: str, environment: str) -> JSON:
        """The instances of the deployed nodes, with their attributes."""
        return self._safe("GET", f"{_environment(application, environment)}/deployment/informations")

    def active_deployment(self, application: str, environment: str) -> JSON:
        """The deployment of an environment; None when it isn't deployed."""
        return self._safe("GET", f"{_environment(application, environment)}/active-deployment")

    def deployment(self, deployment: str) -> JSON:
        """A deployment, ended ones included."""
        return self._safe("GET", f"/deployments/{_part(deployment)}")

    def launch(self, application: str, environment: str, workflow: str, inputs: Mapping[str, JSON]) -> JSON:
        """Runs a workflow, once.

        Returns:
            the execution's id.

        Raises:
            NoAnswer: it is not known whether it runs, if `sent`.
        """
        path = f"/rest/latest{_environment(application, environment)}/workflows/{_part(workflow)}"
        body = {"inputs": dict(inputs)}
        return self.transport.retried(lambda: self.transport.call("POST", path, body=body), unless_sent=True)

    def execution(self, execution: str) -> JSON:
        """An execution; refused with `NOT_FOUND` until Alien4Cloud has heard of its start."""
        return self._safe("GET", f"/executions/{_part(execution)}")

    def executions(self, deployment: str, size: int) -> list[dict[str, Any]]:
        """The newest executions of a deployment, newest first."""
        params: dict[str, str | int] = {"deploymentId": deployment, "from": 0, "size": size}
        return _page(self._safe("GET", "/executions/search", params=params), "executions")[0]

    def last_execution(self, deployment: str) -> JSON:
        """The last execution of a deployment with the states of its steps."""
        return self._safe("GET", f"/workflow_execution/{_part(deployment)}")

    def tasks(self, execution: str) -> list[dict[str, Any]]:
        """What an execution has made its orchestrator do."""
        params: dict[str, str | int] = {"executionId": execution, "from": 0, "size": PAGE}
        return _page(self._safe("GET", "/tasks/search", params=params), "tasks")[0]

    def log_lines(
        self, execution: str, *, start: int = 0, size: int = PAGE, since: int | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """Lines of an execution's log, and how many there are.

        Args:
            start: lines to pass over; with `size` at most `WINDOW`.
            since: milliseconds since 1970; only lines from then on are counted and given.
        """
        if not execution:  # without this filter Alien4Cloud gives the lines of everybody
            raise ValueError("an execution's id can't be empty")
        body: dict[str, JSON] = {
            "from": start,
            "size": size,
            "filters": {"executionId": [execution]},
            "sortConfiguration": {"sortBy": "rawtimestamp", "ascending": True},
        }
        if since is not None:
            body["fromDate"] = since
        return _page(self._safe("POST", "/deployment/logs/search", body=body), "logs")

    def cancel(self, environment: str, execution: str) -> None:
        """Asks for the end of an execution."""
        self._safe("POST", "/executions/cancel", body={"environmentId": environment, "executionId": execution})

    def resume(self, execution: str) -> None:
        """Goes on with a failed execution."""
        try:
            self.transport.call("POST", f"/rest/latest/executions/{_part(execution)}/resume", body={})
        except NoAnswer as failure:
            raise failure.error from failure

    def ping(self, timeout: float) -> None:
        """The cheapest call that needs a login.

        Args:
            timeout: seconds.
        """
        try:
            self.transport.call(
                "GET", "/rest/latest/deployments/search", params={"from": 0, "size": 1}, timeout=timeout
            )
        except NoAnswer as failure:
            raise failure.error from failure

    def _safe(
        self, method: str, path: str, *, body: JSON = None, params: Mapping[str, str | int] | None = None
    ) -> JSON:
        """A call that may be repeated: it changes nothing, or nothing more the second time."""
        try:
            return self.transport.retried(
                lambda: self.transport.call(method, f"/rest/latest{path}", body=body, params=params)
            )
        except NoAnswer as failure:
            raise failure.error from failure


def _page(data: JSON, what: str) -> tuple[list[dict[str, Any]], int]:
    with reading(what):
        items, total = data["data"], data["totalResults"]
        if not isinstance(items, list) or not isinstance(total, int):
            raise TypeError
        return items, total


def _part(text: str) -> str:
    """A part of a path. Dots alone would be taken for the directory above."""
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no id")
    return quote(text, safe="")


def _environment(application: str, environment: str) -> str:
    return f"/applications/{_part(application)}/environments/{_part(environment)}"
