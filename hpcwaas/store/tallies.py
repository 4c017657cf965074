"""Counts records, for metrics."""

from __future__ import annotations

from sqlalchemy import func, select

from hpcwaas.core.models import Status
from hpcwaas.core.ports.tallies import Tally
from hpcwaas.store.database import Database
from hpcwaas.store.models import ExecutionRow, SSHKeyRow

_NOT_OVER = tuple(status for status in Status if not status.over)


class TallyStore:
    """Obeys `Tallies`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unfinished(self) -> list[Tally]:
        query = (
            select(ExecutionRow.engine, ExecutionRow.status, func.count(), func.min(ExecutionRow.created_at))
            .where(ExecutionRow.status.in_(_NOT_OVER))
            .group_by(ExecutionRow.engine, ExecutionRow.status)
        )
        with self._database.read() as session:
            found = session.execute(query).tuples()
            return [Tally(engine, Status(status), number, oldest) for engine, status, number, oldest in found]

    def ssh_keys(self) -> dict[str, int]:
        query = select(SSHKeyRow.type, func.count()).group_by(SSHKeyRow.type)
        with self._database.read() as session:
            return dict(session.execute(query).tuples().all())
