"""Brings the logs of executions from a site into the mirror, where they have the times of the service's clock."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

from hpcwaas.core.models import Level
from hpcwaas.engines.cwl.sites.mirror import Mirror
from hpcwaas.engines.cwl.storage import spool

_ROOM = 1 << 20
"""Bytes beyond the limit that an attempt may take to say why it ended."""
_MOMENT = re.compile(rb'^(\[\d,")(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})(?=\+00:00",)', re.MULTILINE)


class SiteLogs:
    """The logs of the executions on one site. A byte of the mirror's is one of the site's, at the same place.

    Args:
        site: its id.
        most: bytes of a log that are kept.
    """

    def __init__(self, site: str, mirror: Mirror, most: int) -> None:
        self._site = site
        self._mirror = mirror
        self._most = most

    def size(self, execution_id: str) -> int:
        """How much of a log is here."""
        try:
            return (self._mirror.execution(execution_id) / spool.LOG).stat().st_size
        except FileNotFoundError:
            return 0

    def full(self, execution_id: str) -> bool:
        """Whether no more of it is taken. The agent keeps to the limit; something else may have written there."""
        return self.size(execution_id) > self._most + _ROOM * self._mirror.attempt(execution_id)

    def take(self, execution_id: str, content: bytes, off: timedelta) -> None:
        """Appends what comes next in it.

        Args:
            off: what has to be added to the site's times.
        """
        if self.full(execution_id):
            return
        self._append(execution_id, _MOMENT.sub(lambda match: _moved(match, off), content) if off else content)
        if self.full(execution_id):
            self.say(execution_id, "The rest of the log is longer than the setting cwl.limits.log allows.")

    def say(self, execution_id: str, words: str) -> None:
        """Appends a line of the service's own, after which nothing more comes from the site."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps([int(Level.WARN), now, words])
        self._append(execution_id, b"\n" * self._broken_off(execution_id) + f"{line}\n".encode())

    def _broken_off(self, execution_id: str) -> bool:
        with (self._mirror.execution(execution_id) / spool.LOG).open("ab+") as file:
            if not file.tell():
                return False
            file.seek(-1, 2)
            return file.read(1) != b"\n"

    def _append(self, execution_id: str, content: bytes) -> None:
        with (self._mirror.execution(execution_id) / spool.LOG).open("ab") as file:
            file.write(content)


def _moved(match: re.Match[bytes], off: timedelta) -> bytes:
    try:
        moment = datetime.fromisoformat(match[2].decode()) + off
    except (ValueError, OverflowError):
        return match[0]
    return match[1] + moment.isoformat(timespec="milliseconds").encode()
