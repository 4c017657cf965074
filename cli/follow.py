"""Following an execution until it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import requests

from . import streams
from .client import Client
from .errors import ExitCode, Interrupted, NotFound, Unreachable, UsageError
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
_SHORTEST_STREAM_SECONDS = 5.0
_SHORT_STREAMS = 3
"""So many streams in a row that were cut soon, without an event, are enough."""


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
    """Follows one execution, by an event stream where the service has one, else by long polls of its log; each entry
    comes once and in order.

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
        self._streams = True
        self._short = 0
        self._last: str | None = None

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
            if self._stream() if self._streams else self._poll(execution):
                return self._execution()
            execution = self._execution()

    def _stream(self) -> bool:
        """Shows what a stream brings, until it ends or is cut. True when the execution and its log are over."""
        logs, began = self._wanted.logs, self._clock()
        wanted = {"from": self._wanted.start, "levels": self._wanted.levels, "timeout": "0"} if logs else {}
        where = path("executions", self._id, "logs" if logs else "events")
        try:
            answer = self._answer(where, wanted, headers=streams.headers(self._last), stream=True)
        except (NotFound, UsageError):
            self._streams = False  # the service has none; or there is no such execution, as it will say again
            return False
        with answer:
            if answer.status_code == requests.codes.no_content:
                return True
            if not streams.is_stream(answer):
                self._streams = False
                # What a service without streams answers is a page; a proxy that holds a stream back never ends one.
                page = logs and "json" in answer.headers.get("Content-Type", "")
                return self._page(self._client.decode(answer), ended=False) if page else False
            try:
                for event in streams.events(answer):
                    self._show(event)
                    if event.kind == "end":
                        # Else it says that it isn't there, or who asks may not: as it will to the next request.
                        return event.data.get("reason") == "over"
                    self._short = 0
            except requests.RequestException:
                pass  # by the service's restart, or a proxy
        # A proxy that lets no stream through cuts each.
        self._short += self._clock() - began < _SHORTEST_STREAM_SECONDS
        self._streams = self._short < _SHORT_STREAMS
        self._sleep(pause(max(self._short, 1)))
        return False

    def _show(self, event: streams.Event) -> None:
        self._last = event.id or self._last
        if event.kind == "execution":
            self._reporter.execution(dict(event.data))
        elif event.kind == "log":
            self._next += 1
            self._reporter.entry(dict(event.data))
        elif event.kind == "problem":
            self._reporter.note(f"There is no news for now. {event.data.get('detail')}")
        elif event.kind == "recovered":
            self._reporter.note("The service has news again.")

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
        if not page.get("logs") and self._timeout != "0" and self._clock() - started < _SHORTEST_POLL_SECONDS:
            self._sleep(_SHORTEST_POLL_SECONDS)  # a service that doesn't wait itself isn't to be flooded
        return self._page(page, ended=ended)

    def _page(self, page: dict[str, Any], *, ended: bool) -> bool:
        """Shows what is new in a page. True when that was all.

        Args:
            ended: whether the execution had ended before it was asked for.
        """
        entries = page.get("logs") or ()
        if self._wanted.logs:
            for entry in entries:
                self._reporter.entry(entry)
            self._next += len(entries)
        else:
            self._next = max(self._next + len(entries), int(page.get("total_results") or 0))
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
        """The JSON answer to a GET."""
        return self._client.decode(self._answer(where, params))

    def _answer(self, where: str, params: Mapping[str, Any], **options: Any) -> requests.Response:
        """The answer to a GET. After the first answer, it outlasts a restart of the service."""
        lost: float | None = None
        said = _PATIENCE_SECONDS
        attempt = 0
        while True:
            try:
                response = self._client.request(
                    "GET", where, params=params, timeout=2 * _POLL_SECONDS, retry=False, quiet=self._answered, **options
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
            return response
