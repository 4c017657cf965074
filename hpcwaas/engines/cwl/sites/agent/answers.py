"""What the agent answers when something fails that can be foreseen."""

import errno
import sys
from typing import Any, Callable, Dict, Optional

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


def mark(order: Dict[str, JSON], kind: bytes = b"") -> None:
    """Writes the line before which nothing counts."""
    sys.stdout.buffer.write(b"\n@@HPCWAAS " + str(order.get("token", "")).encode() + kind + b"\n")
