"""Queries on executions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, or_, select, union_all, update
from sqlalchemy.orm import Session, defer

from hpcwaas.core.counted import ENDED
from hpcwaas.core.endings import Attempt, Closing, Part
from hpcwaas.core.models import JSON, Execution, ExecutionFilter, ExecutionState, Status
from hpcwaas.core.people import Principal
from hpcwaas.errors import Conflict, NotFound, TooManyRequests
from hpcwaas.store import quota
from hpcwaas.store.database import Database
from hpcwaas.store.execution_lists import listed
from hpcwaas.store.execution_rows import STATE, SUMMARY, size_of, state_columns, to_execution, to_row
from hpcwaas.store.models import ExecutionKeyRow, ExecutionRow, ExecutionSourceRow, IdempotencyRow, SSHKeyRow, UserRow
from hpcwaas.store.paging import cut, position
from hpcwaas.store.shares import follow_status, lets_in
from hpcwaas.store.turns import Turn, take

_IDEMPOTENCY_LIFE = timedelta(hours=24)
"""How long a repeated request with the same `Idempotency-Key` finds the execution of the first one."""

_RETRY_AFTER = 30
"""Seconds after which an execution of a user who has too many may have ended."""

_ATTEMPTS = 100
"""Attempts at an execution that are kept beside the first."""

_NO_ROOM = "another execution doesn't fit"
_UNKNOWN = "There is no execution with this id."
_NOT_OVER = tuple(status for status in Status if not status.over)
_UNFINISHED = ExecutionFilter(statuses=_NOT_OVER)
_NUMBER = select(func.count()).select_from(
    union_all(
        *(
            select(ExecutionRow.id).where(ExecutionRow.owner == bindparam("owner"), ExecutionRow.status == status)
            for status in _NOT_OVER
        )
    ).subquery()
)
"""How many of an owner's haven't ended."""
_WATCHED = select(ExecutionRow).where(ExecutionRow.watched_until > bindparam("now"))
_WATCHED = _WATCHED.options(*(defer(getattr(ExecutionRow, name)) for name in STATE))

# From which stored statuses each status may be entered. What was asked of an engine before another worker stored news
# can arrive after it: an execution that has ended stays as it ended, one being cancelled doesn't run again.
_BEFORE: Mapping[Status, Collection[Status]] = {
    Status.PENDING: (Status.PENDING, Status.UNKNOWN),
    Status.RUNNING: (Status.PENDING, Status.RUNNING, Status.UNKNOWN),
} | {status: _NOT_OVER for status in Status if status not in (Status.PENDING, Status.RUNNING)}


class ExecutionStore:
    """Obeys `ExecutionRecords`. Keeps executions. An `owner` of None stands for every owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        execution: Execution,
        idempotency: tuple[str, str] | None = None,
        ssh_keys: Collection[str] = (),
        at_most: int | None = None,
        room: int | None = None,
        *,
        lasting: bool = True,
    ) -> tuple[Execution, bool]:
        taken = "There is an execution with this id already."
        try:
            with self._database.write(taken, lasting=lasting) as session:
                if at_most is not None:
                    take(session, Turn.EXECUTIONS, execution.owner)
                    _check_number(session, execution.owner, at_most)
                if room is not None:
                    size = size_of(execution.inputs)
                    quota.check_room(session, execution.owner, size, room, _NO_ROOM)
                session.execute(
                    delete(IdempotencyRow).where(IdempotencyRow.created_at < execution.created_at - _IDEMPOTENCY_LIFE)
                )
                session.add(to_row(execution))
                session.flush()
                _use_keys(session, execution, ssh_keys)
                for source in execution.inputs_from:
                    row = ExecutionSourceRow(execution_id=execution.id, source_id=source)
                    row.owner, row.created_at = execution.owner, execution.created_at
                    session.add(row)
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
        except (Conflict, TooManyRequests):  # a retry finds its execution at the limit, too
            earlier = self.of_key(execution.owner, *idempotency, execution.created_at) if idempotency else None
            if earlier is None:
                raise
            return earlier, False
        return execution, True

    def of_key(self, owner: str, key: str, fingerprint: str, now: datetime) -> Execution | None:
        with self._database.read() as session:
            used = session.get(IdempotencyRow, (owner, key))
            if used is None or used.created_at < now - _IDEMPOTENCY_LIFE:
                return None
            if used.fingerprint != fingerprint:
                raise Conflict(
                    "This Idempotency-Key was used for another request in the last 24 hours: "
                    "use a new one for each execution."
                )
            try:
                return _get(session, used.execution_id, owner)
            except NotFound:
                raise Conflict(
                    "The execution that was started with this Idempotency-Key was deleted: use a new one for each "
                    "execution."
                ) from None

    def discard(self, execution_id: str) -> None:
        unstarted = and_(ExecutionRow.id == execution_id, ExecutionRow.reference.is_(None))
        with self._database.write() as session:
            if session.scalar(select(ExecutionRow.id).where(unstarted).with_for_update()) is not None:
                session.execute(delete(IdempotencyRow).where(IdempotencyRow.execution_id == execution_id))
                session.execute(delete(ExecutionRow).where(ExecutionRow.id == execution_id))

    def set_reference(self, execution_id: str, reference: str) -> None:
        query = update(ExecutionRow).where(ExecutionRow.id == execution_id).values(reference=reference)
        # Not lasting: without a reference it is started again, which gives the same one.
        with self._database.write("The engine's execution belongs to another one already.", lasting=False) as session:
            if session.connection().execute(query).rowcount == 0:
                raise NotFound(_UNKNOWN)

    def save_state(self, execution_id: str, state: ExecutionState) -> Execution:
        """An execution that has ended stays as it ended, one being cancelled doesn't run again, a running one doesn't
        wait again, a failure that was followed by `reopen` doesn't come back. What isn't the end is soon told again."""
        with self._database.write(lasting=state.status.over) as session:
            before: ColumnElement[bool] = ExecutionRow.status.in_(_BEFORE[state.status])
            columns = state_columns(state)
            if not state.status.over:
                del columns["ended_at"]  # see `reopen`
            else:
                if state.status is Status.FAILED and state.ended_at is not None:
                    before &= or_(ExecutionRow.ended_at.is_(None), ExecutionRow.ended_at < state.ended_at)
                before |= ExecutionRow.watched_until.is_not(None)  # what it was closed as was nobody's word
                columns["watched_until"] = None
            query = update(ExecutionRow).where(ExecutionRow.id == execution_id, before)
            changed = session.connection().execute(query.values(columns)).rowcount
            if changed:
                follow_status(session, execution_id, state.status)
            execution = _get(session, execution_id, None)
        if changed and state.status.over and execution.closed is None:
            ENDED.add(execution.engine, state.status)
        return execution

    def reopen(self, execution_id: str) -> None:
        """When it failed stays stored and isn't shown: a process that knew of that failure may tell of it once more."""
        failed = (ExecutionRow.status == Status.FAILED, ExecutionRow.removed < Part.ALL.value)
        query = select(ExecutionRow).where(ExecutionRow.id == execution_id, *failed)
        with self._database.write() as session:
            row = session.scalar(query.with_for_update())
            if row is not None:
                first, later = row.attempts[:1], row.attempts[1:]
                # The first one stays: it says when the execution began.
                ended = Attempt(row.started_at, row.ended_at, row.reason)
                row.attempts = (*first, *later[-_ATTEMPTS:], ended)
                row.status, row.started_at, row.reason, row.outputs = Status.RUNNING.value, None, None, None
                row.removed = 0
                follow_status(session, execution_id, Status.RUNNING)

    def close(self, execution_id: str, closing: Closing, reason: str, watched_until: datetime) -> Execution:
        query = update(ExecutionRow).where(ExecutionRow.id == execution_id, ExecutionRow.status.in_(_NOT_OVER))
        columns = {
            "status": Status.CANCELLED.value,
            "ended_at": closing.at,
            "reason": reason,
            "closed": closing,
            "watched_until": watched_until,
        }
        with self._database.write() as session:
            changed = session.connection().execute(query.values(columns)).rowcount
            if changed:
                follow_status(session, execution_id, Status.CANCELLED)
            execution = _get(session, execution_id, None)
        if changed:
            ENDED.add(execution.engine, Status.CANCELLED)
        return execution

    def watched(self, now: datetime) -> list[Execution]:
        return self._states(_WATCHED, {"now": now})

    def find_execution(self, execution_id: str, owner: str | None, shared_with: Principal | None = None) -> Execution:
        with self._database.read() as session:
            return _get(session, execution_id, owner, shared_with)

    def page(
        self, wanted: ExecutionFilter, limit: int, cursor: str | None = None
    ) -> tuple[list[Execution], str | None]:
        query, values = listed(wanted, limit + 1, position(cursor), SUMMARY, lateral=self._database.lateral)
        with self._database.read() as session:
            rows, following = cut(session.scalars(query, values).all(), limit)
            return [to_execution(row, SUMMARY) for row in rows], following

    def unfinished(
        self, owner: str | None = None, shared_with: Principal | None = None, at_most: int | None = None
    ) -> list[Execution]:
        wanted = replace(_UNFINISHED, owner=owner, shared_with=shared_with)
        return self._states(*listed(wanted, at_most, unread=STATE, lateral=self._database.lateral))

    def those(self, ids: Collection[str]) -> list[Execution]:
        return self._states(*listed(ExecutionFilter(ids=ids), unread=STATE))

    def commits(self) -> int | None:
        return self._database.commits()

    def of_suspended(self) -> list[Execution]:
        query, values = listed(_UNFINISHED, unread=STATE)
        suspended = select(UserRow.subject).where(UserRow.disabled.is_(True))
        return self._states(query.where(ExecutionRow.owner.in_(suspended)), values)

    def _states(self, query: Select[ExecutionRow], values: Mapping[str, Any]) -> list[Execution]:
        with self._database.read() as session:
            return sorted((to_execution(row, STATE) for row in session.scalars(query, values)), key=_age)

    def check_number(self, owner: str, at_most: int) -> None:
        with self._database.read() as session:
            _check_number(session, owner, at_most)

    def check_room(self, owner: str, inputs: JSON, at_most: int) -> None:
        with self._database.read() as session:
            quota.check_room(session, owner, size_of(inputs), at_most, _NO_ROOM)

    def count_unfinished(self, owner: str) -> int:
        with self._database.read() as session:
            return _count_unfinished(session, owner)

    def without_reference(self, now: datetime) -> list[Execution]:
        """A crash between the stored intent and the engine's answer leaves them."""
        query, values = listed(_UNFINISHED)
        with self._database.read() as session:
            return sorted(map(to_execution, session.scalars(query.where(*_unclaimed(now)), values)), key=_age)

    def claim(self, execution_id: str, now: datetime, until: datetime) -> bool:
        query = (
            update(ExecutionRow).where(ExecutionRow.id == execution_id, *_unclaimed(now)).values(claimed_until=until)
        )
        with self._database.write() as session:
            return session.connection().execute(query).rowcount == 1

    def postpone(self, execution_id: str, until: datetime) -> None:
        query = update(ExecutionRow).where(ExecutionRow.id == execution_id).values(claimed_until=until)
        with self._database.write() as session:
            session.connection().execute(query)


def _check_number(session: Session, owner: str, at_most: int) -> None:
    if _count_unfinished(session, owner) >= at_most:
        detail = (
            f"Your limit of executions that haven't ended is reached: {at_most}. Wait for one to end, or cancel one."
        )
        raise TooManyRequests(detail, _RETRY_AFTER)


def _count_unfinished(session: Session, owner: str) -> int:
    return session.scalar(_NUMBER, {"owner": owner}) or 0


def _unclaimed(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """The conditions on an execution that was left behind and that nobody is at work on."""
    return (
        ExecutionRow.status.in_(_NOT_OVER),
        ExecutionRow.reference.is_(None),
        or_(ExecutionRow.claimed_until.is_(None), ExecutionRow.claimed_until <= now),
    )


def _use_keys(session: Session, execution: Execution, key_ids: Collection[str]) -> None:
    """Records that an execution uses SSH keys."""
    query = select(SSHKeyRow).where(SSHKeyRow.id.in_(key_ids), SSHKeyRow.owner == execution.owner)
    query = query.order_by(SSHKeyRow.id).with_for_update()
    keys = list(session.scalars(query)) if key_ids else []
    if len(keys) < len(key_ids) or any(key.change == "delete" for key in keys):
        raise NotFound("An SSH key that the execution needs has just been deleted.")
    for key in keys:
        key.last_used_at = execution.created_at
        session.add(ExecutionKeyRow(execution_id=execution.id, key_id=key.id))


def _age(execution: Execution) -> tuple[datetime, str]:
    return execution.created_at, execution.id


def _get(session: Session, execution_id: str, owner: str | None, shared_with: Principal | None = None) -> Execution:
    query = select(ExecutionRow).where(ExecutionRow.id == execution_id)
    if owner is not None:
        own = ExecutionRow.owner == owner
        query = query.where(own if shared_with is None else or_(own, lets_in(shared_with)))
    row = session.scalar(query)
    if row is None:
        raise NotFound(_UNKNOWN)
    return to_execution(row)
