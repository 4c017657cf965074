"""What the service remembers of itself."""

from __future__ import annotations

from sqlalchemy import select

from hpcwaas.store.database import Database
from hpcwaas.store.models import FactRow
from hpcwaas.store.upsert import upsert


class FactStore:
    """Keeps facts that are said once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def first(self, name: str, content: str) -> str:
        """What was said first of something; notes this when nothing was."""
        with self._database.write() as session:
            session.execute(upsert(FactRow, session, {"name": name, "content": content}).on_conflict_do_nothing())
        return self.known(name) or content

    def known(self, name: str) -> str | None:
        """What was said of something."""
        with self._database.read() as session:
            found: str | None = session.scalar(select(FactRow.content).where(FactRow.name == name))
            return found
