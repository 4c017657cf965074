"""The lock of an account, which one process of all has."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from hpcwaas.common import durable


class Hold:
    """Holds the lock until `close`. A network file system may give the lock of a machine that it doesn't hear of to
    another one. So whoever takes it writes down who has it, for the former holder to see.

    Args:
        path: the lock's file.
        descriptor: holds the lock.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._mine = secrets.token_hex(16).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, self._mine, 0)
        os.fsync(descriptor)

    @classmethod
    def take(cls, path: Path) -> Hold | None:
        """Takes the lock; None when somebody else has it.

        Raises:
            OSError: it can't be told.
        """
        descriptor = durable.lock(path)
        if descriptor is None:
            return None
        try:
            return cls(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def lost(self) -> bool:
        """Whether somebody else has taken it all the same.

        Raises:
            OSError: it can't be told.
        """
        return self._path.read_bytes() != self._mine

    def close(self) -> None:
        """Lets it go."""
        os.close(self._descriptor)
