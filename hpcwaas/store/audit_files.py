"""Files of the audit that are old: begun anew every day, and removed when they have been kept for long enough."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path

_LOGGER = logging.getLogger(__name__)
_DAY = 86400.0
_LOOK_EVERY = 600.0


class OldRecords:
    """Removes records of acts that are older than so many days, a day's file at a time.

    The file is moved aside as logrotate does it: whoever writes finds out, and the chain goes on in the new one.

    Args:
        file: of the audit.
        days: for which records are kept; None for ever, when all files are left alone.
    """

    def __init__(self, file: Path, days: int | None) -> None:
        self._file = file
        self._days = days
        self._next_look = 0.0

    def sweep(self) -> None:
        """Looks now and then; harmless in several processes at once."""
        if self._days is None or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY
        self.look(self._days, datetime.now(UTC))

    def look(self, days: int, now: datetime) -> None:
        """Moves aside what was written before today, and removes what is too old."""
        with contextlib.suppress(FileNotFoundError):
            begun = _first(self._file)
            if begun and begun < now.date().isoformat():
                self._move_aside(begun)
        for old in self._file.parent.glob(f"{self._file.name}[.-]*"):
            with contextlib.suppress(FileNotFoundError):  # somebody else was faster
                if old.is_file() and now.timestamp() - old.stat().st_mtime > days * _DAY:
                    old.unlink()
                    _LOGGER.info("removed %s: records of acts are kept for %d days", old, days)

    def _move_aside(self, day: str) -> None:
        aside = self._file.with_name(f"{self._file.name}.{day}")
        try:
            os.link(self._file, aside)  # unlike a rename it doesn't replace what another process has put there
        except FileExistsError:
            if not aside.samefile(self._file):
                return  # moved aside today already, and written to by a clock that is behind: tomorrow, then
        self._file.unlink()


def _first(file: Path) -> str | None:
    """The day of the first record; None where that can't be told, and the file is left alone."""
    with file.open("rb") as lines:
        head = lines.read(64)
    prefix = b'{"time": "'
    if not head.startswith(prefix):
        return None
    day = head[len(prefix) :][:10].decode("ascii", "replace")
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(day).date().isoformat()
    return None
