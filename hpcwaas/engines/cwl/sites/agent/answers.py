"""What the agent is asked, and what it answers when something fails that can be foreseen."""

import errno
import json
import os
import select
import sys
from typing import Any, Callable, Dict, Iterator, Optional

JSON = Any


class Trouble(Exception):
    """Something that can be foreseen.

    Args:
        kind: `full`, `denied`, `read-only`, `missing` or `failed`; `later`: the scheduler gives no answer now.
    """

    def __init__(self, kind: str, path: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.answer = {"error": {"kind": kind, "path": path, "detail": detail}}


KINDS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EFBIG: "full",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EROFS: "read-only",
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ESTALE: "missing",
}


def trouble(error: OSError) -> Trouble:
    """What an error of the system is called in an answer."""
    path = error.filename if isinstance(error.filename, str) else ""
    return Trouble(KINDS.get(error.errno or 0, "failed"), path, error.strerror or str(error))


def told(action: Callable[[], Optional[Dict[str, JSON]]]) -> Dict[str, JSON]:
    """What became of one of several things."""
    try:
        return action() or {}
    except Trouble as error:
        return error.answer
    except OSError as error:
        return trouble(error).answer
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, MemoryError) as error:
        # One execution's, whose files something else has written to; the others go on.
        return Trouble("failed", "", f"its files can't be understood: {error!r}"[:300]).answer


def mark(order: Dict[str, JSON], kind: bytes = b"") -> None:
    """Writes the line before which nothing counts."""
    sys.stdout.buffer.write(b"\n@@HPCWAAS " + str(order.get("token", "")).encode() + kind + b"\n")


def orders() -> Iterator[Dict[str, JSON]]:
    """What comes on standard input, one after another, each behind a line with its number of bytes. One of none is no
    order: it wakes who waits."""
    while True:
        head = b""
        while not head.endswith(b"\n"):  # nothing is read ahead, so that `more` sees it
            sign = os.read(0, 1)
            if not sign:
                return
            head += sign
        content = b""
        while len(content) < int(head):
            piece = os.read(0, int(head) - len(content))
            if not piece:
                return
            content += piece
        if content:
            yield json.loads(content.decode())


def more(seconds: float) -> bool:
    """Whether something comes on standard input within that time, be it its end."""
    return bool(select.select([0], [], [], seconds)[0])
