"""Traces: what a request has the service, its engines and its sites do, and how long each of it takes.

Nothing is done, and nothing costs time, until `begin` is called: with the extra `tracing`, and the setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, TypeVar

T = TypeVar("T")

Kind = Literal["internal", "server", "client"]

Attributes = Mapping[str, str | int | None]
"""What is known of a piece of work, by the names of OpenTelemetry's conventions. None is left out."""


class Note(Protocol):
    """Adds to what is known of a piece of work."""

    def __call__(self, attributes: Attributes, *, name: str | None = None, failed: bool = False) -> None:
        """Adds attributes.

        Args:
            name: a better one than it was begun with.
            failed: whether it has.
        """


class Tracer(Protocol):
    """What keeps traces; see the functions of this module."""

    def span(
        self, name: str, attributes: Attributes, kind: Kind, parent: str | None, link: str | None
    ) -> AbstractContextManager[Note]:
        """See `span` below."""

    def parent(self) -> str | None:
        """See `parent` below."""

    def carried(self, task: Callable[[], T]) -> Callable[[], T]:
        """See `carried` below."""


_tracer: Tracer | None = None


def begin(tracer: Tracer | None) -> None:
    """Has traces kept from now on; None ends that."""
    global _tracer
    _tracer = tracer


def span(
    name: str, attributes: Attributes, kind: Kind = "internal", parent: str | None = None, link: str | None = None
) -> AbstractContextManager[Note]:
    """Around a piece of work. It has failed when an exception leaves it.

    Args:
        kind: whether it answers somebody, or asks another server.
        parent: what `parent` gave for the work that this one belongs to, if that isn't what goes on here now.
        link: the same of work that it has to do with, somebody else's.
    """
    return nullcontext(nothing) if _tracer is None else _tracer.span(name, attributes, kind, parent, link)


def parent() -> str | None:
    """The present work, as `traceparent` (W3C Trace Context) names it to others; None when nothing is kept of it."""
    return None if _tracer is None else _tracer.parent()


def ids() -> dict[str, str | None]:
    """The present trace's id for the log, as `trace_id`; empty when nothing is kept of it."""
    found = parent()
    return {} if found is None else {"trace_id": found.split("-")[1]}


def carried(task: Callable[[], T]) -> Callable[[], T]:
    """A task that belongs to the present work, for another thread."""
    return task if _tracer is None else _tracer.carried(task)


def nothing(attributes: Attributes, *, name: str | None = None, failed: bool = False) -> None:
    """The `Note` of what isn't kept."""
