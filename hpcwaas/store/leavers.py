"""Queries on users who leave."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, func, select, update

from hpcwaas.store.database import Database
from hpcwaas.store.models import (
    AcceptedTermsRow,
    AccountRow,
    ExecutionRow,
    IdempotencyRow,
    SessionRow,
    ShareRow,
    SSHKeyRow,
    TokenRow,
    UploadRow,
    UserRow,
)

_LARGE = {"executions": ExecutionRow.owner, "uploads": UploadRow.owner, "ssh_keys": SSHKeyRow.owner}
"""What has content elsewhere, which goes first."""
_SMALL = {
    "accounts": AccountRow.owner,
    "tokens": TokenRow.owner,
    "sessions": SessionRow.subject,
    "terms": AcceptedTermsRow.subject,
    "idempotency": IdempotencyRow.owner,
}


class LeaverStore:
    """Obeys `LeaverRecords`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def leave(self, subject: str, now: datetime) -> None:
        """Shuts a user out and notes that everything of theirs is to be removed; harmless when repeated.

        One of whom only things are left, since their account stood in the settings, gets a row for that.
        """
        changed = {"disabled": True, "signed_out_at": now, "leaving_since": now}
        query = update(UserRow).where(UserRow.subject == subject, UserRow.leaving_since.is_(None))
        with self._database.write() as session:
            if session.get(UserRow, subject) is None:
                row = UserRow(
                    subject=subject, name=subject, groups=frozenset(), source="basic", disabled=True, created_at=now
                )
                session.add(row)
                session.flush()
            session.connection().execute(query.values(changed))
            for column in (TokenRow.owner, SessionRow.subject):
                session.execute(delete(column.class_).where(column == subject))

    def leaving(self) -> list[str]:
        with self._database.read() as session:
            return list(session.scalars(select(UserRow.subject).where(UserRow.leaving_since.is_not(None))))

    def counts(self, subject: str) -> Mapping[str, int]:
        """How much of each kind is kept of a user."""
        with self._database.read() as session:
            return {
                name: session.scalar(select(func.count()).select_from(column.class_).where(column == subject)) or 0
                for name, column in (_LARGE | _SMALL).items()
            }

    def forget(self, subject: str) -> bool:
        with self._database.write() as session:
            for column in _LARGE.values():
                if session.scalar(select(column).where(column == subject).limit(1)) is not None:
                    return False
            for column in _SMALL.values():
                session.execute(delete(column.class_).where(column == subject))
            session.execute(delete(ShareRow).where(ShareRow.kind == "user", ShareRow.name == subject))
            gone = delete(UserRow).where(UserRow.subject == subject, UserRow.leaving_since.is_not(None))
            return session.connection().execute(gone).rowcount == 1

    def given(self, subject: str) -> list[str]:
        """Ids of the executions that others share with a user by name."""
        query = select(ShareRow.execution_id).where(ShareRow.kind == "user", ShareRow.name == subject)
        with self._database.read() as session:
            return list(session.scalars(query.order_by(ShareRow.execution_id)))

    def rows(self, subject: str) -> Mapping[str, list[Mapping[str, object]]]:
        """What the store keeps of a user besides executions, as it is kept: digests of secrets left out."""
        columns = {"users": UserRow.subject, **_SMALL, "uploads": UploadRow.owner, "ssh_keys": SSHKeyRow.owner}
        with self._database.read() as session:
            return {
                name: [_members(row) for row in session.scalars(select(column.class_).where(column == subject))]
                for name, column in columns.items()
            }


def _members(row: object) -> Mapping[str, object]:
    attributes = row.__mapper__.column_attrs  # type: ignore[attr-defined]
    hidden = ("digest", "password_hash")
    return {it.key: getattr(row, it.key) for it in attributes if not it.key.endswith(hidden)}
