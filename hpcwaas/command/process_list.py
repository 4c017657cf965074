"""Secrets in the list of processes, where every user of the machine sees command lines."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from pathlib import Path

_ARG_START, _ARG_END = 48 - 3, 49 - 3
"""Fields of /proc/PID/stat, counted behind the name, which may hold blanks."""


def hide(secrets: Iterable[str]) -> None:
    """Writes asterisks over these words of this process's command line, as far as the system lets it: Linux does.

    For the moment before that, others have seen them.
    """
    if sys.platform != "linux":
        return
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    except (OSError, ValueError, IndexError):
        return
    if not 0 < start < end:
        return
    line = ctypes.string_at(start, end - start)
    for secret in secrets:
        word = secret.encode(errors="surrogateescape")
        line = line.replace(word, b"*" * len(word)) if word else line
    ctypes.memmove(start, line, len(line))
