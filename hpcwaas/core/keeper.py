"""What has to be done without anybody asking."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from hpcwaas.core.executions import Executions
from hpcwaas.errors import ServiceError
from hpcwaas.store.base import ExecutionRecords

_LOGGER = logging.getLogger(__name__)
_GRACE = timedelta(seconds=10)
"""Age from which an intent without a reference counts as left behind: a start takes far less."""


class Keeper:
    """A thread that starts what a crash left half-started, stores how executions ended, and sweeps.

    Args:
        sweeps: each removes what nobody owns, or ends what was left half-done.
        interval: seconds between two rounds.
    """

    def __init__(
        self,
        executions: Executions,
        records: ExecutionRecords,
        sweeps: Sequence[Callable[[], object]],
        interval: float = 5.0,
    ) -> None:
        self._executions = executions
        self._records = records
        self._sweeps = sweeps
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begins its rounds."""
        self._thread.start()

    def close(self) -> None:
        """Ends its rounds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def round(self) -> None:
        """One round."""
        for execution in self._records.without_reference(datetime.now(UTC) - _GRACE):
            self._attempt(self._executions.recover, execution)
        for execution in self._records.unfinished():
            self._attempt(self._executions.refresh, execution)
        for sweep in self._sweeps:
            self._attempt(sweep)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._attempt(self.round)
            self._stop.wait(self._interval)

    def _attempt(self, task: Callable[..., object], *arguments: object) -> None:
        try:
            task(*arguments)
        except ServiceError as error:
            _LOGGER.warning("will try again: %s", error.detail)
        except Exception:  # a defect in one task must not end all the others for good
            _LOGGER.exception("unexpected error in %s", task)
