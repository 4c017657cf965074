"""Who may do what. The one place that decides."""

from __future__ import annotations

from hpcwaas.core.models import Principal, Workflow


def may_run(principal: Principal, workflow: Workflow) -> bool:
    """Whether the user sees the workflow and may execute it."""
    return workflow.authorized_users is None or principal.subject in workflow.authorized_users
