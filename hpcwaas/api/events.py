"""The format of event streams (WHATWG HTML, 9.2 "Server-sent events"), and who wants one."""

from __future__ import annotations

import re
from typing import Any

from flask import Request, Response

from hpcwaas.api import views
from hpcwaas.errors import NotAcceptable

MEDIA_TYPE = "text/event-stream"

HEARTBEAT = b":\n\n"
"""A comment: it tells proxies and clients that the stream is alive, and nothing else."""

_ENDS = re.compile("\r\n|\r|\n")


def event(kind: str, data: str, event_id: str | None = None) -> bytes:
    """An event as it is sent.

    Args:
        data: any text; a client gets its lines as they are, with a line feed between them.
        event_id: by which a stream can be gone on with; without one the client keeps that of the event before.
    """
    lines = [f"event: {kind}", *(f"data: {line}" for line in _ENDS.split(data))]
    if event_id is not None:
        lines.insert(0, f"id: {event_id}")
    return "\n".join([*lines, "", ""]).encode(errors="replace")


def document(kind: str, data: Any, event_id: str | None = None) -> bytes:
    """An event whose data is a JSON document; see `event`."""
    return event(kind, views.text(data), event_id)


def retry(milliseconds: int) -> bytes:
    """Tells a client how long to wait before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()


def preferred(request: Request) -> bool:
    """Whether who asks names event streams, and likes JSON no better. Whoever takes anything gets JSON, as ever."""
    accepted = request.accept_mimetypes
    named = max((quality for kind, quality in accepted if kind.partition(";")[0].lower() == MEDIA_TYPE), default=0.0)
    return named > 0 and named >= accepted["application/json"]


def require(request: Request) -> None:
    """Refuses who doesn't take an event stream, where there is nothing else.

    Raises:
        NotAcceptable: they don't.
    """
    if request.headers.get("Accept", "").strip() and not request.accept_mimetypes[MEDIA_TYPE]:
        raise NotAcceptable(f"This is an event stream: `Accept` has to take {MEDIA_TYPE}.")


def last_id(request: Request) -> str | None:
    """The id of the event that a client has got last; None when it has got none."""
    return request.headers.get("Last-Event-ID", "").strip() or None


def response(first: bytes) -> Response:
    """The beginning of a stream."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(iter((first,)), headers=headers, content_type=MEDIA_TYPE)  # of unknown length
