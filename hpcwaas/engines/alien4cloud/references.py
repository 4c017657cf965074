"""The ids that the engine gives out: parts joined by `@`."""

from __future__ import annotations

from typing import NamedTuple

from hpcwaas.engines.orchestrated.references import taken_apart
from hpcwaas.errors import NotFound


class WorkflowId(NamedTuple):
    """Where a workflow stands."""

    application: str
    environment: str
    workflow: str

    def __str__(self) -> str:
        return "@".join(self)


class Reference(NamedTuple):
    """Where an execution runs. `execution` is Alien4Cloud's own id of it, and the orchestrator's task."""

    application: str
    environment: str
    execution: str

    def __str__(self) -> str:
        return "@".join(self)


def parse_workflow(text: str) -> WorkflowId:
    """Takes a workflow's id apart.

    Raises:
        NotFound: it can't be one.
    """
    if parts := taken_apart(text, 3):
        return WorkflowId(*parts)
    raise NotFound("There is no such workflow.")


def parse_reference(text: str) -> Reference:
    """Takes an execution's reference apart.

    Raises:
        NotFound: it can't be one.
    """
    if parts := taken_apart(text, 3):
        return Reference(*parts)
    raise NotFound("There is no such execution.")
