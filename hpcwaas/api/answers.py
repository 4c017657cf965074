"""Answers that are given before a request gets to Connexion."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope, Send

from hpcwaas.api.problems import problem


async def refuse(scope: Scope, send: Send, status: int, detail: str, headers: Mapping[str, str]) -> None:
    """Answers with a problem."""
    body, own = problem(status, detail, scope["extensions"].get("hpcwaas.request_id"), scope["path"])
    await answer(send, status, {**own, **headers}, b"" if scope["method"] == "HEAD" else body)


async def answer(send: Send, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
    """Answers with a body that is there."""
    listed = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    if status != 204:
        listed.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})
