"""The path below which a reverse proxy shows the service to its clients, so that links lead back through the proxy."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpcwaas.api.answers import refuse
from hpcwaas.common.setting_types import is_prefix

FORWARDED = "hpcwaas.forwarded_prefix"
"""Extension of the scope: `X-Forwarded-Prefix`, where a trusted proxy sent it."""

_PREFIX: ContextVar[str] = ContextVar("prefix", default="")


def outside(path: str) -> str:
    """A path of the contract as the client of this request sees it."""
    return _PREFIX.get() + path


def inside(value: Any) -> Any:
    """Inputs, in which locations of outputs may be as clients see them, with those of the contract."""
    prefix = _PREFIX.get()
    return _inside(value, f"{prefix}/executions/", len(prefix)) if prefix else value


def _inside(value: object, seen: str, length: int) -> object:
    if isinstance(value, list):
        return [_inside(item, seen, length) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _inside(item, seen, length) for name, item in value.items()}
    location = found.get("location")
    if isinstance(location, str) and location.startswith(seen):
        found["location"] = location[length:]
    return found


class Prefix:
    """Takes the prefix off the paths of requests, whether the proxy has done so already or not, and puts it before
    `Location`.

    Args:
        configured: `server.root_path`; when empty, what a trusted proxy says in `X-Forwarded-Prefix` counts.
    """

    def __init__(self, app: ASGIApp, configured: str) -> None:
        self._app = app
        self._configured = configured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        prefix = self._configured or scope.get("extensions", {}).get(FORWARDED, "").rstrip("/")
        if scope["type"] != "http" or not prefix:
            await self._app(scope, receive, send)
            return
        if not self._configured and not is_prefix(prefix):
            detail = "The header `X-Forwarded-Prefix` isn't a path such as /workflows-api."
            await refuse(scope, send, 400, detail, {})
            return

        async def send_outside(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                location = headers.get("location", "")
                if location.startswith("/"):
                    headers["location"] = prefix + location
            await send(message)

        path: str = scope["path"]
        if self._configured and (path == prefix or path.startswith(f"{prefix}/")):
            scope = {**scope, "path": path[len(prefix) :] or "/"}
        token = _PREFIX.set(prefix)
        try:
            await self._app(scope, receive, send_outside)
        finally:
            _PREFIX.reset(token)
