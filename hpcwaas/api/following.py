"""Following executions: long polls of their logs, and event streams."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import flask
from flask import Response

from hpcwaas.api import durations, events, views
from hpcwaas.api.bridge import park, time_left
from hpcwaas.api.streaming import go_on
from hpcwaas.api.streams import AllStream, ExecutionStream, LogStream, Place, Streamed
from hpcwaas.core.changes import Changes
from hpcwaas.core.executions import Executions
from hpcwaas.core.logs import Logs
from hpcwaas.core.models import Level
from hpcwaas.core.people import Principal
from hpcwaas.errors import BadRequest

_ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR
_USUAL = _ALL & ~Level.DEBUG

_OLD_CLIENT = "Go-http-client/"
"""What the `waas` of the service before this one calls itself. It never says how long to wait, nor knows of `over`."""
_OLD_CLIENT_WAITS = 45.0
"""Seconds for which it is let wait at most: after 60 it takes the service for dead."""
_OLD_CLIENT_RESTS = 5.0
"""Seconds for which it is let wait after the end: with `-f` it asks again at once, until its user stops it."""


@dataclass(frozen=True, slots=True)
class _LogRequest:
    """What somebody wants to see of a log.

    Attributes:
        wait: seconds for which they wait for more.
        environ: of WSGI.
    """

    principal: Principal
    execution_id: str
    levels: Level
    start: int
    size: int
    wait: float
    old_client: bool
    environ: dict[str, Any]


class FollowingHandlers:
    """Handlers of the operations that follow executions.

    Args:
        longest_poll: seconds after which who follows a log by pages is answered even without news.
    """

    def __init__(self, executions: Executions, logs: Logs, changes: Changes, longest_poll: int) -> None:
        self._streamed = Streamed(executions, logs, changes)
        self._executions = executions
        self._logs = logs
        self._longest_poll = longest_poll

    def get_execution_logs(
        self, principal: Principal, execution_id: str, from_: int, size: int, timeout: str, levels: int
    ) -> Response:
        """Reads or follows a log, as a page or as an event stream."""
        if events.preferred(flask.request):
            return self._stream_log(principal, execution_id, from_, levels)
        old_client = "timeout" not in flask.request.args and flask.request.user_agent.string.startswith(_OLD_CLIENT)
        wait = min(durations.seconds(timeout), self._longest_poll)
        if old_client:
            wait = min(wait, _OLD_CLIENT_WAITS)
        asked = _LogRequest(
            principal, execution_id, wanted_levels(levels), from_, size, wait, old_client, flask.request.environ
        )
        return self._log(asked)

    def _log(self, asked: _LogRequest) -> Response:
        """The part of a log that is asked for, unless it is worth while to wait for more."""
        environ = asked.environ
        view = self._logs.read(asked.principal, asked.execution_id, asked.levels, asked.start, asked.size)
        again = partial(self._log, asked)
        if view.watch is not None:
            left = time_left(environ, asked.wait)
            if left > 0 and (follow := self._logs.follow(asked.principal, view.watch)) is not None:
                park(environ, follow, left, again)
        elif (
            asked.old_client
            and (view.page.over and view.page.total <= asked.start)
            and (left := time_left(environ, _OLD_CLIENT_RESTS)) > 0
            and (rest := self._logs.rest(asked.principal)) is not None
        ):
            park(environ, rest, left, again)
        headers = {**views.staleness(view.stale_since), "Vary": "Accept"}
        return views.answer(views.logs(view, asked.start), headers=headers)

    def get_execution_events(self, principal: Principal, execution_id: str) -> Response:
        """Follows the state of an execution."""
        execution = self._executions.get(principal, execution_id)
        events.require(flask.request)
        last = _last(r"([A-Za-z0-9_-]{8})(-end)?")
        stream = ExecutionStream(self._streamed, principal, execution, last and last[1])
        return _begin(stream, ended=last is not None and last[2] is not None)

    def get_events(self, principal: Principal, shared: bool = False) -> Response:
        """Follows the states of all executions of who asks."""
        events.require(flask.request)
        last = _last(r"[A-Za-z0-9_-]+")
        place = None if last is None else Place.read(last[0])
        if last is not None and place is None:
            raise _wrong(last[0])
        return _begin(AllStream(self._streamed, principal, place, shared=shared))

    def _stream_log(self, principal: Principal, execution_id: str, start: int, levels: int) -> Response:
        last = _last(r"(?:([0-9]{1,18})(-end)?|end)")
        wanted = wanted_levels(levels)
        view = self._logs.read(principal, execution_id, wanted, 0, 0)  # refuses what can't be read
        after = int(last[1]) if last and last[1] else None
        if after is not None:
            start = self._streamed.position(principal, execution_id, wanted, after, view.page.total)
        stream = LogStream(self._streamed, principal, execution_id, wanted, start, after)
        return _begin(stream, ended=last is not None and last[0].endswith("end"))


def _begin(stream: LogStream | ExecutionStream | AllStream, *, ended: bool = False) -> Response:
    """The beginning of an answer that goes on.

    Args:
        ended: whether its client knows of its end: it doesn't connect again then, unless there is more.
    """
    if ended and stream.known_to_its_end():
        stream.close()
        return views.empty(204)
    go_on(flask.request.environ, stream)
    response = events.response(events.retry(stream.retry))
    response.headers["Vary"] = "Accept"
    return response


def _last(form: str) -> re.Match[str] | None:
    """The id of the event that a client has got last; None when it has got none.

    Raises:
        BadRequest: it isn't one of this stream's.
    """
    given = events.last_id(flask.request)
    if given is None:
        return None
    found = re.fullmatch(form, given)
    if found is None:
        raise _wrong(given)
    return found


def _wrong(given: str) -> BadRequest:
    return BadRequest(
        f"The header `Last-Event-ID` is {given[:50]!r}, which isn't an id of this stream's events: send the last `id` "
        "that came, as it came, or leave the header out."
    )


def wanted_levels(mask: int) -> Level:
    """The levels of the wire's bit mask. Bits without a meaning are ignored; without any level, the usual ones."""
    return Level(mask & _ALL) or (_ALL if mask else _USUAL)
