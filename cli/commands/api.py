"""`waas api`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from .. import literals, printing
from ..base import Command
from ..errors import UsageError
from ..literals import Wrong
from ..local_paths import typed
from ..state import State, pass_state
from ..text import clean

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
_OURS = ("authorization", "host", "content-length", "cookie")
"""Headers that say who asks whom, which the command knows itself."""


@click.command(cls=Command, name="api")
@click.argument("method", type=click.Choice(_METHODS, case_sensitive=False))
@click.argument("where", metavar="PATH")
@click.option(
    "-d", "--data", metavar="DATA", help="The body: JSON, or @FILE for the bytes of a file, or @- for those of stdin."
)
@click.option("-H", "--header", "headers", metavar="NAME:VALUE", multiple=True, help="A header; may be repeated.")
@click.option("-I", "--include", is_flag=True, help="Show the status and the headers of the answer, on stderr.")
@pass_state
def command(state: State, method: str, where: str, data: str | None, headers: tuple[str, ...], include: bool) -> None:
    """Send a request to the service, as you, and print the answer.

    PATH is one of those in the service's own description, /openapi.yaml, with its query. Your credentials go to the
    service that is configured, and nowhere else. JSON is printed as the other commands print it, anything else as it
    is. Errors and exit codes are those of the other commands, too.

    A request is sent once, but for GET and HEAD, which are tried again when the service is down for a moment.

    Examples:
      waas api GET '/executions?limit=2&status=RUNNING'
      waas api GET /workflows/word-statistics -o yaml
      waas api POST /workflows/word-statistics -d '{"inputs": {"top": 5}}' --include
      waas api GET /executions/EXECUTION_ID/outputs/table > table.txt
      waas api POST '/files?name=a.txt' -d @a.txt -H Content-Type:text/plain
    """
    given = dict(map(_header, headers))
    body = None if data is None else _body(data, given)
    response = state.client.request(
        method, _checked(where), data=body, headers=given, stream=True, retry=method in ("GET", "HEAD")
    )
    with response:
        if include:
            state.note(f"{response.status_code} {response.reason}")
            for name, value in response.headers.items():
                state.note(f"{name}: {'***' if name.lower() == 'set-cookie' else value}")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "application/json" or kind.endswith("+json"):
            if response.content.strip():
                _show(state, state.client.decode(response))
        elif sys.stdout.isatty():
            printing.line(clean(response.text).rstrip("\n")) if kind.startswith("text/") or "yaml" in kind else _refuse(
                response.headers.get("Content-Length"), kind
            )
        else:
            for part in response.iter_content(1 << 16):
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()


def _show(state: State, found: Any) -> None:
    if not state.prints_json(found):
        printing.json(found)


def _refuse(size: str | None, kind: str) -> None:
    if size != "0" and kind:
        raise UsageError(f"The answer is of the type {kind}, which isn't for a terminal. Write it to a file: > FILE")


def _checked(where: str) -> str:
    """The path, if it is one of the configured service."""
    parts = urlsplit(where)
    if not where.startswith("/") or where.startswith("//") or parts.fragment or re.search(r"[\x00-\x20\x7f\\]", where):
        raise UsageError(
            f"PATH must begin with a slash, such as /executions?limit=2, not {where!r}. The address of the service is "
            "given by --api_url."
        )
    if any(part in (".", "..") for part in parts.path.split("/")):
        raise UsageError(f"PATH must be without . and .. between its slashes, not {where!r}.")
    return where


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise UsageError(f"--header takes NAME:VALUE, not {text!r}.")
    if name.lower() in _OURS:
        raise UsageError(f"--header can't give {name}: the command sets it. See --user and --access_token.")
    return name, value.strip()


def _body(data: str, headers: dict[str, str]) -> bytes:
    """The bytes of a body; names its type in `headers` where it is JSON that was typed."""
    named = {name.lower() for name in headers}
    if data.startswith("@"):
        try:
            raw = sys.stdin.buffer.read() if data == "@-" else typed(data[1:]).read_bytes()
        except OSError as error:
            raise UsageError(f"{Path(data[1:])} can't be read: {error.strerror}.") from None
        if "content-type" not in named:
            headers["Content-Type"] = "application/json" if _is_json(raw) else "application/octet-stream"
        return raw
    if "content-type" not in named:
        try:
            literals.loads(data)
        except (Wrong, ValueError) as wrong:
            raise UsageError(
                f"--data isn't JSON: {wrong}. Give its type if it's something else: -H Content-Type:text/plain"
            ) from None
        headers["Content-Type"] = "application/json"
    return data.encode("utf-8", "surrogateescape")


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True
