"""Listens to Yorc's news of executions: one long poll for all of them in this process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hpcwaas.engines.yorc import polls
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.documents import Event

_LOGGER = logging.getLogger(__name__)

_WAIT = 45.0
"""Seconds for which Yorc may wait for news: there are few, and proxies give up after a minute."""


class Events:
    """Hands on what comes. What is missed while Yorc doesn't answer is asked for by whoever needs it.

    Args:
        take: called with each event, in one thread.
    """

    def __init__(self, client: YorcClient, take: Callable[[Event], None]) -> None:
        self._client = client
        self._take = take
        self._poll = polls.Poll("events", self._ask)
        self._index: int | None = None
        self._guessed = False
        self._since: float | None = None

    def start(self) -> None:
        """Begins to listen, at the first call."""
        self._poll.start()

    def covered(self, since: float) -> bool:
        """Whether news have been coming without a gap since this monotonic time."""
        began = self._since
        return began is not None and began <= since

    @property
    def problem(self) -> str | None:
        """Why nothing comes just now."""
        return self._poll.problem

    def close(self) -> None:
        """Ends listening."""
        self._poll.close()

    def _ask(self, failed: bool) -> bool:
        try:
            return self._ask_once(failed)
        except BaseException:
            self._since = None
            raise

    def _ask_once(self, failed: bool) -> bool:
        began = time.monotonic()
        if self._index is None or failed:
            highest = self._client.event_index()
            if self._index is None or highest < self._index:
                self._index, self._guessed = highest, True
                began = time.monotonic()  # what came before the answer isn't told
        if self._since is None:
            self._since = began
        events, index = self._client.events(self._index, _WAIT)
        if index < self._index and not self._guessed:
            _LOGGER.warning(
                "the index of Yorc's events fell back from %s to %s: its store is a new one", self._index, index
            )
            self._since = time.monotonic()
        self._index, self._guessed = index, False
        for event in events:
            self._take(event)
        return True
