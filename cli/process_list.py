"""Secrets in the list of processes, where every user of the machine sees command lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

_ARG_START, _ARG_END = 48 - 3, 49 - 3
"""Fields of /proc/PID/stat, counted behind the name, which may hold blanks."""


def hide(secrets: Iterable[str]) -> None:
    """Writes asterisks over these words of this process's command line, if the system lets it, as Linux does.

    For the moment before that, others have seen them.
    """
    words = [word for secret in secrets if (word := secret.encode(errors="surrogateescape"))]
    if not words or sys.platform != "linux":
        return
    import ctypes

    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    except (OSError, ValueError, IndexError):
        return
    if 0 < start < end:
        line = ctypes.string_at(start, end - start)
        for word in words:
            line = line.replace(word, b"*" * len(word))
        ctypes.memmove(start, line, len(line))
