"""Queries on what the embedded vault sealed."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, select, update

from hpcwaas.errors import NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.models import SecretRow, SSHKeyRow


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

    def replace(self, key_id: str, ciphertext: bytes) -> None:
        """Stores another secret in place of one.

        Raises:
            NotFound: there is none under this id.
        """
        with self._database.write() as session:
            query = update(SecretRow).where(SecretRow.key_id == key_id).values(ciphertext=ciphertext)
            if session.connection().execute(query).rowcount == 0:
                raise NotFound("There is no secret with this id.")

    def exchange(self, key_id: str, old: bytes, new: bytes) -> bool:
        """Stores another secret in place of just this one; False when it isn't there any more."""
        with self._database.write() as session:
            query = update(SecretRow).where(SecretRow.key_id == key_id, SecretRow.ciphertext == old)
            return session.connection().execute(query.values(ciphertext=new)).rowcount == 1

    def after(self, key_id: str, most: int) -> list[tuple[str, bytes]]:
        """The next ids behind this one in their order, with the ciphertexts."""
        with self._database.read() as session:
            query = select(SecretRow.key_id, SecretRow.ciphertext).where(SecretRow.key_id > key_id)
            return [(found, sealed) for found, sealed in session.execute(query.order_by(SecretRow.key_id).limit(most))]

    def unowned(self, before: datetime) -> list[str]:
        """Ids of the secrets from before this moment that belong to no SSH key."""
        with self._database.read() as session:
            query = select(SecretRow.key_id).where(
                SecretRow.created_at < before, SecretRow.key_id.not_in(select(SSHKeyRow.id))
            )
            return list(session.scalars(query))

    def delete(self, key_id: str) -> None:
        """Removes a secret. Harmless when there is none."""
        with self._database.write() as session:
            session.execute(delete(SecretRow).where(SecretRow.key_id == key_id))
