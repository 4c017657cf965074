"""Paths of the service."""

from __future__ import annotations

from urllib.parse import quote

from .errors import NotFound


def path(*parts: str) -> str:
    """A path of the service from its parts, every one quoted.

    Raises:
        NotFound: a part is empty or only dots, which would lead elsewhere.
    """
    for part in parts:
        if part in ("", ".", ".."):
            raise NotFound(f'There is nothing with the id "{part}".')
    return "/" + "/".join(quote(part, safe="@", errors="replace") for part in parts)
