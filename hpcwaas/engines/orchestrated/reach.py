"""Whether a server answers, as far as all calls of this process tell, and what is spared when it doesn't."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from hpcwaas.common.http import NoAnswer
from hpcwaas.common.repeats import Repeats
from hpcwaas.errors import Unavailable

_LOGGER = logging.getLogger(__name__)

_PROBE_EVERY = 2.0
"""Seconds between two looks whether a server that had stopped answering answers again."""

_RETRY_AFTER = 5


class Reach:
    """What is known of the way to a server.

    When a call has waited in vain, and none that was made since it began was answered either, all further ones are
    refused at once, until a probe is answered: nobody waits for a server that accepts connections and says nothing.

    Args:
        server: its name at the beginning of a sentence.
        probe: asks for any answer; raises `NoAnswer`.
    """

    def __init__(self, server: str, probe: Callable[[], None]) -> None:
        self._server = server
        self._probe = probe
        self._lock = threading.Lock()
        self._repeats = Repeats()
        self._answered_at = float("-inf")
        self._silent_since: datetime | None = None
        self._open = False
        self._closing = threading.Event()

    @property
    def silent_since(self) -> datetime | None:
        """Since when nothing is answered; None when the last call was."""
        return self._silent_since

    def require(self) -> None:
        """Refuses a call when it would be in vain.

        Raises:
            NoAnswer: it would.
        """
        if self._open:
            error = Unavailable(f"{self._server} has stopped answering.", _RETRY_AFTER)
            error.logged = True
            raise NoAnswer(error, sent=False, again=False)

    def answered(self) -> None:
        """Notes that there was an answer, if only an error."""
        self._answered_at = time.monotonic()
        if self._silent_since is None and not self._open:
            return
        with self._lock:
            since, self._silent_since, self._open = self._silent_since, None, False
        if since is not None:
            self._repeats = Repeats()
            _LOGGER.info("%s answers again; it didn't since %s", self._server, since.isoformat(timespec="seconds"))

    def failed(self, failure: NoAnswer, began: float, *, slow: bool, why: str) -> None:
        """Notes that there was none. A line a minute tells of it.

        Args:
            began: monotonic time at which the call was made.
            slow: it was waited for in vain.
        """
        failure.error.logged = True
        with self._lock:
            self._silent_since = self._silent_since or datetime.now(UTC)
            opens = slow and self._answered_at < began and not self._open and not self._closing.is_set()
            self._open = self._open or opens
        if opens:
            threading.Thread(target=self._wait_for_answer, name=f"{self._server.lower()}-probe", daemon=True).start()
        count = self._repeats.due("silent")
        if count is not None:
            since = self._silent_since.isoformat(timespec="seconds")
            _LOGGER.warning("no answer from %s since %s (%s calls): %s", self._server, since, count, why[:300])

    def close(self) -> None:
        """Ends the looking."""
        self._closing.set()

    def _wait_for_answer(self) -> None:
        while self._open and not self._closing.wait(_PROBE_EVERY):
            try:
                self._probe()
            except NoAnswer:
                continue
            self.answered()
