"""The ids that the engine gives out: parts joined by `@`."""

from __future__ import annotations

import re
from typing import NamedTuple

from hpcwaas.engines.orchestrated.references import taken_apart
from hpcwaas.errors import NotFound

_DEPLOYMENT = re.compile(r"[-_0-9A-Za-z]+")


class WorkflowId(NamedTuple):
    """Where a workflow stands."""

    deployment: str
    workflow: str

    def __str__(self) -> str:
        return "@".join(self)


class Reference(NamedTuple):
    """Where an execution runs. `task` is Yorc's id of it."""

    deployment: str
    workflow: str
    task: str

    def __str__(self) -> str:
        return "@".join(self)


def parse_workflow(text: str) -> WorkflowId:
    """Takes a workflow's id apart.

    Raises:
        NotFound: it can't be one.
    """
    parts = taken_apart(text, 2)
    if parts and _DEPLOYMENT.fullmatch(parts[0]) and "/" not in parts[1]:
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
