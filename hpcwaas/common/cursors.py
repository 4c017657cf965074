"""Opaque cursors for pages that are cut by a key, not by a count."""

from __future__ import annotations

import base64
import binascii
import json

from hpcwaas.errors import BadRequest


def encode(*parts: str) -> str:
    """Makes a cursor from the key of the last item of a page."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode(cursor: str, parts: int) -> tuple[str, ...]:
    """Reads a cursor that `encode` made of so many parts.

    Raises:
        BadRequest: it isn't one.
    """
    try:
        values = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != parts or not all(isinstance(value, str) for value in values):
        raise unknown()
    return tuple(values)


def unknown() -> BadRequest:
    """The error for a cursor that this service didn't make."""
    return BadRequest("`cursor` wasn't made by this service: use `next_cursor` of the page before.")
