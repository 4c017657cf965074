"""`/health`: the probes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from flask import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hpcwaas.api import views
from hpcwaas.api.answers import answer
from hpcwaas.core import policy
from hpcwaas.core.health import Health, Report
from hpcwaas.core.people import Principal
from hpcwaas.errors import Unauthorized

_LIVE = "/health/live"
_READY = "/health/ready"


class Probes:
    """Answers strangers' probes on the event loop, before anything else: without a thread, without waiting in turn.

    Who sends credentials to `/health/ready` may be shown more; that request goes on.
    """

    def __init__(self, app: ASGIApp, health: Health) -> None:
        self._app = app
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        path = scope["path"] if scope["type"] == "http" else None
        if path == _LIVE:
            await _answer(send, 200, {"status": "ok"}, {})
            return
        if path == _READY:
            checks, patience = self._health.look()
            if checks:
                await asyncio.wait([asyncio.wrap_future(check) for check in checks], timeout=patience)
            if "authorization" not in Headers(scope=scope):
                report = self._health.report()
                await _answer(send, _status(report), {"status": report.status}, _headers(report))
                return
        await self._app(scope, receive, send)


class HealthHandlers:
    """The handler of what `Probes` leaves."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def get_readiness(self, principal: Principal | None = None) -> Response:
        """Shows operators the state of everything that the service depends on, others whether it can serve.

        Raises:
            Unauthorized: credentials were sent, and they are wrong.
        """
        report = self._health.report()
        document: dict[str, Any] = {"status": report.status}
        if principal is None and report.status != "failed":
            # Without its store the service knows nobody. That isn't the caller's fault, and the state says so.
            raise Unauthorized("Credentials are missing or wrong.")
        if principal is not None and policy.is_operator(principal):
            document["checks"] = [views.check(check) for check in report.checks]
        return views.answer(document, _status(report), _headers(report))


def _status(report: Report) -> int:
    return 503 if report.status == "failed" else 200


def _headers(report: Report) -> dict[str, str]:
    return {"Cache-Control": "no-store", **({"Retry-After": "5"} if report.status == "failed" else {})}


async def _answer(send: Send, status: int, document: Mapping[str, str], headers: Mapping[str, str]) -> None:
    body = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    await answer(send, status, {"Content-Type": "application/json", **headers}, body)
