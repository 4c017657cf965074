"""Queries on what the embedded vault sealed."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, select

from hpcwaas.store.database import Database
from hpcwaas.store.models import SecretRow


class SecretStore:
    """Keeps ciphertexts. Every method may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key_id: str, ciphertext: bytes) -> None:
        """Stores a new secret.

        Raises:
            Conflict: the id is taken; nothing was changed.
        """
        with self._database.write(taken="There is a secret with this id already.") as session:
            session.add(SecretRow(key_id=key_id, ciphertext=ciphertext, created_at=datetime.now(UTC)))

    def get(self, key_id: str) -> bytes | None:
        """The ciphertext stored under this id, if any."""
        with self._database.read() as session:
            return session.scalar(select(SecretRow.ciphertext).where(SecretRow.key_id == key_id))

    def delete(self, key_id: str) -> None:
        """Removes a secret. Harmless when there is none."""
        with self._database.write() as session:
            session.execute(delete(SecretRow).where(SecretRow.key_id == key_id))
