"""What the present work belongs to: entries of the log say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar

REQUEST: ContextVar[Callable[[], Mapping[str, str | None]] | None] = ContextVar("request", default=None)
"""Tells of the request that is being answered, as far as is known: its id, its user, the operation."""


def request() -> Mapping[str, str | None]:
    """Of the present request; empty outside of one."""
    tell = REQUEST.get()
    return {} if tell is None else tell()
