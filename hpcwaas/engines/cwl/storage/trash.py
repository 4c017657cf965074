"""Takes away at once what may take long to remove."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from pathlib import Path

from hpcwaas.common import durable
from hpcwaas.engines.cwl.storage.trees import remove_tree

_LOGGER = logging.getLogger(__name__)
_LOOK_EVERY = 60.0
"""Seconds after which is looked for what a process left that was killed."""


class Trash:
    """A directory in which things wait until a thread has removed them. Any number of processes may share it.

    Args:
        directory: on the same file system as what is taken; made when missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._news = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cwl-trash", daemon=True)
        self._thread.start()

    def take(self, path: Path) -> None:
        """Takes a file or a directory away; when this returns, it is gone for good. Harmless when there is none."""
        with contextlib.suppress(FileNotFoundError):
            path.rename(self._directory / f"{path.name}.{secrets.token_hex(8)}")
            durable.sync_directory(path.parent)
        self._news.set()

    def close(self) -> None:
        """Ends. What is left another process removes."""
        self._closed.set()
        self._news.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                for thing in self._directory.iterdir():
                    if self._closed.is_set():
                        return
                    remove_tree(thing)
            except OSError as error:
                _LOGGER.warning("what was deleted can't be removed from %s: %s", self._directory, error)
            self._news.wait(_LOOK_EVERY)
            self._news.clear()
