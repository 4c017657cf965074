"""Queries on SSH keys, their public part."""

from __future__ import annotations

from sqlalchemy import delete, select

from hpcwaas.core.models import SSHKey
from hpcwaas.errors import NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.models import SSHKeyRow

_UNKNOWN = "There is no SSH key with this id."


class SSHKeyStore:
    """Keeps what is known of SSH keys. Every method may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: SSHKey) -> None:
        """Stores a new key.

        Raises:
            Conflict: its owner has a key of this name, or the id is taken.
        """
        with self._database.write(taken="You have an SSH key of this name already.") as session:
            session.add(
                SSHKeyRow(
                    id=key.id,
                    owner=key.owner,
                    name=key.name,
                    type=key.type,
                    bits=key.bits,
                    public_key=key.public_key,
                    fingerprint=key.fingerprint,
                    details=dict(key.metadata),
                    created_at=key.created_at,
                )
            )

    def of(self, owner: str) -> list[SSHKey]:
        """The keys of a user, oldest first."""
        with self._database.read() as session:
            query = select(SSHKeyRow).where(SSHKeyRow.owner == owner).order_by(SSHKeyRow.created_at, SSHKeyRow.id)
            return [_key(row) for row in session.scalars(query)]

    def get(self, key_id: str, owner: str) -> SSHKey:
        """One key.

        Raises:
            NotFound: unknown, or somebody else's.
        """
        with self._database.read() as session:
            row = session.scalar(select(SSHKeyRow).where(SSHKeyRow.id == key_id, SSHKeyRow.owner == owner))
            if row is None:
                raise NotFound(_UNKNOWN)
            return _key(row)

    def delete(self, key_id: str, owner: str) -> None:
        """Forgets a key.

        Raises:
            NotFound: unknown, or somebody else's.
        """
        with self._database.write() as session:
            query = delete(SSHKeyRow).where(SSHKeyRow.id == key_id, SSHKeyRow.owner == owner)
            if session.connection().execute(query).rowcount == 0:
                raise NotFound(_UNKNOWN)


def _key(row: SSHKeyRow) -> SSHKey:
    return SSHKey(
        id=row.id,
        owner=row.owner,
        name=row.name,
        type=row.type,
        bits=row.bits,
        public_key=row.public_key,
        fingerprint=row.fingerprint,
        metadata=row.details,
        created_at=row.created_at,
    )
