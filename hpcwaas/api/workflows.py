"""`/workflows`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flask
from flask import Response

from hpcwaas.api import prefix, views
from hpcwaas.core.catalogue import Catalogue
from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Workflow
from hpcwaas.core.people import Principal
from hpcwaas.core.retention import RetentionPolicy
from hpcwaas.core.sites import Sites
from hpcwaas.errors import NotFound

_REMEMBERED = 5000
"""Workflows whose JSON is kept."""


class WorkflowHandlers:
    """Handlers of the operations on workflows."""

    def __init__(self, catalogue: Catalogue, executions: Executions, sites: Sites, retention: RetentionPolicy) -> None:
        self._retention = retention
        self._catalogue = catalogue
        self._executions = executions
        self._sites = sites
        self._texts: dict[str, tuple[Workflow, Sequence[str] | None, str]] = {}

    def list_workflows(
        self, principal: Principal, q: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Response:
        """Lists workflows."""
        found, following = self._catalogue.page(principal, q, limit, cursor)
        headers = views.staleness(found.stale_since)
        where = self._sites.where(principal)
        more: dict[str, Any] = {"next_cursor": following}
        if found.missing:
            more["warnings"] = found.missing
        listed = ",".join([self._listed(item, where(item)) for item in found.workflows])
        return views.answer_of(f'{{"workflows":[{listed}],{views.text(more)[1:]}', headers=headers)

    def _listed(self, workflow: Workflow, sites: Sequence[str] | None) -> str:
        """A workflow as listed. Lists are long, asked for often, and change seldom."""
        known = self._texts.get(workflow.id)
        if known is not None and known[0] is workflow and known[1] == sites:
            return known[2]
        text = views.text(views.workflow(workflow, sites))
        if len(self._texts) >= _REMEMBERED:
            self._texts.clear()
        self._texts[workflow.id] = workflow, sites, text
        return text

    def list_workflow_problems(self, principal: Principal) -> Response:
        """Lists what is wrong with what is published, or shows the workflow that has the id `problems`."""
        try:
            found = self._catalogue.problems(principal)
        except NotFound:
            return self.get_workflow(principal, "problems")
        listed = [
            {"workflow": it.id, "published": it.published, "problem": it.problem, "warnings": [*it.warnings]}
            for it in found
            if it.problem or it.warnings
        ]
        return views.answer({"problems": listed, "ignored": [each for it in found for each in it.ignored]})

    def get_workflow(self, principal: Principal, workflow_id: str) -> Response:
        """Shows a workflow."""
        details = self._catalogue.details(principal, workflow_id)
        sites = self._sites.where(principal)(details.workflow)
        kept = self._retention.of(details.workflow)
        return views.answer(views.workflow_details(details, sites, kept), as_written=True)

    def trigger_workflow(
        self, principal: Principal, workflow_id: str, body: Any = None, dry_run: bool = False
    ) -> Response:
        """Starts an execution, or with `dry_run` only checks that it could be started."""
        asked = body or {}
        inputs, site = prefix.inside(asked.get("inputs") or {}), asked.get("site")
        if dry_run:
            placement, check = self._executions.dry_run(principal, workflow_id, inputs, site)
            document = {
                "valid": True,
                "workflow_id": workflow_id,
                "inputs": inputs,
                "site": placement and placement.site,
                "check": check and views.account_check(check),
            }
            return views.answer(document, as_written=True)
        key = flask.request.headers.get("Idempotency-Key")
        execution = self._executions.trigger(principal, workflow_id, inputs, key, site)
        return views.empty(201, {"Location": f"/executions/{execution.id}"})

    def find_companions(self, principal: Principal, workflow_id: str, body: Any = None) -> Response:
        """Says what a workflow wants beside the files that inputs name."""
        found = self._executions.companions(principal, workflow_id, prefix.inside((body or {}).get("inputs") or {}))
        return views.answer({"companions": [views.companions(item) for item in found]})
