"""Following an execution until it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .client import Client
from .errors import ExitCode, Interrupted, NotFound, Unreachable
from .retry import pause
from .urls import path

OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
_POLL = "30s"
_POLL_SECONDS = 30.0
_OLD_POLL = "3s"
_PATIENCE_SECONDS = 600.0
_SAY_SECONDS = 120.0
"""How often the user is told that the command still waits for an answer."""
_LONGEST_PAUSE_SECONDS = 60.0
_SHORTEST_POLL_SECONDS = 0.1


def outcome(execution: Mapping[str, Any]) -> ExitCode:
    """The exit code that tells how an execution ended."""
    ends = {"SUCCEEDED": ExitCode.OK, "FAILED": ExitCode.FAILED, "CANCELLED": ExitCode.CANCELLED}
    return ends.get(str(execution.get("status")).upper(), ExitCode.ERROR)


class Reporter(Protocol):
    """Shows what happens."""

    def execution(self, execution: dict[str, Any]) -> None:
        """The execution as it is now; called first, whenever it may have changed, and last when it is over."""

    def entry(self, entry: dict[str, Any]) -> None:
        """A further entry of the log."""

    def note(self, message: str) -> None:
        """Something beside the result."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the log is shown.

    Attributes:
        logs: whether entries are shown at all.
        levels: sum of the wanted levels, 0 for all but DEBUG.
        start: index of the first entry.
    """

    logs: bool = False
    levels: int = 0
    start: int = 0


class Follower:
    """Follows one execution by long polls of its log, each entry once and in order.

    Args:
        sleep, clock: the time.
    """

    def __init__(
        self,
        client: Client,
        execution_id: str,
        reporter: Reporter,
        wanted: Wanted,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._id = execution_id
        self._reporter = reporter
        self._wanted = wanted
        self._sleep = sleep
        self._clock = clock
        self._next = wanted.start
        self._answered = False
        # The first poll returns at once and shows whether the service says when it is `over`.
        self._timeout = "0"

    def run(self) -> dict[str, Any]:
        """Follows to the end.

        Returns:
            the execution when it was over.

        Raises:
            Interrupted: Ctrl-C; the execution goes on.
            Unreachable: the service doesn't answer any more.
        """
        try:
            return self._run()
        except KeyboardInterrupt:
            raise Interrupted(
                f"You stopped following the execution {self._id}, which goes on.",
                hint=f"To follow it again: waas executions logs {self._id} -f\n"
                f"To cancel it:       waas executions cancel {self._id}",
            ) from None

    def _run(self) -> dict[str, Any]:
        execution = self._execution()
        while True:
            if self._poll(execution):
                return self._execution()
            execution = self._execution()

    def _poll(self, execution: dict[str, Any]) -> bool:
        """Waits for something new and shows it. True when the execution and its log are over."""
        ended = execution["status"].upper() in OVER
        started = self._clock()
        page = self._ask(
            path("executions", self._id, "logs"),
            **{"from": self._next, "timeout": "0" if ended else self._timeout, "levels": self._wanted.levels},
            # When the log isn't shown, it is enough to know that it grew.
            size=-1 if self._wanted.logs else 1,
        )
        entries = page.get("logs") or ()
        if self._wanted.logs:
            for entry in entries:
                self._reporter.entry(entry)
            self._next += len(entries)
        else:
            self._next = max(self._next + len(entries), int(page.get("total_results") or 0))
        if not entries and self._timeout != "0" and self._clock() - started < _SHORTEST_POLL_SECONDS:
            self._sleep(_SHORTEST_POLL_SECONDS)  # a service that doesn't wait itself isn't to be flooded
        if "over" in page:
            self._timeout = _POLL
            # `over` speaks of the log as it is now, and a page may hold a part of it only.
            return bool(page["over"]) and (not entries or self._next >= int(page.get("total_results") or 0))
        self._timeout = _OLD_POLL
        # An older service doesn't say. After its end, an empty page is the last one.
        return ended and not entries

    def _execution(self) -> dict[str, Any]:
        execution: dict[str, Any] = self._ask(path("executions", self._id))
        if not execution.get("id"):
            # That is how an older service says it.
            raise NotFound(f"There is no execution with the id {self._id}.")
        self._reporter.execution(execution)
        return execution

    def _ask(self, where: str, **params: Any) -> Any:
        """The JSON answer to a GET. After the first answer, it outlasts a restart of the service."""
        lost: float | None = None
        said = _PATIENCE_SECONDS
        attempt = 0
        while True:
            try:
                response = self._client.request(
                    "GET", where, params=params, timeout=2 * _POLL_SECONDS, retry=False, quiet=self._answered
                )
            except Unreachable as failure:
                now = self._clock()
                lost = now if lost is None else lost
                left = lost + _PATIENCE_SECONDS - now
                if not self._answered or left < 0:
                    raise
                if attempt == 0 or said - left >= _SAY_SECONDS:
                    said = left
                    self._reporter.note(f"{failure.message} Trying again for {max(left / 60, 1):.0f} minutes.")
                attempt += 1
                self._sleep(min(max(pause(attempt), failure.retry_after or 0), _LONGEST_PAUSE_SECONDS))
                continue
            if lost is not None:
                self._reporter.note("The service answers again.")
            self._answered = True
            return self._client.decode(response)
