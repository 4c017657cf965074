"""Which starts were asked for, on the disk: Alien4Cloud keeps no id of ours, so a start that a crash or a lost answer
left open would be asked for again otherwise."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.durable import sync_directory

_KEPT = 30 * 24 * 3600
"""Seconds after which a start is forgotten."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A start that was asked for before.

    Attributes:
        reference: what came of it, once that is known.
    """

    asked_at: datetime
    reference: str | None


class Starts:
    """Starts of this service, whichever of its processes asked for them.

    Args:
        directory: made when missing.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        limit = time.time() - _KEPT
        for path in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process does the same
                if path.stat().st_mtime < limit:
                    path.unlink()

    def begin(self, execution_id: str) -> Earlier | None:
        """Notes that a start is about to be asked for; it is on the disk before this returns.

        Returns:
            None; or the earlier one of this execution, and then it must not be asked for.
        """
        path = self._path("start", execution_id)
        if not self._create(path):
            reference = path.read_text(encoding="utf-8") or None
            return Earlier(datetime.fromtimestamp(path.stat().st_mtime, UTC), reference)
        sync_directory(self._directory)
        return None

    def end(self, execution_id: str, reference: str) -> None:
        """Notes what came of a start."""
        self._path("start", execution_id).write_text(reference, encoding="utf-8")

    def drop(self, execution_id: str) -> None:
        """Notes that nothing was started."""
        self._path("start", execution_id).unlink(missing_ok=True)

    def claim(self, execution: str) -> bool:
        """Notes that one of Alien4Cloud's executions is the outcome of a start.

        Returns:
            whether it wasn't another one's before.
        """
        return self._create(self._path("run", execution))

    def claimed(self, execution: str) -> bool:
        """Whether one of Alien4Cloud's executions is the outcome of a known start."""
        return self._path("run", execution).exists()

    def _path(self, kind: str, name: str) -> Path:
        return self._directory / f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    def _create(self, path: Path) -> bool:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True
