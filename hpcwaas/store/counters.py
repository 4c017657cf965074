"""Queries on how often something happened."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import case, delete, select

from hpcwaas.store.database import Database
from hpcwaas.store.models import CounterRow
from hpcwaas.store.upsert import upsert


class CounterStore:
    """Obeys `Counters`. Counts in windows of time: a window begins with the first count."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: str, window: timedelta, now: datetime, amount: int = 1) -> int:
        first = {"key": key, "count": amount, "expires_at": now + window}
        over = CounterRow.expires_at <= now
        with self._database.write() as session:
            query = upsert(CounterRow, session, first)
            query = query.on_conflict_do_update(
                index_elements=[CounterRow.key],
                set_={
                    "count": case((over, amount), else_=CounterRow.count + amount),
                    "expires_at": case((over, first["expires_at"]), else_=CounterRow.expires_at),
                },
            )
            return session.scalars(query.returning(CounterRow.count)).one()

    def count_of(self, key: str, now: datetime) -> tuple[int, datetime]:
        """0 and this moment when there is none."""
        with self._database.read() as session:
            row = session.scalar(select(CounterRow).where(CounterRow.key == key, CounterRow.expires_at > now))
            return (row.count, row.expires_at) if row else (0, now)

    def clear(self, key: str) -> None:
        with self._database.write() as session:
            session.execute(delete(CounterRow).where(CounterRow.key == key))

    def clear_all(self, beginning: str) -> None:
        with self._database.write() as session:
            session.execute(delete(CounterRow).where(CounterRow.key.startswith(beginning, autoescape=True)))

    def sweep(self, now: datetime) -> None:
        """Removes counts whose window is over."""
        with self._database.write() as session:
            session.execute(delete(CounterRow).where(CounterRow.expires_at <= now))
