"""Decides which requests are acts, and has them recorded."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeAlias

from cachetools import LRUCache
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpcwaas.api.bridge import HEAD
from hpcwaas.common.moments import rfc3339
from hpcwaas.core import acts
from hpcwaas.core.people import Principal

Record: TypeAlias = Callable[[Mapping[str, object]], None]
"""Records an act; see `hpcwaas.store.audit`."""

CALLER = "hpcwaas.caller"
"""Extension of the scope: who calls (`Principal`), and by which scheme."""

_OUTPUT, _LOG = "getExecutionOutput", "getExecutionLogs"
"""What takes results out of the service: recorded when it is done by their owner, too."""

_FOLLOWED = 3600.0
"""Seconds for which somebody who follows a log of their own is recorded once."""

_MOST_FOLLOWED = 10_000

_READING = frozenset({"GET", "HEAD"})
_WAITING = frozenset({"authorization_pending", "slow_down"})
"""Answers to a machine that asks every few seconds whether its user has let it in."""


class Auditing:
    """Records each act before it is answered: whoever has the answer finds the record.

    An act is whatever may change something; what reveals somebody else's object, or is otherwise noted in
    `hpcwaas.core.acts`; what takes results out; and the refusal of credentials. Acts of whom nobody knows are counted.

    Args:
        record: records an act; see `hpcwaas.store.audit`.
    """

    def __init__(self, app: ASGIApp, record: Record, strangers: Strangers) -> None:
        self._app = app
        self._record = record
        self._strangers = strangers
        self._followed: LRUCache[tuple[str, str], float] = LRUCache(_MOST_FOLLOWED)

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
        if (not notes and not self._is_act(scope, operation, status, caller)) or notes.get("error") in _WAITING:
            return
        address = (scope.get("client") or ("", 0))[0]
        if caller is None and "who" not in notes:
            self._strangers.count(address, f"{operation} {status}")
            return
        act: dict[str, object] = {
            "request_id": extensions["hpcwaas.request_id"],
            "who": caller[0].subject if caller else None,
            "credential": _credential(*caller) if caller else None,
            "operation": operation,
            "object": scope["path"],
            "result": status,
            "address": address,
        }
        if answer is not None and status == HTTPStatus.CREATED:
            act["created"] = Headers(raw=answer["headers"]).get("location")
        self._record(act | notes)

    def _is_act(self, scope: Scope, operation: str, status: int | None, caller: tuple[Principal, str] | None) -> bool:
        if scope["method"] not in _READING or _refused(scope, status, caller is not None):
            return True
        if caller is None or status is None or status >= HTTPStatus.BAD_REQUEST or scope["extensions"].get(HEAD):
            return False
        return operation == _OUTPUT or (operation == _LOG and self._is_first_look(caller[0].subject, scope["path"]))

    def _is_first_look(self, subject: str, path: str) -> bool:
        now, key = time.monotonic(), (subject, path)
        if now - self._followed.get(key, -_FOLLOWED) < _FOLLOWED:
            return False
        self._followed[key] = now
        return True


class Strangers:
    """Counts what those do whom the service doesn't know, by address, and records a line a minute for each.

    They can send as much as they like; a line for each request would fill the disk.

    Args:
        record: as for `Auditing`.
    """

    EVERY = 60.0
    MOST = 200
    """Addresses with a line of their own. What comes from more of them in the same minute is counted as one."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._counts: dict[str | None, Counter[str]] = {}
        self._since = datetime.now(UTC)
        self._timer: threading.Timer | None = None

    def count(self, address: str, request: str) -> None:
        """Counts a request.

        Args:
            request: operation and status.
        """
        with self._lock:
            if self._timer is None:
                self._since = datetime.now(UTC)
                self._timer = threading.Timer(self.EVERY, self.flush)
                self._timer.daemon = True
                self._timer.start()
            known = address in self._counts or len(self._counts) < self.MOST
            self._counts.setdefault(address if known else None, Counter())[request] += 1

    def flush(self) -> None:
        """Records what was counted."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            counts, self._counts, self._timer = self._counts, {}, None
            since = rfc3339(self._since)
        for address, requests in counts.items():
            self._record(
                {
                    "who": None,
                    "operation": "strangers",
                    "address": address,
                    "since": since,
                    "count": requests.total(),
                    "requests": dict(requests),
                }
            )


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
