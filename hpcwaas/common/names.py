"""What may be the name of a file."""

from __future__ import annotations

import unicodedata


def unusable_name(name: str) -> str | None:
    """Why `name` can't be the base name of a file, or None when it can."""
    if name in ("", ".", ".."):
        return "it is empty, '.' or '..'"
    if "/" in name:
        return "it contains a slash"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "it holds a control character or is not valid Unicode"
    if len(name.encode()) > 255:
        return "it is longer than 255 bytes"
    return None
