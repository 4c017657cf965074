"""For how long ended executions are kept, and what removes them when that time is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from hpcwaas.core.endings import FOR_EVER, Part, Retention
from hpcwaas.core.engines import Engines
from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Execution, Workflow
from hpcwaas.core.ports.records import ListingRecords, RemovalRecords
from hpcwaas.core.removals import Record, Removals, remove_part
from hpcwaas.core.settings import RetentionSettings
from hpcwaas.errors import Conflict, NotFound, ServiceError

_LOGGER = logging.getLogger(__name__)
_LOOK_EVERY = 60.0
_AT_ONCE = 50
"""Executions of which one look removes something, by each rule."""
_LATER = timedelta(minutes=10)
"""After which time what couldn't be removed is tried again."""
_KNOWN = "retention"
"""Name of the list of what workflows said last: their executions outlive them."""


class RetentionPolicy:
    """For how long the executions of each workflow are kept.

    Args:
        settings: of all.
    """

    def __init__(self, settings: RetentionSettings) -> None:
        self.general = Retention(settings.executions, settings.outputs, settings.logs)

    def of(self, workflow: Workflow) -> Retention:
        """For how long executions of a workflow are kept."""
        return self.general.stricter(workflow.retention)


class Expiry:
    """Removes what has been kept long enough.

    Args:
        listings: where what workflows said last is kept.
        uploads: removes uploads that were made before a moment, some of them, and gives how many those were.
        record: records what is removed.
    """

    def __init__(
        self,
        engines: Engines,
        executions: Executions,
        removals: Removals,
        records: RemovalRecords,
        listings: ListingRecords,
        settings: RetentionSettings,
        uploads: Callable[[datetime, int], int],
        record: Record,
    ) -> None:
        self._engines = engines
        self._executions = executions
        self._removals = removals
        self._records = records
        self._listings = listings
        self._general = RetentionPolicy(settings).general
        self._uploads_days = settings.uploads
        self._uploads = uploads
        self._record = record
        self._next_look = 0.0

    def sweep(self) -> None:
        """Looks once a minute, and goes on at once while there is more; harmless in several processes at once."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY
        if self.look():
            self._next_look = 0.0

    def look(self) -> bool:
        """Removes some of what has been kept long enough. Whether there is more."""
        now = datetime.now(UTC)
        more = False
        for workflow_id, part, days in self._rules():
            found = self._records.expired(part, now - timedelta(days=days), now, _AT_ONCE, workflow_id)
            for execution in found:
                self._attempt(execution, part)
            more |= len(found) == _AT_ONCE
        if self._uploads_days is not None:
            before = now - timedelta(days=self._uploads_days)
            more |= self._uploads(before, _AT_ONCE) == _AT_ONCE
        return more

    def _rules(self) -> Iterator[tuple[str | None, Part, int]]:
        """Of a workflow, or of all: which part is kept for how many days."""
        yield from ((None, part, days) for part, days in _days(self._general))
        general = dict(_days(self._general))
        for workflow_id, retention in self._said().items():
            for part, days in _days(retention):
                if part not in general or days < general[part]:
                    yield workflow_id, part, days

    def _said(self) -> Mapping[str, Retention]:
        """What workflows say themselves; those that aren't published any more said last."""
        kept = self._listings.last_listing(_KNOWN)
        before: Mapping[str, Mapping[str, int | None]] = kept[0] if kept else {}
        said = {name: asdict(retention) for name, retention in self._engines.retentions().items()}
        now = {name: each for name, each in {**before, **said}.items() if each != asdict(FOR_EVER)}
        if now != before:
            self._listings.put(_KNOWN, now, datetime.now(UTC))
        return {name: Retention(**each) for name, each in now.items()}

    def _attempt(self, execution: Execution, part: Part) -> None:
        try:
            if self._remove(execution, part):
                return
        except ServiceError as error:
            _LOGGER.info("execution %s can't be removed yet, or a part of it: %s", execution.id, error.detail)
        except Exception:  # a defect with one must not keep all others
            _LOGGER.exception("unexpected error while a part of execution %s was to be removed", execution.id)
        self._records.put_off(execution.id, datetime.now(UTC) + _LATER)

    def _remove(self, execution: Execution, part: Part) -> bool:
        if part is Part.ALL:
            try:
                self._removals.begin(execution)
            except (Conflict, NotFound):  # somebody else was faster
                return True
        else:
            removal = remove_part(self._engines, execution, part)
            if removal.waits_for is not None:
                return False
            if not self._records.parted(execution.id, part, removal.kept):
                return True
            self._executions.forget(execution.id)
        act = {"who": None, "operation": "retentionOver", "object": f"/executions/{execution.id}"}
        self._record({**act, "owner": execution.owner, "part": _NAMES[part], "result": "ok"})
        return True


_NAMES = {Part.ALL: "all", Part.OUTPUTS: "outputs", Part.LOG: "log"}


def _days(retention: Retention) -> Iterator[tuple[Part, int]]:
    parts = ((Part.ALL, retention.executions), (Part.OUTPUTS, retention.outputs), (Part.LOG, retention.logs))
    return ((part, days) for part, days in parts if days is not None)
