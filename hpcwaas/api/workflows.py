"""`/workflows`."""

from __future__ import annotations

from typing import Any

import flask
from flask import Response

from hpcwaas.api import views
from hpcwaas.core.catalogue import Catalogue
from hpcwaas.core.executions import Executions
from hpcwaas.core.people import Principal


class WorkflowHandlers:
    """Handlers of the operations on workflows."""

    def __init__(self, catalogue: Catalogue, executions: Executions) -> None:
        self._catalogue = catalogue
        self._executions = executions

    def list_workflows(
        self, principal: Principal, q: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Response:
        """Lists workflows."""
        found, following = self._catalogue.page(principal, q, limit, cursor)
        headers = views.staleness(found.stale_since)
        listed = [views.workflow(item) for item in found.workflows]
        document: dict[str, Any] = {"workflows": listed, "next_cursor": following}
        if found.missing:
            document["warnings"] = found.missing
        return views.answer(document, headers=headers)

    def get_workflow(self, principal: Principal, workflow_id: str) -> Response:
        """Shows a workflow."""
        details = self._catalogue.details(principal, workflow_id)
        return views.answer(views.workflow_details(details), as_written=True)

    def trigger_workflow(
        self, principal: Principal, workflow_id: str, body: Any = None, dry_run: bool = False
    ) -> Response:
        """Starts an execution, or with `dry_run` only checks that it could be started."""
        inputs = (body or {}).get("inputs") or {}
        if dry_run:
            self._executions.check(principal, workflow_id, inputs)
            document = {"valid": True, "workflow_id": workflow_id, "inputs": inputs}
            return views.answer(document, as_written=True)
        key = flask.request.headers.get("Idempotency-Key")
        execution = self._executions.trigger(principal, workflow_id, inputs, key)
        return views.empty(201, {"Location": f"/executions/{execution.id}"})
