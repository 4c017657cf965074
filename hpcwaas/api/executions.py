"""`/executions`."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import flask
from flask import Response
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

from hpcwaas.api import views
from hpcwaas.core.executions import Executions
from hpcwaas.core.models import ExecutionFilter, Status
from hpcwaas.core.outputs import OutputArchive, OutputFile, OutputValue
from hpcwaas.core.people import Principal
from hpcwaas.core.removals import Removals
from hpcwaas.errors import BadRequest, PreconditionFailed, RangeNotSatisfiable


class ExecutionHandlers:
    """Handlers of the operations on executions."""

    def __init__(self, executions: Executions, removals: Removals) -> None:
        self._executions = executions
        self._removals = removals

    def list_executions(
        self,
        principal: Principal,
        limit: int,
        owner: str | None = None,
        shared: bool = False,
        cursor: str | None = None,
        workflow: str | None = None,
        inputs_from: str | None = None,
        status: list[str] | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        id_: list[str] | None = None,
    ) -> Response:
        """Lists executions."""
        wanted = ExecutionFilter(
            owner=owner,
            shared_with=principal if shared else None,
            workflow_id=workflow,
            inputs_from=inputs_from,
            statuses=None if status is None else frozenset(map(Status, status)),
            created_after=_moment("created_after", created_after),
            created_before=_moment("created_before", created_before),
            ids=None if id_ is None else frozenset(id_),
        )
        found, following = self._executions.page(principal, wanted, limit, cursor)
        return views.answer({"executions": [views.execution_summary(item) for item in found], "next_cursor": following})

    def get_execution(self, principal: Principal, execution_id: str) -> Response:
        """Shows an execution."""
        execution = self._executions.get(principal, execution_id)
        headers = views.staleness(execution.state.stale_since)
        return views.answer(views.execution(execution), headers=headers, as_written=True)

    def cancel_execution(self, principal: Principal, execution_id: str, purge: bool = False) -> Response:
        """Cancels an execution, or removes one that has ended."""
        if purge:
            removal = self._removals.remove(principal, execution_id)
            gone = removal.waits_for is None
            return views.empty(204 if gone else 202, views.remark(removal.left if gone else removal.waits_for))
        execution = self._executions.cancel(principal, execution_id)
        return views.empty(202, views.remark(execution.state.reason))

    def close_execution(self, principal: Principal, execution_id: str, body: dict[str, Any]) -> Response:
        """Closes an execution that its engine will never end."""
        execution = self._executions.close(principal, execution_id, body["reason"].strip())
        return views.answer(views.execution(execution), as_written=True)

    def resume_execution(self, principal: Principal, execution_id: str) -> Response:
        """Resumes a failed execution."""
        self._executions.resume(principal, execution_id)
        return views.empty(202)

    def get_execution_output(
        self, principal: Principal, execution_id: str, output_name: str, archive: str, path: str | None = None
    ) -> Response:
        """Fetches an output."""
        output = self._executions.output(principal, execution_id, output_name, path, archive)
        match output:
            case OutputValue(value):
                return views.answer(value, as_written=True)
            case OutputArchive(name, media_type, chunks):
                response = Response(chunks, mimetype=media_type)
                _attach(response, name)
                return response
            case OutputFile():
                return _file(output)


def _file(file: OutputFile) -> Response:
    """The file, the part of it that was asked for, or that it hasn't changed."""
    request = flask.request
    response = Response(
        wrap_file(request.environ, file.stream, 256 * 1024), mimetype=file.media_type, direct_passthrough=True
    )
    _attach(response, file.name)
    response.content_length = file.size
    response.last_modified = file.modified_at
    response.set_etag(file.etag)
    response.cache_control.private = True
    response.cache_control.no_cache = True
    # Units other than bytes and lists of parts may be ignored (RFC 9110, 14.2), and what hasn't changed has no parts.
    parts = request.headers.get("Range", "").startswith("bytes=") and "," not in request.headers["Range"]
    if parts and request.if_none_match.contains_weak(file.etag):
        parts = False
    try:
        response.make_conditional(request, accept_ranges=parts, complete_length=file.size if parts else None)
    except RequestedRangeNotSatisfiable:
        file.stream.close()
        raise RangeNotSatisfiable(file.size) from None
    if response.status_code == HTTPStatus.PRECONDITION_FAILED:
        file.stream.close()
        raise PreconditionFailed("The file has changed: its `ETag` isn't the one of `If-Match`.")
    response.headers["Accept-Ranges"] = "bytes"
    return response


def _attach(response: Response, name: str) -> None:
    """Offers the answer for download under a name. A tool may have put any character into it (RFC 6266, RFC 8187)."""
    printable = "".join(character if character.isprintable() else "_" for character in name)
    options = {"filename": printable.encode("ascii", "replace").decode()}
    if not printable.isascii():
        options["filename*"] = f"UTF-8''{quote(printable, safe='', errors='replace')}"
    response.headers.set("Content-Disposition", "attachment", **options)


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # A `+` in a query is a blank unless it is encoded, which people forget.
        value = datetime.fromisoformat(text.upper().replace(" ", "+") if "T" in text.upper() else text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        raise BadRequest(f"The query parameter `{name}` is {text!r}; expected a time such as 2026-11-01T12:00:00Z.")
    return value
