"""Entries of Yorc's log as the lines that are kept of them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from hpcwaas.engines.log_text import clean, pieces
from hpcwaas.engines.yorc.documents import Line

STAMP = slice(4, 34)
"""Where the time stands in a line: all are of the same length, and sort as they are."""

_END = re.compile(rb'"Status for workflow .* changed to \\"(?:done|failed|canceled)\\""\]')


def encode(entry: Line) -> list[bytes]:
    """The lines of an entry, without their ends. What a script has written is one entry in Yorc, however much it is.

    The same entry gives the same lines whenever it is read, by which it is known again.
    """
    head = f'[{int(entry.level)},"{_stamp(entry.at)}",'
    return [
        f"{head}{json.dumps(piece, ensure_ascii=False)}]".encode(errors="replace")
        for text in entry.content.rstrip("\r\n").split("\n")
        for piece in pieces(clean(text))
    ]


def is_last(line: bytes) -> bool:
    """Whether this is the line that Yorc writes last of all when a workflow has ended."""
    return _END.search(line) is not None


def _stamp(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
