"""Queries on what counts once and for minutes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, select, update

from hpcwaas.core.models import JSON
from hpcwaas.store.database import Database
from hpcwaas.store.models import TicketRow


class TicketStore:
    """Obeys `Tickets`. Keeps tickets: small JSON objects under a kind and a key.

    Keys are digests where the key is a secret.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, kind: str, key: str, content: Mapping[str, JSON], expires_at: datetime) -> None:
        with self._database.write(taken="Try again.") as session:
            session.add(TicketRow(kind=kind, key=key, content=dict(content), expires_at=expires_at))

    def find_ticket(self, kind: str, key: str, now: datetime) -> Mapping[str, JSON] | None:
        query = select(TicketRow.content).where(
            TicketRow.kind == kind, TicketRow.key == key, TicketRow.expires_at > now
        )
        with self._database.read() as session:
            content: Mapping[str, JSON] | None = session.scalar(query)
            return content

    def take(self, kind: str, key: str, now: datetime) -> Mapping[str, JSON] | None:
        """The ticket is gone after that."""
        query = (
            delete(TicketRow)
            .where(TicketRow.kind == kind, TicketRow.key == key, TicketRow.expires_at > now)
            .returning(TicketRow.content)
        )
        with self._database.write() as session:
            content: Mapping[str, JSON] | None = session.scalar(query)
            return content

    def change(self, kind: str, key: str, content: Mapping[str, JSON], now: datetime) -> bool:
        query = (
            update(TicketRow)
            .where(TicketRow.kind == kind, TicketRow.key == key, TicketRow.expires_at > now)
            .values(content=dict(content))
        )
        with self._database.write() as session:
            return session.connection().execute(query).rowcount == 1

    def sweep(self, now: datetime) -> None:
        """Removes tickets that count no longer."""
        with self._database.write() as session:
            session.execute(delete(TicketRow).where(TicketRow.expires_at <= now))
