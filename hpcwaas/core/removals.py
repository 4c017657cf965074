"""Removing executions that have ended, with everything that is kept of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from hpcwaas.core import acts, policy
from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.engines import Engines, inactive
from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Execution
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.engine import RemovingEngine
from hpcwaas.core.ports.records import RemovalRecords
from hpcwaas.errors import Conflict, NotFound, ServiceError

_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 20
"""Executions that a process takes on together."""
_ROUND = 2.0
"""Seconds after which other things have their turn."""
_CLAIM = timedelta(minutes=5)
_SOON, _LATE = timedelta(seconds=5), timedelta(minutes=10)
"""After which time a removal is tried again: soon at first, later and later."""

GIVEN_UP = timedelta(days=30)
"""How long what can't be reached is tried again; `openapi.yaml` and the documentation name it."""

Record: TypeAlias = Callable[[Mapping[str, object]], None]
"""Records what the service did by itself; see `hpcwaas.store.audit`."""


class Removals:
    """Removes executions: notes it first, then removes files, then the record. Whoever is killed in between leaves what
    any process goes on with.

    Args:
        record: records what is gone.
    """

    def __init__(self, engines: Engines, executions: Executions, records: RemovalRecords, record: Record) -> None:
        self._engines = engines
        self._executions = executions
        self._records = records
        self._record = record

    def remove(self, principal: Principal, execution_id: str) -> Removal:
        """Removes an ended execution, or begins to. Harmless when repeated until it is gone.

        Returns:
            what it waits for, if it isn't gone yet, and what stays elsewhere.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: it is shared with them, and no more.
            Conflict: it hasn't ended.
        """
        execution = self._executions.find(principal, execution_id)
        policy.require_act(principal, policy.Act.DELETE, execution.owner)
        execution = self._executions.refresh(execution)
        acts.note(purge=True)
        if not execution.state.status.over:
            raise Conflict(
                f"The execution is {execution.state.status}: only one that has ended can be deleted. Cancel it first."
            )
        execution = self.begin(execution)
        return self._go_on(execution)

    def begin(self, execution: Execution) -> Execution:
        """Notes that all of an execution is to be removed.

        Raises:
            Conflict: it goes on again.
        """
        now = datetime.now(UTC)
        begun = self._records.begin(execution.id, now)
        self._executions.forget(execution.id)
        if not begun:
            execution = self._executions.stored(execution.id)
            if execution.removing_since is None:
                raise Conflict(f"The execution is {execution.state.status} now: look at it again.")
            return execution
        return replace(execution, removing_since=now, removed=execution.removed | Part.ALL)

    def sweep(self) -> int:
        """Goes on with what is being removed, for some seconds; harmless in several processes at once.

        Returns:
            how many were taken on.
        """
        until, number = time.monotonic() + _ROUND, 0
        while True:
            now = datetime.now(UTC)
            taken = self._records.take(now, now + _CLAIM, _AT_ONCE)
            for execution in taken:
                self._go_on(execution)
            number += len(taken)
            if len(taken) < _AT_ONCE or time.monotonic() > until:
                return number

    def _go_on(self, execution: Execution) -> Removal:
        now = datetime.now(UTC)
        age = now - (execution.removing_since or now)
        try:
            removal = self._removed(execution, give_up=age > GIVEN_UP)
        except ServiceError as error:
            removal = Removal(error.detail)
        except Exception:  # a defect with one must not keep all others from being removed
            _LOGGER.exception("unexpected error while execution %s was to be removed", execution.id)
            removal = Removal("Something unexpected happened; the service's log says what. It is tried again.")
        if removal.waits_for is not None:
            self._records.wait(execution.id, now + max(_SOON, min(age, _LATE)), removal.waits_for)
        elif self._records.finish(execution.id):
            self._executions.forget(execution.id)
            act = {"who": None, "operation": "executionRemoved", "object": f"/executions/{execution.id}"}
            self._record({**act, "owner": execution.owner, "result": "ok", "left": removal.left})
            if removal.left:
                _LOGGER.warning("execution %s was removed, but: %s", execution.id, removal.left)
        return removal

    def _removed(self, execution: Execution, *, give_up: bool) -> Removal:
        if self._records.takers(execution.id) and not give_up:
            return Removal("An execution that takes its outputs as inputs hasn't begun yet.")
        return remove_part(self._engines, execution, Part.ALL, give_up=give_up)


def remove_part(engines: Engines, execution: Execution, part: Part, *, give_up: bool = False) -> Removal:
    """Has the engine of an execution remove a part of it.

    Args:
        give_up: see `RemovingEngine.remove`.

    Raises:
        ServiceError: it can't now.
    """
    if execution.reference is None:  # it never reached its engine
        return Removal()
    engine = engines.get(execution.engine)
    if engine is None:
        said = f"{inactive(execution)} What it keeps of the execution can't be removed."
        return Removal(left=said) if give_up else Removal(said)
    if not isinstance(engine, RemovingEngine):
        return Removal(left=f"The engine {engine.name} can't remove what it keeps of the execution.")
    try:
        return engine.remove(execution.reference, part, give_up=give_up)
    except NotFound:  # another engine's, for instance
        return Removal()
