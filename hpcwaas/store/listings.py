"""Queries on what engines last listed, so that it can be shown when they can't be asked, after a restart, too."""

from __future__ import annotations

from datetime import datetime

from hpcwaas.core.models import JSON
from hpcwaas.store.database import Database
from hpcwaas.store.models import ListingRow
from hpcwaas.store.upsert import replacing


class ListingStore:
    """Obeys `ListingRecords`. Keeps lists."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_listing(self, name: str) -> tuple[JSON, datetime] | None:
        with self._database.read() as session:
            row = session.get(ListingRow, name)
            return None if row is None else (row.content, row.read_at)

    def put(self, name: str, content: JSON, read_at: datetime) -> None:
        with self._database.write() as session:
            values = {"name": name, "content": content, "read_at": read_at}
            session.execute(replacing(ListingRow, session, values, ListingRow.name))
