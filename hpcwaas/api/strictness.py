"""Refuses requests of which a part would otherwise be ignored, guessed or changed in silence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from hpcwaas.api.answers import refuse

_ONCE = frozenset(
    (b"authorization", b"content-type", b"idempotency-key", b"origin", b"range", b"sec-fetch-site", b"user-agent")
)
"""Headers of which the service reads one value."""

_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class _Fault(NamedTuple):
    status: int
    detail: str
    headers: Mapping[str, str] = {}


class Strictness:
    """Refuses headers that are given twice or ask for what there isn't, and addresses that aren't UTF-8."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http" and (fault := _in_headers(scope) or _in_address(scope)):
            await refuse(scope, send, *fault)
        else:
            await self._app(scope, receive, send)


def _in_headers(scope: Scope) -> _Fault | None:
    seen = set()
    for name, value in scope["headers"]:
        if name in _ONCE:
            if name in seen:
                return _Fault(400, f"The header `{name.decode().title()}` is given more than once.")
            seen.add(name)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            given = value.decode("latin-1")[:100]
            detail = f"The body's `Content-Encoding` is {given}: send it as it is, not compressed or otherwise encoded."
            return _Fault(415, detail, {"Accept-Encoding": "identity"})
        elif name == b"expect" and value.lower() != b"100-continue":
            return _Fault(417, "The only `Expect` that this service accepts is `100-continue`.")
    return None


def _in_address(scope: Scope) -> _Fault | None:
    path = (scope.get("raw_path") or b"").partition(b"?")[0]
    if b"%" in path and (wrong := _wrong(path)):
        return _Fault(400, f"The path contains {wrong}.")
    query: bytes = scope["query_string"]
    if b"%" in query and _wrong(query):
        for parameter in query.split(b"&"):
            if wrong := _wrong(parameter):
                name = parameter.partition(b"=")[0].decode("latin-1")[:100]
                return _Fault(400, f"The query parameter `{name}` contains {wrong}.")
    return None


def _wrong(text: bytes) -> str | None:
    """What is wrong with a percent-encoded text."""
    if broken := _BROKEN.search(text):
        return f"`{text[broken.start() : broken.start() + 3].decode('latin-1')}`, which is no percent-encoded character"
    plain = unquote_to_bytes(text)
    try:
        plain.decode()
    except UnicodeDecodeError as error:
        return f"`%{plain[error.start]:02X}`, which isn't UTF-8 there"
    return "a NUL character" if b"\0" in plain else None
