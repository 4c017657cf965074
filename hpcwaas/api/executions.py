"""`/executions`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import flask
from flask import Response
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

from hpcwaas.api import durations, views
from hpcwaas.core.executions import Executions
from hpcwaas.core.logs import Logs
from hpcwaas.core.models import Level, OutputArchive, OutputFile, OutputValue, Status
from hpcwaas.errors import BadRequest, RangeNotSatisfiable

_ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR
_USUAL = _ALL & ~Level.DEBUG


class ExecutionHandlers:
    """Handlers of the operations on executions."""

    def __init__(self, executions: Executions, logs: Logs) -> None:
        self._executions = executions
        self._logs = logs

    def list_(
        self,
        token_info: dict[str, Any],
        limit: int,
        cursor: str | None = None,
        workflow: str | None = None,
        status: list[str] | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
    ) -> Response:
        """Lists executions."""
        found, following = self._executions.page(
            token_info["principal"],
            limit=limit,
            cursor=cursor,
            workflow_id=workflow,
            statuses=None if status is None else frozenset(map(Status, status)),
            created_after=_moment("created_after", created_after),
            created_before=_moment("created_before", created_before),
        )
        return views.answer({"executions": [views.execution_summary(item) for item in found], "next_cursor": following})

    def get(self, token_info: dict[str, Any], execution_id: str) -> Response:
        """Shows an execution."""
        return views.answer(views.execution(self._executions.get(token_info["principal"], execution_id)))

    def cancel(self, token_info: dict[str, Any], execution_id: str) -> Response:
        """Cancels an execution."""
        self._executions.cancel(token_info["principal"], execution_id)
        return views.empty(202)

    def logs(
        self, token_info: dict[str, Any], execution_id: str, from_: int, size: int, timeout: str, levels: int
    ) -> Response:
        """Reads or follows a log."""
        wait = durations.seconds(timeout)
        view = self._logs.read(token_info["principal"], execution_id, _levels(levels), from_, size, wait)
        return views.answer(views.logs(view, from_))

    def output(
        self, token_info: dict[str, Any], execution_id: str, output_name: str, archive: str, path: str | None = None
    ) -> Response:
        """Fetches an output."""
        output = self._executions.output(token_info["principal"], execution_id, output_name, path, archive)
        match output:
            case OutputValue(value):
                return views.answer(value)
            case OutputArchive(name, media_type, chunks):
                response = Response(chunks, mimetype=media_type)
                response.headers.set("Content-Disposition", "attachment", filename=name)
                return response
            case OutputFile():
                return _file(output)


def _file(file: OutputFile) -> Response:
    """The file, the part of it that was asked for, or that it hasn't changed."""
    request = flask.request
    response = Response(
        wrap_file(request.environ, file.stream, 256 * 1024), mimetype=file.media_type, direct_passthrough=True
    )
    response.headers.set("Content-Disposition", "attachment", filename=file.name)
    response.content_length = file.size
    response.last_modified = file.modified_at
    response.set_etag(file.etag)
    response.cache_control.private = True
    response.cache_control.no_cache = True
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=file.size)
    except RequestedRangeNotSatisfiable:
        file.stream.close()
        raise RangeNotSatisfiable(file.size) from None
    return response


def _levels(mask: int) -> Level:
    """The levels of the wire's bit mask. Bits without a meaning are ignored; without any level, the usual ones."""
    return Level(mask & _ALL) or (_ALL if mask else _USUAL)


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # A `+` in a query is a blank unless it is encoded, which people forget.
        value = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        raise BadRequest(f"The query parameter `{name}` is {text!r}; expected a time such as 2026-11-01T12:00:00Z.")
    return value
