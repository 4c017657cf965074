"""Containers that a daemon runs: they outlive the process that asked for them, and all that comes from it."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hpcwaas.engines.cwl.storage import spool

_IDENTIFIER = re.compile(rb"[0-9a-f]{12,64}")
_FILES = "*/*.cid"
"""Where cwltool lets the engine write down a container's id, as long as it runs."""
_MOST = 1000
_PATIENCE = 30


def stop(directory: Path, program: str) -> None:
    """Ends what an execution left running. Never fails: there may be no daemon any more.

    Args:
        directory: of the execution, none of whose processes is left.
        program: of the engine; empty for one without a daemon.
    """
    if not program:
        return
    identifiers = list(_identifiers(directory / spool.TEMPORARY))
    if identifiers:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [program, "kill", *identifiers],
                check=False,
                timeout=_PATIENCE,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )


def _identifiers(temporary: Path) -> Iterator[str]:
    for path, _ in zip(temporary.glob(_FILES), range(_MOST), strict=False):
        with contextlib.suppress(OSError):  # tools may have made anything there
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                content = os.read(descriptor, 100).strip() if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
            finally:
                os.close(descriptor)
            if _IDENTIFIER.fullmatch(content):
                yield content.decode()
