"""The secret id of an AppRole, which may come wrapped: whoever opens the wrapping first has it, nobody else can."""

from __future__ import annotations

import fcntl
import mmap
from collections.abc import Callable
from pathlib import Path

_LENGTH = 2
_SIZE = 4096


class SecretId:
    """A secret id. A wrapped one is unwrapped once for this process and all that are forked from it later.

    Processes end and new ones take their place, and a wrapping can be opened only once: so what is in it is handed on
    in memory that they share, never in a file.

    Args:
        text: the secret id; with `lock`, the wrapping token around it.
        lock: a file that is made and locked while one process unwraps; the others wait.
    """

    def __init__(self, text: str, lock: Path | None = None) -> None:
        self._text = text
        self._lock = lock
        self._shared = mmap.mmap(-1, _SIZE)  # anonymous: seen by forked processes, never on a disk

    def get(self, unwrap: Callable[[str], str]) -> str:
        """The secret id.

        Args:
            unwrap: gets it with the wrapping token; called at most once successfully.
        """
        if self._lock is None:
            return self._text
        with self._lock.open("a") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            length = int.from_bytes(self._shared[:_LENGTH], "big")
            if not length:
                content = unwrap(self._text).encode()
                length = len(content)
                self._shared[_LENGTH : _LENGTH + length] = content
                self._shared[:_LENGTH] = length.to_bytes(_LENGTH, "big")
            return self._shared[_LENGTH : _LENGTH + length].decode()
