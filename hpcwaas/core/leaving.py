"""Removes everything that is kept of users who leave."""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import UTC, datetime

from hpcwaas.core.endings import Closing
from hpcwaas.core.engines import Engines
from hpcwaas.core.executions import Executions
from hpcwaas.core.keys import SSHKeys
from hpcwaas.core.ports.records import ExecutionRecords, LeaverRecords, RemovalRecords
from hpcwaas.core.removals import Record, Removals
from hpcwaas.core.uploads import Uploads
from hpcwaas.errors import Conflict, NotFound, ServiceError

_LOGGER = logging.getLogger(__name__)
_LOOK_EVERY = 2.0
_CLOSE_EVERY = 60.0
_AT_ONCE = 50
"""Executions that are asked for together, and uploads of a user that one look removes."""
_REASON = "Its owner was removed from the service."


class Leavers:
    """Removes what belongs to users who leave. They are suspended, so that nothing new comes and what runs is ended
    (see `SuspendedUsers`). Their keys go last: they open the accounts from which files are removed.

    Args:
        record: records who is gone.
    """

    def __init__(
        self,
        engines: Engines,
        executions: Executions,
        records: ExecutionRecords,
        removals: Removals,
        removed: RemovalRecords,
        leavers: LeaverRecords,
        uploads: Uploads,
        keys: SSHKeys,
        record: Record,
    ) -> None:
        self._engines = engines
        self._executions = executions
        self._records = records
        self._removals = removals
        self._removed = removed
        self._leavers = leavers
        self._uploads = uploads
        self._keys = keys
        self._record = record
        self._next_look = 0.0
        self._next_close: dict[str, float] = {}

    def sweep(self) -> None:
        """Goes on with those who leave; harmless in several processes at once."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY
        failure: ServiceError | None = None
        for subject in self._leavers.leaving():
            try:
                self._go_on(subject)
            except ServiceError as error:  # the others may fare better
                failure = error
        if failure:
            raise failure

    def _go_on(self, subject: str) -> None:
        if time.monotonic() >= self._next_close.get(subject, 0.0):
            self._next_close[subject] = time.monotonic() + _CLOSE_EVERY
            self._close(subject)
        while ended := self._removed.ended(subject, _AT_ONCE):
            for execution_id in ended:
                with contextlib.suppress(Conflict, NotFound):  # somebody else was faster
                    self._removals.begin(self._executions.stored(execution_id))
        self._uploads.erase(subject, _AT_ONCE)
        if self._removed.number(subject):
            return
        self._keys.erase(subject)
        if self._leavers.forget(subject):
            self._next_close.pop(subject, None)
            _LOGGER.info("everything of the user %s was removed", subject)
            self._record({"who": None, "operation": "userRemoved", "object": subject, "result": "ok"})

    def _close(self, subject: str) -> None:
        """Takes what no engine will ever end for ended. Asking that has cancelled once more what runs."""
        for execution in self._records.unfinished(subject):
            engine = self._engines.get(execution.engine)
            if engine is None or (execution.reference is not None and engine.lost(execution.reference)):
                now = datetime.now(UTC)
                self._records.close(execution.id, Closing("", now, _REASON), _REASON, now)
                self._executions.forget(execution.id)
