"""Whether uploads are archives that can be unpacked: asked of a process of its own, with a share of such processes for
each user, and remembered."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cachetools import LRUCache

import hpcwaas
from hpcwaas.core.models import StoredUpload
from hpcwaas.engines.cwl.inputs import archive_checker
from hpcwaas.engines.cwl.inputs.archives import ArchiveError, may_be_archive
from hpcwaas.errors import TooManyRequests, Unavailable

PATIENCE = 10.0
"""Seconds that all archives of one request may take, and that it may wait for its turn."""

_TOGETHER = max(2, os.cpu_count() or 1)
"""Requests whose archives are looked into at the same time, one for each user."""

_WAITING = 4
"""Requests of one user whose archives are looked into or wait for it."""

_REMEMBERED = 4096
_LEAVING = 1.0
_START = (
    f"import sys; sys.path.insert(0, {str(Path(hpcwaas.__file__).parents[1])!r}); "
    "from hpcwaas.engines.cwl.inputs.archive_checker import main; main()"
)
_NO_ARCHIVE = "it is neither zip nor tar (plain, gz, bz2 or xz)"
_TOO_DEAR = "checking it takes too long or too much memory"

Look = Callable[[StoredUpload], str]
"""Says of an upload which kind of archive it is, `zip` or `tar`; raises `ArchiveError` when it can't be unpacked."""


class ArchiveChecks:
    """Checks the archives of uploads.

    Args:
        max_bytes: most that an archive may hold.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._known: LRUCache[str, tuple[bool, str]] = LRUCache(_REMEMBERED)
        self._turn = threading.Condition()
        self._running: set[str] = set()
        self._present: Counter[str] = Counter()

    @contextmanager
    def session(self) -> Iterator[Look]:
        """For the uploads of one request. Calling what it gives may raise `TooManyRequests` and `Unavailable`."""
        with contextlib.ExitStack() as stack:
            children: list[_Child] = []

            def look(upload: StoredUpload) -> str:
                with self._turn:
                    known = self._known.get(upload.upload.id)
                if known is None:
                    if not children:
                        stack.enter_context(self._place(upload.upload.owner))
                        children.append(stack.enter_context(contextlib.closing(_Child())))
                    known = self._look(upload, children[0])
                fine, text = known
                if not fine:
                    raise ArchiveError(text)
                return text

            yield look

    def _look(self, upload: StoredUpload, child: _Child) -> tuple[bool, str]:
        try:
            with upload.path.open("rb") as source:
                answer = child.ask(source.fileno(), self._max_bytes) if may_be_archive(source) else (False, _NO_ARCHIVE)
        except FileNotFoundError:
            return False, "it was deleted in the meantime"
        with self._turn:
            self._known[upload.upload.id] = answer
        return answer

    @contextmanager
    def _place(self, owner: str) -> Iterator[None]:
        with self._turn:
            if self._present[owner] >= _WAITING:
                raise TooManyRequests(f"The archives of {_WAITING} of your requests are being checked already.", 1)
            self._present[owner] += 1
            if not self._turn.wait_for(lambda: owner not in self._running and len(self._running) < _TOGETHER, PATIENCE):
                self._leave(owner)
                raise Unavailable(
                    "The service is checking too many archives at the moment. Try again in a few seconds.", 5
                )
            self._running.add(owner)
        try:
            yield
        finally:
            with self._turn:
                self._running.discard(owner)
                self._leave(owner)
                self._turn.notify_all()

    def _leave(self, owner: str) -> None:
        self._present[owner] -= 1
        if not self._present[owner]:
            del self._present[owner]


class _Child:
    """The process that checks archives. Another one takes its place when an archive was its end."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + PATIENCE
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, descriptor: int, max_bytes: int) -> tuple[bool, str]:
        """Whether it is an archive that can be unpacked; its kind, or what is wrong with it."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Unavailable(
                f"Checking the archives of this request took longer than {PATIENCE:g} seconds. Use fewer of them.", 5
            )
        try:
            if self._process is None:
                self._start()
            self._socket.settimeout(left)
            socket.send_fds(self._socket, [archive_checker.QUESTION.pack(max_bytes)], [descriptor])
            answer = self._socket.recv(archive_checker.MESSAGE_LIMIT)
        except ConnectionError:
            answer = b""
        except OSError as error:  # no time, processes or descriptors are left
            self.close()
            raise Unavailable(
                "The service can't check archives at the moment. Try again in a few seconds.", 5
            ) from error
        if answer:
            return answer[:1] == archive_checker.OK, answer[1:].decode(errors="replace")
        if self.close() < 0:  # a signal: it used too much
            return False, _TOO_DEAR
        raise Unavailable("The service can't check archives at the moment. Try again in a few seconds.", 5)

    def _start(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
            )

    def close(self) -> int:
        """Ends it, and returns its exit status; one below 0 when it was a signal that ended it."""
        if self._process is None:
            return 0
        self._socket.close()  # which it takes for the end, too
        try:
            status = self._process.wait(_LEAVING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._process = None
        return status
