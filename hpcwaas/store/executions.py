"""Queries on executions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import Select, and_, delete, select, update
from sqlalchemy.orm import Session, defer

from hpcwaas.core.models import JSON, Execution, ExecutionState, Status, Step, StepStatus
from hpcwaas.errors import Conflict, NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.models import ExecutionKeyRow, ExecutionRow, IdempotencyRow, SSHKeyRow
from hpcwaas.store.paging import newest_first

_IDEMPOTENCY_LIFE = timedelta(hours=24)
"""How long a repeated request with the same `Idempotency-Key` finds the execution of the first one."""

_UNKNOWN = "There is no execution with this id."
_NOT_OVER = tuple(status for status in Status if not status.over)

# From which stored statuses each status may be entered. What was asked of an engine before another worker stored news
# can arrive after it: an execution that has ended stays as it ended, one being cancelled doesn't run again.
_BEFORE: Mapping[Status, Collection[Status]] = {
    Status.PENDING: (Status.PENDING, Status.UNKNOWN),
    Status.RUNNING: (Status.PENDING, Status.RUNNING, Status.UNKNOWN),
} | {status: _NOT_OVER for status in Status if status not in (Status.PENDING, Status.RUNNING)}


class ExecutionStore:
    """Keeps executions.

    Every method may raise `Unavailable`. An `owner` of None stands for every owner.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, execution: Execution, idempotency: tuple[str, str] | None = None, ssh_keys: Collection[str] = ()
    ) -> tuple[Execution, bool]:
        """Stores the intent to start an execution, once for each idempotency key of an owner.

        Args:
            idempotency: the key that the user sent, and a fingerprint of what they asked for with it.
            ssh_keys: ids of the owner's SSH keys that it uses.

        Returns:
            the execution and True; or, when the key was used before for the same, the execution of that time and False.

        Raises:
            Conflict: the key was used before for something else.
            NotFound: one of the SSH keys has been deleted.
        """
        try:
            with self._database.write(taken="There is an execution with this id already.") as session:
                session.execute(
                    delete(IdempotencyRow).where(IdempotencyRow.created_at < execution.created_at - _IDEMPOTENCY_LIFE)
                )
                session.add(_row(execution))
                session.flush()
                _use_keys(session, execution, ssh_keys)
                if idempotency is not None:
                    key, fingerprint = idempotency
                    session.add(
                        IdempotencyRow(
                            owner=execution.owner,
                            key=key,
                            fingerprint=fingerprint,
                            execution_id=execution.id,
                            created_at=execution.created_at,
                        )
                    )
        except Conflict:
            earlier = self.of_key(execution.owner, *idempotency, execution.created_at) if idempotency else None
            if earlier is None:
                raise
            return earlier, False
        return execution, True

    def of_key(self, owner: str, key: str, fingerprint: str, now: datetime) -> Execution | None:
        """The execution that was started with an idempotency key, if any.

        Raises:
            Conflict: the key was used for something else.
        """
        with self._database.read() as session:
            used = session.get(IdempotencyRow, (owner, key))
            if used is None or used.created_at < now - _IDEMPOTENCY_LIFE:
                return None
            if used.fingerprint != fingerprint:
                raise Conflict(
                    "This Idempotency-Key was used for another request in the last 24 hours: "
                    "use a new one for each execution."
                )
            return _get(session, used.execution_id, owner)

    def discard(self, execution_id: str) -> None:
        """Forgets an intent that never reached the engine, with its idempotency key. One that has a reference stays."""
        unstarted = and_(ExecutionRow.id == execution_id, ExecutionRow.reference.is_(None))
        with self._database.write() as session:
            session.execute(
                delete(IdempotencyRow)
                .where(IdempotencyRow.execution_id.in_(select(ExecutionRow.id).where(unstarted)))
                .execution_options(synchronize_session=False)
            )
            session.execute(delete(ExecutionRow).where(unstarted).execution_options(synchronize_session=False))

    def set_reference(self, execution_id: str, reference: str) -> None:
        """Stores by which reference the engine knows an execution.

        Raises:
            NotFound: no such execution.
        """
        query = update(ExecutionRow).where(ExecutionRow.id == execution_id).values(reference=reference)
        with self._database.write() as session:
            if session.connection().execute(query).rowcount == 0:
                raise NotFound(_UNKNOWN)

    def save_state(self, execution_id: str, state: ExecutionState) -> Execution:
        """Stores news of an execution, unless they are older than what is stored: an ended one stays as it ended, one
        being cancelled doesn't run again, a running one doesn't wait again.

        Returns:
            the execution as it is stored now.

        Raises:
            NotFound: no such execution.
        """
        with self._database.write() as session:
            session.execute(
                update(ExecutionRow)
                .where(ExecutionRow.id == execution_id, ExecutionRow.status.in_(_BEFORE[state.status]))
                .values(_state_columns(state))
                .execution_options(synchronize_session=False)
            )
            return _get(session, execution_id, None)

    def reopen(self, execution_id: str) -> None:
        """Takes a failed execution for a running one again: it has been resumed."""
        with self._database.write() as session:
            session.execute(
                update(ExecutionRow)
                .where(ExecutionRow.id == execution_id, ExecutionRow.status == Status.FAILED)
                .values(status=Status.RUNNING.value, ended_at=None, reason=None, outputs=None)
                .execution_options(synchronize_session=False)
            )

    def get(self, execution_id: str, owner: str | None) -> Execution:
        """One execution.

        Raises:
            NotFound: unknown, or somebody else's.
        """
        with self._database.read() as session:
            return _get(session, execution_id, owner)

    def page(
        self,
        owner: str | None,
        *,
        limit: int,
        cursor: str | None = None,
        workflow_id: str | None = None,
        statuses: Collection[Status] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> tuple[list[Execution], str | None]:
        """A part of the executions, newest first, without their inputs, outputs and steps, which may be large.

        New ones that arrive in between shift nothing.

        Args:
            limit: at most so many, at least 1.
            cursor: where the part before ended; None for the first.
            statuses: as stored; None for all.
            created_after: this moment and later.
            created_before: earlier than this moment.

        Returns:
            the executions, and the cursor of the next part or None when this was the last.

        Raises:
            BadRequest: a cursor that isn't one of ours.
        """
        query = _select(owner)
        if workflow_id is not None:
            query = query.where(ExecutionRow.workflow_id == workflow_id)
        if statuses is not None:
            query = query.where(ExecutionRow.status.in_(statuses))
        if created_after is not None:
            query = query.where(ExecutionRow.created_at >= created_after)
        if created_before is not None:
            query = query.where(ExecutionRow.created_at < created_before)
        with self._database.read() as session:
            query = query.options(*map(defer, (ExecutionRow.inputs, ExecutionRow.outputs, ExecutionRow.steps)))
            rows, following = newest_first(session, query, ExecutionRow, limit, cursor)
            return [_execution(row, _Parts.SUMMARY) for row in rows], following

    def unfinished(self, owner: str | None = None) -> list[Execution]:
        """The executions that aren't over as far as is stored, oldest first; without their inputs."""
        query = (
            _select(owner)
            .where(ExecutionRow.status.in_(_NOT_OVER))
            .order_by(ExecutionRow.created_at, ExecutionRow.id)
            .options(defer(ExecutionRow.inputs))
        )
        with self._database.read() as session:
            return [_execution(row, _Parts.STATE) for row in session.scalars(query)]

    def without_reference(self, older_than: datetime) -> list[Execution]:
        """The executions from before this moment that were to be started, and nothing tells that they were, oldest
        first: what a crash between the stored intent and the engine's answer leaves."""
        query = (
            _select(None)
            .where(
                ExecutionRow.status.in_(_NOT_OVER),
                ExecutionRow.reference.is_(None),
                ExecutionRow.created_at < older_than,
            )
            .order_by(ExecutionRow.created_at, ExecutionRow.id)
        )
        with self._database.read() as session:
            return [_execution(row) for row in session.scalars(query)]


class _Parts(Enum):
    """How much of an execution is read."""

    ALL = auto()
    STATE = auto()
    SUMMARY = auto()


def _use_keys(session: Session, execution: Execution, key_ids: Collection[str]) -> None:
    """Records that an execution uses SSH keys."""
    query = select(SSHKeyRow).where(SSHKeyRow.id.in_(key_ids), SSHKeyRow.owner == execution.owner).with_for_update()
    keys = list(session.scalars(query)) if key_ids else []
    if len(keys) < len(key_ids) or any(key.change == "delete" for key in keys):
        raise NotFound("An SSH key that the inputs name has just been deleted.")
    for key in keys:
        key.last_used_at = execution.created_at
        session.add(ExecutionKeyRow(execution_id=execution.id, key_id=key.id))


def _select(owner: str | None) -> Select[ExecutionRow]:
    query = select(ExecutionRow)
    return query if owner is None else query.where(ExecutionRow.owner == owner)


def _get(session: Session, execution_id: str, owner: str | None) -> Execution:
    row = session.scalar(_select(owner).where(ExecutionRow.id == execution_id))
    if row is None:
        raise NotFound(_UNKNOWN)
    return _execution(row)


def _row(execution: Execution) -> ExecutionRow:
    return ExecutionRow(
        id=execution.id,
        owner=execution.owner,
        workflow_id=execution.workflow_id,
        workflow_name=execution.workflow_name,
        engine=execution.engine,
        reference=execution.reference,
        inputs=dict(execution.inputs),
        created_at=execution.created_at,
        **_state_columns(execution.state),
    )


def _execution(row: ExecutionRow, parts: _Parts = _Parts.ALL) -> Execution:
    return Execution(
        id=row.id,
        owner=row.owner,
        workflow_id=row.workflow_id,
        workflow_name=row.workflow_name,
        engine=row.engine,
        inputs=row.inputs if parts is _Parts.ALL else {},
        created_at=row.created_at,
        state=ExecutionState(
            status=Status(row.status),
            started_at=row.started_at,
            ended_at=row.ended_at,
            reason=row.reason,
            steps=() if parts is _Parts.SUMMARY else tuple(_step(step) for step in row.steps),
            outputs=None if parts is _Parts.SUMMARY else row.outputs,
        ),
        reference=row.reference,
    )


def _state_columns(state: ExecutionState) -> dict[str, Any]:
    return {
        "status": state.status.value,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "reason": state.reason,
        "steps": [
            {
                "name": step.name,
                "status": step.status.value,
                "label": step.label,
                "started_at": step.started_at and step.started_at.isoformat(),
                "ended_at": step.ended_at and step.ended_at.isoformat(),
            }
            for step in state.steps
        ],
        "outputs": None if state.outputs is None else dict(state.outputs),
    }


def _step(stored: Mapping[str, JSON]) -> Step:
    return Step(
        name=stored["name"],
        status=StepStatus(stored["status"]),
        label=stored["label"],
        started_at=stored["started_at"] and datetime.fromisoformat(stored["started_at"]),
        ended_at=stored["ended_at"] and datetime.fromisoformat(stored["ended_at"]),
    )
