"""Asking for a password."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from .errors import Interrupted, UsageError


def with_password(user: str) -> str:
    """`name:password` from `name[:password]`; asks at the terminal for a password that is missing.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    if ":" in user:
        return user
    if not _terminal():
        raise UsageError(
            f'There is no password for the user "{user}", and no terminal to ask for it.',
            hint="Set HW_USER=NAME:PASSWORD or HW_ACCESS_TOKEN, or put `user` into $HOME/.waas.",
        )
    try:
        return f"{user}:{getpass.getpass(f'Password of {user}: ', stream=sys.stderr)}"
    except (EOFError, KeyboardInterrupt):
        raise Interrupted("The command was interrupted.") from None


def _terminal() -> bool:
    """Whether the user can be asked, even when stdin is a pipe."""
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return sys.stdin.isatty()
