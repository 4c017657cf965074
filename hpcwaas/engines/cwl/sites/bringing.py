"""Brings outputs of other executions to those on this machine that take them, before these are queued."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hpcwaas.common import durable
from hpcwaas.engines.cwl.sites.taking import FetchOutputs, Room, Untakable, Unwanted, told, whole
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.storage.linking import link_output
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from hpcwaas.engines.cwl.storage.spool import Spool
from hpcwaas.engines.cwl.storage.stored import Request
from hpcwaas.engines.cwl.storage.trees import walk
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)
_AT_ONCE, _OF_ONE = 16, 4
"""Executions whose inputs one process brings at the same time: in all, and those of one user."""

_ELSEWHERE = 2.0
"""Seconds after which it is looked again at what another process brings: it may be killed."""

_AGAIN = 30.0
"""Seconds after which it is tried again what can't be had just now."""


class Bringing:
    """What is brought by this process. Of all processes with one directory, the one that locks the marker of an
    execution brings what that takes. What a process has brought that was killed, the next one finds.

    Args:
        fetch: copies what lies on sites.
        most: bytes that one execution may take.
        ready: called when an execution has been queued.
    """

    def __init__(self, place: Spool, fetch: FetchOutputs, most: int, ready: Callable[[], object]) -> None:
        self._spool = place
        self._fetch = fetch
        self._most = most
        self._ready = ready
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._owners: dict[str, str] = {}
        self._later: dict[str, float] = {}
        self._threads = ThreadPoolExecutor(_AT_ONCE, "cwl-brings")

    def look(self) -> None:
        """Begins to bring what waits for it. To be called every second or so."""
        waiting = Spool.tickets(self._spool.bringing)
        with self._lock:
            now = time.monotonic()
            self._owners = {
                ticket: self._owners.get(ticket) or self._spool.owner(execution_id) for ticket, execution_id in waiting
            }
            busy = Counter(self._owners.get(ticket) for ticket in self._under_way)
            self._later = {ticket: at for ticket, at in self._later.items() if at > now}
            for ticket, execution_id in waiting:
                due = ticket not in self._later or (self._spool.execution(execution_id) / spool.CANCEL).exists()
                free = len(self._under_way) < _AT_ONCE and busy[self._owners[ticket]] < _OF_ONE
                if due and free and ticket not in self._under_way and not self._stop.is_set():
                    self._under_way.add(ticket)
                    busy[self._owners[ticket]] += 1
                    self._threads.submit(self._attempt, ticket, execution_id)

    def stop(self) -> None:
        """Asks everything to end; `close` waits for that."""
        with self._lock:
            self._stop.set()

    def close(self) -> None:
        """Ends it. What isn't there yet is brought by another process, or the next one."""
        self.stop()
        self._threads.shutdown(cancel_futures=True)

    def _attempt(self, ticket: str, execution_id: str) -> None:
        try:
            self._turn(ticket, execution_id)
        except Exception:  # a full disk, say: it stops no other execution, and is tried again
            _LOGGER.exception("the inputs of the execution %s can't be brought", execution_id)
            self._postpone(ticket)
        finally:
            with self._lock:
                self._under_way.discard(ticket)
            self.look()

    def _postpone(self, ticket: str, seconds: float = 0) -> None:
        with self._lock:
            self._later[ticket] = time.monotonic() + (seconds or _AGAIN)

    def _turn(self, ticket: str, execution_id: str) -> None:
        marker = self._spool.bringing / ticket
        lock = durable.lock(marker)
        if lock is None:
            self._postpone(ticket, _ELSEWHERE)
            return
        try:
            if self._brought(ticket, execution_id):
                marker.unlink(missing_ok=True)
                self._ready()
        finally:
            os.close(lock)

    def _brought(self, ticket: str, execution_id: str) -> bool:
        """Brings what an execution takes, and queues it. False when it has to wait."""
        directory = self._spool.execution(execution_id)
        request = self._spool.request(execution_id)
        if request is None or self._spool.queued(ticket, execution_id):
            return True

        def wanted() -> bool:
            return not self._stop.is_set() and not (directory / spool.CANCEL).exists()

        waits = directory / spool.WAITS
        try:
            waits.unlink(missing_ok=True)
            self._bring(directory, request, wanted)
        except Untakable as error:
            durable.replace(directory / spool.REFUSED, str(error).encode())
        except (ServiceError, OSError, Unwanted) as error:
            if self._stop.is_set():
                return False
            if wanted():
                why = (
                    error.detail if isinstance(error, ServiceError) else "The disk of the service is full, or it fails."
                )
                durable.replace(waits, f"{why} It is tried again within {_AGAIN:g} seconds.".encode())
                self._postpone(ticket)
                return False
        self._spool.enqueue(execution_id)
        return True

    def _bring(self, directory: Path, request: Request, wanted: Callable[[], bool]) -> None:
        room = Room(self._most)
        far: list[tuple[TakenOutput, Path]] = []
        for place, taken in request.taken:
            target = directory / place
            if target.exists():
                room.take(_size(target))
            elif taken.site:
                far.append((taken, target))
            else:
                self._link(taken, target, room, wanted)
        self._fetch(far, room, wanted)

    def _link(self, taken: TakenOutput, target: Path, room: Room, wanted: Callable[[], bool]) -> None:
        def go_on(size: int) -> None:
            if not wanted():
                raise Unwanted
            room.take(size)

        with told(taken), whole(target) as draft:
            link_output(self._spool.execution(taken.reference) / spool.OUTPUTS, taken.path, taken.kind, draft, go_on)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    if path.is_dir():
        return sum(status.st_size for _, status in walk(path) if stat.S_ISREG(status.st_mode))
    return path.stat().st_size
