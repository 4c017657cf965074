"""The ids that the engine gives out: parts joined by `@`."""

from __future__ import annotations

from typing import NamedTuple

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
    if parts := _parts(text):
        return WorkflowId(*parts)
    raise NotFound("There is no such workflow.")


def parse_reference(text: str) -> Reference:
    """Takes an execution's reference apart.

    Raises:
        NotFound: it can't be one.
    """
    if parts := _parts(text):
        return Reference(*parts)
    raise NotFound("There is no such execution.")


def usable(*parts: str) -> bool:
    """Whether these texts can be parts of an id: joined, they have to come apart again, and each goes into a path."""
    return all(part and "@" not in part and part not in (".", "..") and part.isprintable() for part in parts)


def _parts(text: str) -> tuple[str, str, str] | None:
    first, *rest = text.split("@")
    if len(rest) != 2 or not usable(first, *rest):
        return None
    return first, rest[0], rest[1]
