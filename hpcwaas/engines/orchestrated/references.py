"""Ids of several parts, joined by `@`."""

from __future__ import annotations


def usable(*parts: str) -> bool:
    """Whether these texts can be parts of an id: joined, they have to come apart again, and each goes into a path."""
    return all(part and "@" not in part and part not in (".", "..") and part.isprintable() for part in parts)


def taken_apart(text: str, count: int) -> list[str] | None:
    """The parts of an id; None when it isn't made of so many."""
    parts = text.split("@")
    return parts if len(parts) == count and usable(*parts) else None
