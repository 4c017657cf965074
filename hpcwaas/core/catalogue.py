"""What a user may run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from hpcwaas.common import cursors
from hpcwaas.core.engines import Engines, Published
from hpcwaas.core.models import Workflow, WorkflowDetails
from hpcwaas.core.people import Principal
from hpcwaas.core.policy import is_operator, may_run
from hpcwaas.core.publication_models import Access
from hpcwaas.errors import NotFound


class Catalogue:
    """The workflows of all engines as one user sees them."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def page(
        self, principal: Principal, words: str | None, limit: int | None, cursor: str | None
    ) -> tuple[Published, str | None]:
        """Workflows that the user may run, ordered by id, and what may be missing.

        Args:
            words: only those in whose texts all of these words stand; case is ignored.
            limit: at most so many; None for all.
            cursor: where the page before ended.

        Returns:
            the workflows, and the cursor of the next page when there is one.

        Raises:
            ServiceError: no engine answers.
        """
        wanted = (words or "").casefold().split()
        after = cursors.decode(cursor, 1)[0] if cursor is not None else None
        published = _with_unread(self._engines.workflows(), principal)
        found = sorted(
            (
                workflow
                for workflow in published.workflows
                if may_run(principal, workflow)
                and (after is None or workflow.id > after)
                and all(word in _text(workflow) for word in wanted)
            ),
            key=lambda workflow: workflow.id,
        )
        if limit is None or len(found) <= limit:
            return replace(published, workflows=found), None
        return replace(published, workflows=found[:limit]), cursors.encode(found[limit - 1].id)

    def problems(self, principal: Principal) -> Sequence[Access]:
        """What isn't published and why, and what publishers should know of what is.

        Raises:
            NotFound: the user is no operator.
            ServiceError: an engine doesn't answer.
        """
        if not is_operator(principal):
            raise NotFound("There is no such workflow.")
        return self._engines.problems()

    def details(self, principal: Principal, workflow_id: str, *, current: bool = False) -> WorkflowDetails:
        """One workflow with its inputs.

        Args:
            current: as it is published at this moment, for who is about to start it.

        Raises:
            NotFound: there is none under this id that the user may run.
        """
        try:
            return self._engines.workflow(workflow_id, partial(may_run, principal), current=current)
        except NotFound:
            raise NotFound("There is no such workflow.") from None


def _with_unread(published: Published, principal: Principal) -> Published:
    """Says how many workflows the user will see as soon as they have been read."""
    number = sum(may_run(principal, workflow) for workflow in published.unread)
    if not number:
        return published
    those = "1 workflow is" if number == 1 else f"{number} workflows are"
    return replace(published, missing=(*published.missing, f"{those} still being read. Ask again in a moment."))


def _text(workflow: Workflow) -> str:
    return " ".join(
        filter(None, (workflow.id, workflow.name, workflow.label, workflow.description, workflow.environment_name))
    ).casefold()
