"""What can be a user's id."""

from __future__ import annotations

from hpcwaas.core.policy import EVERYBODY

LONGEST = 255


def usable(subject: str) -> bool:
    """Whether a text can be a user's id: 1 to 255 printable characters, no blanks at its ends, and not the word for
    everybody. Colons, slashes and blanks in it are fine: federations send such."""
    return 0 < len(subject) <= LONGEST and subject.isprintable() and subject == subject.strip() and subject != EVERYBODY


def usable_with_password(name: str) -> bool:
    """Whether it can be the name of an account with a password: HTTP Basic ends a name at the first colon."""
    return usable(name) and ":" not in name
