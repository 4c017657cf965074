"""What a request does that the audit should tell, noted where it is known and recorded at the edge."""

from __future__ import annotations

from contextvars import ContextVar

from hpcwaas.core.people import Principal

_NOTES: ContextVar[dict[str, object] | None] = ContextVar("notes", default=None)


def begin() -> dict[str, object]:
    """Begins a request.

    Returns:
        what will be noted in it, wherever that happens: a pool thread that runs in a copy of this context included.
    """
    notes: dict[str, object] = {}
    _NOTES.set(notes)
    return notes


def note_owner(principal: Principal, owner: str | None) -> None:
    """Notes whose things a request touches, when they aren't the caller's own.

    Args:
        owner: None when the caller didn't ask for anybody else's.
    """
    if owner not in (None, principal.subject):
        note(owner=owner)


def note(**details: object) -> None:
    """Notes something about the present request; nothing outside of one. Any note makes the request an act.

    Args:
        details: members of the audit's record, never a secret. `owner` says whose object was touched, when it was
            somebody else's; `who` and `credential` who the caller turned out to be, for an operation that needs no
            credentials. Anything else is added as it is: texts, numbers, lists of them.
    """
    notes = _NOTES.get()
    if notes is not None:
        notes.update(details)
