"""Decides which requests are acts, and has them recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpcwaas.core import acts
from hpcwaas.core.models import Principal

CALLER = "hpcwaas.caller"
"""Extension of the scope: who calls (`Principal`), and by which scheme."""

_READING = frozenset({"GET", "HEAD"})
_WAITING = frozenset({"authorization_pending", "slow_down"})
"""Answers to a machine that asks every few seconds whether its user has let it in."""


class Auditing:
    """Records each act before it is answered: whoever has the answer finds the record.

    An act is whatever may change something; what reveals somebody else's object, or is otherwise noted in
    `hpcwaas.core.acts`; and the refusal of credentials.

    Args:
        record: records an act; see `hpcwaas.audit`.
    """

    def __init__(self, app: ASGIApp, record: Callable[[Mapping[str, object]], None]) -> None:
        self._app = app
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes = acts.begin()
        answered = False

        async def send_recorded(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self._decide(scope, notes, message)
            await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        finally:
            if not answered:  # the client has gone, or the service stops
                self._decide(scope, notes, None)

    def _decide(self, scope: Scope, notes: dict[str, object], answer: Message | None) -> None:
        extensions = scope["extensions"]
        operation = extensions.get("connexion_routing", {}).get("operation_id")
        if operation is None:
            return
        status = answer["status"] if answer is not None else None
        caller: tuple[Principal, str] | None = extensions.get(CALLER)
        reading = scope["method"] in _READING
        if reading and not notes and not _refused(scope, status, caller is not None):
            return
        if notes.get("error") in _WAITING:
            return
        act: dict[str, object] = {
            "request_id": extensions["hpcwaas.request_id"],
            "who": caller[0].subject if caller else None,
            "credential": _credential(*caller) if caller else None,
            "operation": operation,
            "object": scope["path"],
            "result": status,
            "address": (scope.get("client") or ("", 0))[0],
        }
        if answer is not None and status == HTTPStatus.CREATED:
            act["created"] = Headers(raw=answer["headers"]).get("location")
        self._record(act | notes)


def _refused(scope: Scope, status: int | None, known: bool) -> bool:
    """Whether somebody's credentials were wrong or too weak, or were tried too often."""
    match status:
        case HTTPStatus.FORBIDDEN:
            return True
        case HTTPStatus.TOO_MANY_REQUESTS:
            return not known
        case HTTPStatus.UNAUTHORIZED:
            return "authorization" in Headers(scope=scope)  # a request without any tries nothing
    return False


def _credential(principal: Principal, scheme: str) -> str:
    if principal.session is None:
        return scheme
    return f"{'session' if principal.scopes is None else 'token'} {principal.session}"
