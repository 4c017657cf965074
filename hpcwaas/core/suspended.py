"""Ends what users have running who are suspended, in whatever process they were."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hpcwaas.core.engines import Engines
from hpcwaas.core.models import Execution, Status
from hpcwaas.core.ports.records import ExecutionRecords
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)
_INTERVAL = 1.0
_AGAIN = 30.0
"""Seconds after which an execution is asked to end once more."""
_AT_ONCE = 4
"""Executions of an engine that are ended at the same time: one that doesn't answer must not hold all up."""


class SuspendedUsers:
    """A thread that looks for their executions each second. One that is just being started has its turn later.

    Args:
        refresh: see `Executions.refresh`.
        interval: seconds between two looks.
    """

    def __init__(
        self,
        engines: Engines,
        records: ExecutionRecords,
        refresh: Callable[[Execution], Execution],
        interval: float = _INTERVAL,
    ) -> None:
        self._engines = engines
        self._records = records
        self._refresh = refresh
        self._interval = interval
        self._asked: dict[str, float] = {}
        self._none_at: int | None = None
        """The number of what was stored when nothing was found."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="suspended", daemon=True)
        self._pools = {
            name: ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=f"suspended-{name}") for name in engines.names
        }

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def close(self) -> None:
        """Ends that."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def round(self) -> None:
        """Looks once, unless nothing was stored since nothing was found, and has what it finds ended."""
        commits = self._records.commits()
        if commits is not None and commits == self._none_at:
            return
        of_all = (it for it in self._records.of_suspended() if it.reference and it.engine in self._pools)
        found = {execution.id: execution for execution in of_all}
        self._none_at = None if found else commits
        now = time.monotonic()
        self._asked = {known: at for known, at in self._asked.items() if known in found and now - at < _AGAIN}
        for execution in found.values():
            if execution.id not in self._asked:
                self._asked[execution.id] = now
                self._pools[execution.engine].submit(self._end, execution)

    def _end(self, execution: Execution) -> None:
        try:
            current = self._refresh(execution)
            if current.state.status.over or current.state.status is Status.CANCELLING or current.reference is None:
                return
            self._engines.of(current).cancel(current.reference)
            _LOGGER.info("execution %s is ended: its owner, %s, is suspended", execution.id, execution.owner)
            self._refresh(current)
        except ServiceError as error:
            _LOGGER.warning(
                "execution %s of %s, who is suspended, can't be ended yet: %s",
                execution.id,
                execution.owner,
                error.detail,
            )
        except Exception:  # the executions of others are to be ended, too
            _LOGGER.exception("unexpected error while execution %s was to be ended", execution.id)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.round()
            except ServiceError:
                pass  # the store has logged it
            except Exception:  # a defect must not let the suspended go on for good
                _LOGGER.exception("unexpected error while looking for what suspended users have running")
