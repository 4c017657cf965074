"""The record of who did what: a file of one JSON object a line, never with a secret in it."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from hpcwaas import logs
from hpcwaas.configuration.settings import Settings
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.local import login_name

_LOGGER = logging.getLogger(__name__)
_LONGEST = 500
"""Characters of a text. Anybody can send a path, and a long one must not fill the disk."""
_COMPLAIN_EVERY = 60.0
"""Seconds between two entries of the log that tell that acts can't be recorded."""


class Audit:
    """Appends acts to the audit file. Any number of processes may append to the same one.

    Raises:
        ConfigurationError: the file can't be written.
    """

    def __init__(self, settings: Settings) -> None:
        self._scrub = logs.scrubber_of(settings)
        self._file = _File(settings.audit_file)
        self._complained = -_COMPLAIN_EVERY
        try:
            self._file.check()
        except OSError as error:
            raise ConfigurationError(
                "audit.file", f"can't append to {settings.audit_file}: {error.strerror}"
            ) from error

    def record(self, act: Mapping[str, object]) -> None:
        """Records an act, now. When that fails, the log tells.

        Args:
            act: texts, numbers, lists of them, and None.
        """
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # All but ASCII is escaped: no text can begin a line or steer the terminal that shows it.
        line = json.dumps({"time": moment, **{name: self._clean(value) for name, value in act.items()}})
        try:
            self._file.append(line.encode() + b"\n")
        except OSError as error:
            if time.monotonic() - self._complained >= _COMPLAIN_EVERY:
                self._complained = time.monotonic()
                _LOGGER.error("Acts can't be recorded in %s: %s", self._file.path, error)  # noqa: TRY400

    def record_command(self, operation: str, target: str) -> None:
        """Records an act of somebody at this machine, by a command that has done it.

        Args:
            operation: the command, such as `user add`.
            target: what it was done to.
        """
        self.record(
            {"who": _account(), "credential": "account", "operation": operation, "object": target, "result": "ok"}
        )

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _clean(self, value: object) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item) for item in value]
        if value is None or isinstance(value, int | float):
            return value
        text = self._scrub(str(value))
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class _File:
    """The file, opened anew when something else stands under its name: logrotate works like that.

    `logging.WatchedFileHandler` does that, too, but keeps what a full disk didn't take and fails with it later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stream: FileIO | None = None
        self._torn = False

    def check(self) -> None:
        """Finds out whether it can be written, and makes it.

        Raises:
            OSError: it can't.
        """
        self._open().close()

    def append(self, line: bytes) -> None:
        """Appends a line by a single system call, which other processes can't interrupt.

        Raises:
            OSError: it can't, or not all of it.
        """
        with self._lock:
            # The rest of a line that didn't fit is lost; the next one begins at the left all the same.
            whole = b"\n" + line if self._torn else line
            written = self._current().write(whole)
            if written != len(whole):
                self._torn = self._torn or written > 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._torn = False

    def close(self) -> None:
        """Closes it."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def _current(self) -> FileIO:
        if self._stream is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(self.path.stat(), os.fstat(self._stream.fileno())):
                    return self._stream
            self._stream.close()
            self._stream = None
        self._stream = self._open()
        return self._stream

    def _open(self) -> FileIO:
        return FileIO(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "a")


def _account() -> str:
    """The account of the operating system; the one that called `sudo`, where there is one."""
    sudo = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    return sudo or login_name()
