"""Queries on sign-ins that go on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update

from hpcwaas.core.people import Proof, UserSession
from hpcwaas.store.columns import columns, value_of
from hpcwaas.store.database import Database
from hpcwaas.store.models import SessionRow
from hpcwaas.store.upsert import replacing


class SessionStore:
    """Obeys `SessionRecords`. Keeps sessions, found by digests of their tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, session: UserSession, token_digest: str, refresh_digest: str | None) -> None:
        values = columns(session, "proof") | {
            "token_digest": token_digest,
            "refresh_digest": refresh_digest,
            "replaced_digest": None,
            "acr": session.proof.acr,
            "proved_at": session.proof.at,
        }
        with self._database.write() as transaction:
            transaction.execute(replacing(SessionRow, transaction, values, SessionRow.token_digest))

    def of_token(self, token_digest: str, now: datetime) -> UserSession | None:
        """The session whose access token has this digest and counts at this moment."""
        with self._database.read() as session:
            row = session.scalar(
                select(SessionRow).where(SessionRow.token_digest == token_digest, SessionRow.expires_at > now)
            )
            return _session(row) if row else None

    def of_refresh(self, refresh_digest: str, now: datetime) -> UserSession | None:
        """The session that can be renewed by the token with this digest at this moment."""
        with self._database.read() as session:
            row = session.scalar(
                select(SessionRow).where(SessionRow.refresh_digest == refresh_digest, SessionRow.ends_at > now)
            )
            return _session(row) if row else None

    def of_replaced(self, refresh_digest: str) -> UserSession | None:
        """The session that was last renewed by the token with this digest."""
        with self._database.read() as session:
            row = session.scalar(select(SessionRow).where(SessionRow.replaced_digest == refresh_digest))
            return _session(row) if row else None

    def renew(
        self, session_id: str, old_refresh_digest: str, token_digest: str, refresh_digest: str, expires_at: datetime
    ) -> bool:
        query = (
            update(SessionRow)
            .where(SessionRow.id == session_id, SessionRow.refresh_digest == old_refresh_digest)
            .values(
                token_digest=token_digest,
                refresh_digest=refresh_digest,
                replaced_digest=old_refresh_digest,
                expires_at=expires_at,
            )
        )
        with self._database.write() as session:
            return session.connection().execute(query).rowcount == 1

    def end(self, session_id: str) -> None:
        """Harmless when it has ended."""
        with self._database.write() as session:
            session.execute(delete(SessionRow).where(SessionRow.id == session_id))

    def end_all(self, subject: str) -> None:
        with self._database.write() as session:
            session.execute(delete(SessionRow).where(SessionRow.subject == subject))

    def sweep(self, now: datetime) -> None:
        """Removes sessions that are over."""
        with self._database.write() as session:
            session.execute(delete(SessionRow).where(SessionRow.ends_at <= now))


def _session(row: SessionRow) -> UserSession:
    return value_of(UserSession, row, {"proof": Proof(row.acr, row.proved_at)})
