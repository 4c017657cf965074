"""Starts executions on a server that keeps no id of ours, and finds those whose start was asked for without an answer.
None is started twice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Protocol

from hpcwaas.common.http import NoAnswer
from hpcwaas.core.ports.records import StartRecords
from hpcwaas.errors import ServiceError, UncertainStart

_LOGGER = logging.getLogger(__name__)

_SEARCH = 8.0
"""Seconds for which a start without an answer is looked for: servers know it after about one."""

_SEARCH_EVERY = 0.5

_SKEW = timedelta(seconds=3)
"""By which the server's clock may still differ."""

_LATEST = timedelta(minutes=2)
"""After which no start that was asked for can begin any more."""


class Start(Protocol):
    """What is to be started. Its methods raise `ServiceError` besides what is named."""

    @property
    def name(self) -> str:
        """Of the workflow, for the log."""

    @property
    def place(self) -> str:
        """Within it, a run that is found can be that of any start without an answer."""

    def launch(self) -> str:
        """Asks for the start, once.

        Returns:
            its reference.

        Raises:
            NoAnswer: it may have been started, if `sent`.
            Unsure: likewise, and yet there was an answer.
            ServiceError: nothing was started.
        """

    def runs(self, since: datetime, until: datetime) -> Collection[str]:
        """The references of all that was started at its place in a time, by the server's clock."""


class Unsure(Exception):
    """An answer says that something went wrong, and not whether anything was started.

    Args:
        error: what it means when nothing is found.
    """

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.detail)
        self.error = error


class Starter:
    """Starts executions.

    Args:
        server: its name at the beginning of a sentence.
        clock_ahead: seconds by which the clock that stamps executions is ahead of ours, about.
        time_left: seconds that may be spent on what the present call of a user needs.
        starts: what was asked for. All processes and replicas know it.

    Attributes:
        server: as given.
    """

    def __init__(
        self, server: str, clock_ahead: Callable[[], float], time_left: Callable[[], float], starts: StartRecords
    ) -> None:
        self.server = server
        self._uncertain = (
            f"{server} didn't say whether it has started the execution. It may have been started: before you start it "
            "again, check whether it shows up in the list of executions."
        )
        self._clock_ahead = clock_ahead
        self._time_left = time_left
        self._starts = starts
        self._closing = threading.Event()

    def start(self, execution_id: str, start: Start) -> str:
        """Starts an execution; one that was started before under this id is looked for and never started again.

        Returns:
            its reference.

        Raises:
            UncertainStart: it may have been started.
            ServiceError: it hasn't.
        """
        asked_at = datetime.now(UTC)
        earlier = self._starts.begin(execution_id, start.place, asked_at)
        if earlier is None:
            try:
                reference = self._launch(start, asked_at)
            except UncertainStart:
                raise
            except ServiceError:
                self._starts.drop(execution_id)
                raise
        else:
            asked_at, known = earlier
            if known is not None:
                return known
            found = self._find(start, asked_at)
            if found is None:
                raise UncertainStart(self._uncertain)
            reference = found
        if not self._starts.end(execution_id, reference):
            raise UncertainStart(self._uncertain)
        return reference

    def close(self) -> None:
        """Ends all searches."""
        self._closing.set()

    def _launch(self, start: Start, asked_at: datetime) -> str:
        failure: ServiceError
        try:
            return start.launch()
        except NoAnswer as error:
            if not error.sent:
                raise error.error from error
            _LOGGER.warning("the start of %s has no answer; looking for it", start.name)
            failure = UncertainStart(self._uncertain)
        except Unsure as error:
            failure = error.error
        found = self._search(start, asked_at)
        if found is None:
            raise failure
        return found

    def _find(self, start: Start, asked_at: datetime) -> str | None:
        """The run of a start that was asked for at about this time and has no known outcome.

        None when there is none, or when several could be it, or it could be another start's.
        """
        since = asked_at + timedelta(seconds=self._clock_ahead()) - _SKEW
        candidates = start.runs(since, since + _LATEST)
        # Counted before those with a known start are left out: one that gets its answer in between is in either.
        open_ = self._starts.open(start.place, asked_at - _LATEST - _SKEW, asked_at + _LATEST + _SKEW)
        known = self._starts.known(candidates)
        left = [candidate for candidate in candidates if candidate not in known]
        return left[0] if len(left) == 1 and open_ == 1 else None

    def _search(self, start: Start, asked_at: datetime) -> str | None:
        # A start that was waited for in vain has taken the time that its caller has; the keeper looks on.
        deadline = time.monotonic() + min(_SEARCH, self._time_left())
        while not self._closing.wait(_SEARCH_EVERY) and time.monotonic() < deadline:
            try:
                if (found := self._find(start, asked_at)) is not None:
                    _LOGGER.info("found the start of %s that had no answer", start.name)
                    return found
            except ServiceError as error:
                _LOGGER.info("can't look for the start of %s: %s", start.name, error.detail)
        return None
