"""Queries on what was asked of an engine that keeps no id of ours.

A start that a crash or a lost answer left open would be asked for again otherwise, by this process or another machine.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update

from hpcwaas.errors import Conflict
from hpcwaas.store.database import Database
from hpcwaas.store.models import StartRow

_KEPT = timedelta(days=30)


class StartStore:
    """Obeys `StartRecords`. Keeps starts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, execution_id: str, place: str, now: datetime) -> tuple[datetime, str | None] | None:
        """It is stored when this returns; what was asked for before must not be asked for again.

        Args:
            place: where in the engine; what is started at different places can't be mixed up.
        """
        try:
            with self._database.write(taken="It was asked for before.") as session:
                session.add(StartRow(execution_id=execution_id, place=place, asked_at=now))
        except Conflict:
            with self._database.read() as session:
                row = session.get_one(StartRow, execution_id)
                return row.asked_at, row.reference
        return None

    def end(self, execution_id: str, reference: str) -> bool:
        query = update(StartRow).where(StartRow.execution_id == execution_id).values(reference=reference)
        try:
            with self._database.write(taken="It is another one's.") as session:
                session.execute(query)
        except Conflict:
            return False
        return True

    def drop(self, execution_id: str) -> None:
        with self._database.write() as session:
            session.execute(delete(StartRow).where(StartRow.execution_id == execution_id))

    def known(self, references: Collection[str]) -> frozenset[str]:
        with self._database.read() as session:
            query = select(StartRow.reference).where(StartRow.reference.in_(references))
            return frozenset(found for found in session.scalars(query) if found is not None)

    def open(self, place: str, since: datetime, until: datetime) -> int:
        query = (
            select(func.count())
            .select_from(StartRow)
            .where(StartRow.place == place, StartRow.asked_at.between(since, until), StartRow.reference.is_(None))
        )
        with self._database.read() as session:
            return session.scalar(query) or 0

    def sweep(self, now: datetime) -> None:
        """Removes what is older than anything that the engine still knows."""
        with self._database.write() as session:
            session.execute(delete(StartRow).where(StartRow.asked_at < now - _KEPT))
