"""Queries on executions that are removed, or parts of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.orm import defer

from hpcwaas.core.endings import Part
from hpcwaas.core.models import Execution, Status
from hpcwaas.store.database import Database
from hpcwaas.store.execution_rows import SUMMARY, size_of, to_execution
from hpcwaas.store.models import ExecutionRow, ExecutionSourceRow, ShareRow

_OVER = tuple(status for status in Status if status.over)
_UNBEGUN = (Status.PENDING, Status.UNKNOWN)


class RemovalStore:
    """Obeys `RemovalRecords`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, execution_id: str, now: datetime) -> bool:
        there = (ExecutionRow.id == execution_id, ExecutionRow.status.in_(_OVER), ExecutionRow.removed < Part.ALL.value)
        query = update(ExecutionRow).where(*there)
        emptied = {
            "removed": ExecutionRow.removed + Part.ALL.value,
            "removing_since": now,
            "claimed_until": now,
            "watched_until": None,
            "inputs": {},
            "inputs_size": 0,
            "outputs": None,
            "steps": (),
            "attempts": None,
        }
        with self._database.write() as session:
            if session.connection().execute(query.values(emptied)).rowcount == 0:
                return False
            session.execute(delete(ShareRow).where(ShareRow.execution_id == execution_id))
            return True

    def take(self, now: datetime, until: datetime, limit: int) -> list[Execution]:
        due = select(ExecutionRow).where(ExecutionRow.removed >= Part.ALL.value, ExecutionRow.claimed_until <= now)
        query = due.order_by(ExecutionRow.claimed_until).limit(limit).with_for_update(skip_locked=True)
        with self._database.write() as session:
            rows = list(session.scalars(query))
            for row in rows:
                row.claimed_until = until
            return [to_execution(row) for row in rows]

    def wait(self, execution_id: str, until: datetime, problem: str) -> None:
        query = update(ExecutionRow).where(ExecutionRow.id == execution_id, ExecutionRow.removed >= Part.ALL.value)
        with self._database.write() as session:
            session.connection().execute(query.values(claimed_until=until, removal_problem=problem))

    def finish(self, execution_id: str) -> bool:
        query = delete(ExecutionRow).where(ExecutionRow.id == execution_id, ExecutionRow.removed >= Part.ALL.value)
        with self._database.write() as session:
            return session.connection().execute(query).rowcount == 1

    def takers(self, execution_id: str) -> bool:
        query = select(
            exists().where(
                ExecutionSourceRow.source_id == execution_id,
                ExecutionRow.id == ExecutionSourceRow.execution_id,
                ExecutionRow.status.in_(_UNBEGUN),
            )
        )
        with self._database.read() as session:
            return bool(session.scalar(query))

    def expired(
        self, part: Part, before: datetime, now: datetime, limit: int, workflow_id: str | None = None
    ) -> list[Execution]:
        query = select(ExecutionRow).where(
            ExecutionRow.ended_at < before,
            ExecutionRow.status.in_(_OVER),
            or_(ExecutionRow.watched_until.is_(None), ExecutionRow.watched_until <= now),
            or_(ExecutionRow.claimed_until.is_(None), ExecutionRow.claimed_until <= now),
        )
        if workflow_id is not None:
            query = query.where(ExecutionRow.workflow_id == workflow_id)
        query = query.options(*(defer(getattr(ExecutionRow, name)) for name in SUMMARY)).order_by(ExecutionRow.ended_at)
        found: list[Execution] = []
        with self._database.read() as session:
            for removed in _with(part):  # one after the other, so that an index has them in order
                rows = session.scalars(query.where(ExecutionRow.removed == removed).limit(limit - len(found)))
                found += [to_execution(row, SUMMARY) for row in rows]
                if len(found) == limit:
                    break
        return found

    def put_off(self, execution_id: str, until: datetime) -> None:
        query = update(ExecutionRow).where(ExecutionRow.id == execution_id, ExecutionRow.removed < Part.ALL.value)
        with self._database.write() as session:
            session.connection().execute(query.values(claimed_until=until))

    def parted(self, execution_id: str, part: Part, kept: int) -> bool:
        query = select(ExecutionRow).where(ExecutionRow.id == execution_id, ExecutionRow.removed.in_(_with(part)))
        with self._database.write() as session:
            row = session.scalar(query.with_for_update())
            if row is None:
                return False
            row.removed += part.value
            if part is Part.OUTPUTS:
                row.outputs = None
            row.kept_size = kept + size_of(row.outputs)
            return True

    def ended(self, owner: str, limit: int) -> list[str]:
        query = (
            select(ExecutionRow.id)
            .where(ExecutionRow.owner == owner, ExecutionRow.removed < Part.ALL.value)
            .limit(limit)
        )
        with self._database.read() as session:
            return list(session.scalars(query.where(ExecutionRow.status.in_(_OVER))))

    def number(self, owner: str) -> int:
        with self._database.read() as session:
            return (
                session.scalar(select(func.count()).select_from(ExecutionRow).where(ExecutionRow.owner == owner)) or 0
            )


def _with(part: Part) -> list[int]:
    """What `removed` may be where a part is still there."""
    return [number for number in range(Part.ALL.value) if not number & part.value]
