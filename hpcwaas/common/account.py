"""The account of the operating system."""

from __future__ import annotations

import os
import pwd


def login_name() -> str:
    """The account of the operating system that this process runs as."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number that has no account
        return f"uid-{os.getuid()}"
