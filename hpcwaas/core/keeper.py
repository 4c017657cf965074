"""What has to be done without anybody asking."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from hpcwaas.common.repeats import Repeats
from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Execution
from hpcwaas.core.ports.records import CLAIM, ExecutionRecords
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)


_WATCH_EVERY = 60.0
"""Seconds between two looks at executions that were closed."""

_SWEEP_EVERY = 30.0
"""Seconds between two sweeps while nothing is stored: something may have become due."""

_CALM = 20.0
"""Seconds for which nothing was stored before sweeps are that rare: what failed at first may soon succeed."""


class Keeper:
    """A thread that starts what a crash left half-started, stores how executions ended, and sweeps; and one that tells
    other processes what this one is starting.

    Args:
        sweeps: each removes what nobody owns, or ends what was left half-done.
        interval: seconds between two rounds.
        engines: whose executions have a thread each, so that one that is slow holds up nothing of the others.
    """

    def __init__(
        self,
        executions: Executions,
        records: ExecutionRecords,
        sweeps: Sequence[Callable[[], object]],
        interval: float = 5.0,
        engines: Sequence[str] = (),
    ) -> None:
        self._executions = executions
        self._records = records
        self._sweeps = sweeps
        self._interval = interval
        self._next_watch: dict[str | None, float] = {}
        self._engines = engines
        self._none_at: dict[str | None, int | None] = {}
        """By engine: the number of what was stored when none of its executions was unfinished."""
        self._swept_at: int | None = None
        self._changed = self._swept = 0.0
        self._repeats = Repeats()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(task,), name=name, daemon=True)
            for name, task in (
                ("keeper", self.round),
                *((f"keeper-{name}", partial(self._look_after, name)) for name in engines),
                ("keeper-claims", executions.under_way.renew),
            )
        ]

    def start(self) -> None:
        """Begins its rounds."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends its rounds."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    def round(self) -> None:
        """One round, without what engines have threads for."""
        self._look_after(None)
        now, commits = time.monotonic(), self._records.commits()
        if commits is None or commits != self._swept_at:
            self._changed = now
        elif now - self._changed > _CALM and now - self._swept < _SWEEP_EVERY:
            return
        self._swept_at, self._swept = commits, now
        for sweep in self._sweeps:
            self._attempt(sweep)

    def _look_after(self, engine: str | None) -> None:
        """Looks after the executions of an engine; None for those of engines without a thread of their own."""

        def of(executions: Sequence[Execution]) -> Iterator[Execution]:
            return (it for it in executions if (it.engine if it.engine in self._engines else None) == engine)

        commits = self._records.commits()
        if commits is None or commits != self._none_at.get(engine):
            for execution in of(self._records.without_reference(datetime.now(UTC))):
                self._attempt(self._recover, execution)
            unfinished = list(of(self._records.unfinished()))
            for execution in unfinished:
                self._attempt(self._executions.refresh, execution)
            self._none_at[engine] = None if unfinished else commits
        if time.monotonic() >= self._next_watch.get(engine, 0.0):
            self._next_watch[engine] = time.monotonic() + _WATCH_EVERY
            for execution in of(self._records.watched(datetime.now(UTC))):
                self._attempt(self._executions.refresh, execution)

    def _recover(self, execution: Execution) -> None:
        """Recovers an execution, unless another process or replica does."""
        now = datetime.now(UTC)
        if not self._records.claim(execution.id, now, now + CLAIM):
            return
        try:
            with self._executions.under_way.held(execution.id):
                self._executions.recover(execution)
        except ServiceError:
            self._records.postpone(execution.id, datetime.now(UTC) + timedelta(seconds=self._interval))
            raise

    def _run(self, task: Callable[[], object]) -> None:
        while not self._stop.is_set():
            self._attempt(task)
            self._stop.wait(self._interval)

    def _attempt(self, task: Callable[..., object], *arguments: object) -> None:
        try:
            task(*arguments)
        except ServiceError as error:
            if not error.logged and self._repeats.due(error.detail) is not None:
                _LOGGER.warning("will try again: %s", error.detail)
        except Exception:  # a defect in one task must not end all the others for good
            _LOGGER.exception("unexpected error in %s", task)
