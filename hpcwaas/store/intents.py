"""Queries on the SSH keys that are about to be written to a vault elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, select

from hpcwaas.store.database import Database
from hpcwaas.store.models import IntentRow


class IntentStore:
    """Keeps intents; `SSHKeyStore.add` removes the one of the key that it stores. Methods may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key_id: str) -> None:
        """Notes the intent to write this key.

        Raises:
            Conflict: it is noted already.
        """
        with self._database.write(taken="This key is being written already.") as session:
            session.add(IntentRow(key_id=key_id, created_at=datetime.now(UTC)))

    def remove(self, key_id: str) -> None:
        """Forgets one. Harmless when there is none."""
        with self._database.write() as session:
            session.execute(delete(IntentRow).where(IntentRow.key_id == key_id))

    def before(self, moment: datetime) -> list[str]:
        """The keys whose intents are from before this moment."""
        with self._database.read() as session:
            query = select(IntentRow.key_id).where(IntentRow.created_at < moment).order_by(IntentRow.created_at)
            return list(session.scalars(query))
