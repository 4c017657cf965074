"""The record of who did what: a file of one JSON object a line, never with a secret in it."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.common.account import login_name
from hpcwaas.common.chained import ChainedFile
from hpcwaas.common.moments import rfc3339
from hpcwaas.errors import ConfigurationError
from hpcwaas.store.syslog import Syslog

_LOGGER = logging.getLogger(__name__)
_LONGEST = 500
"""Characters of a text. Anybody can send a path, and a long one must not fill the disk."""
_COMPLAIN_EVERY = 60.0
"""Seconds between two entries of the log that tell that acts can't be recorded."""


class Audit:
    """Appends acts to the audit file, and sends them to a syslog server when the settings name one.

    Args:
        syslog: address of the server: a path, or HOST:PORT.
        scrub: masks secrets in a text.

    Raises:
        ConfigurationError: the file can't be written, or there is no such server.
    """

    def __init__(self, file: Path, syslog: str | None, scrub: Callable[[str], str]) -> None:
        self._scrub = scrub
        self._file = ChainedFile(file)
        self._complained = -_COMPLAIN_EVERY
        try:
            self._file.check()
        except OSError as error:
            raise ConfigurationError("audit.file", f"can't append to {file}: {error.strerror}") from error
        try:
            self._syslog = Syslog(syslog, "hpcwaas-audit") if syslog else None
        except OSError as error:
            raise ConfigurationError("audit.syslog", f"can't reach {syslog}: {error.strerror}") from error

    def record(self, act: Mapping[str, object]) -> None:
        """Records an act, now. When that fails, the log tells.

        Args:
            act: texts, numbers, lists and maps of them, and None.
        """
        moment = rfc3339(datetime.now(UTC))
        members = {"time": moment, **{name: self._clean(value) for name, value in act.items()}}
        line = json.dumps(members)
        try:
            line = self._file.append(members).decode().rstrip()
        except OSError as error:
            if time.monotonic() - self._complained >= _COMPLAIN_EVERY:
                self._complained = time.monotonic()
                _LOGGER.error("The audit can't be written to %s: %s", self._file.path, error)  # noqa: TRY400
        if self._syslog is not None:
            self._syslog.send(line)

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
        if self._syslog is not None:
            self._syslog.close()

    def _clean(self, value: object) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item) for item in value]
        if isinstance(value, Mapping):
            return {str(self._clean(name)): self._clean(item) for name, item in value.items()}
        if value is None or isinstance(value, int | float):
            return value
        text = self._scrub(str(value))
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _account() -> str:
    """The account of the operating system; the one that called `sudo`, where there is one."""
    sudo = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    return sudo or login_name()
