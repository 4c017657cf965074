"""Queries on users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select, update

from hpcwaas.core.people import User
from hpcwaas.errors import NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.models import UserRow
from hpcwaas.store.upsert import upsert


class UserStore:
    """Keeps users. Every method may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, user: User) -> None:
        """See `UserRecords`."""
        with self._database.write(taken="There is a user with this name already.") as session:
            session.add(UserRow(**_columns(user)))

    def put(self, user: User) -> None:
        """See `UserRecords`. When they were first known, the password, `disabled` and `signed_out_at` stay."""
        with self._database.write() as session:
            query = upsert(UserRow, session, _columns(user))
            told = {name: query.excluded[name] for name in ("name", "groups", "source", "seen_at")}
            older = or_(UserRow.seen_at.is_(None), UserRow.seen_at <= query.excluded.seen_at)
            session.execute(query.on_conflict_do_update(index_elements=[UserRow.subject], set_=told, where=older))

    def change(self, subject: str, **columns: Any) -> None:
        """See `UserRecords`."""
        if "groups" in columns:
            columns["groups"] = sorted(columns["groups"])
        with self._database.write() as session:
            query = update(UserRow).where(UserRow.subject == subject).values(columns)
            if session.connection().execute(query).rowcount == 0:
                raise NotFound("There is no user with this name.")

    def rehash(self, subject: str, old: str, new: str) -> None:
        """See `UserRecords`."""
        query = update(UserRow).where(UserRow.subject == subject, UserRow.password_hash == old)
        with self._database.write() as session:
            session.execute(query.values(password_hash=new))

    def find(self, subject: str) -> User | None:
        """See `UserRecords`."""
        with self._database.read() as session:
            row = session.get(UserRow, subject)
            return _user(row) if row else None

    def all(self) -> Sequence[User]:
        """See `UserRecords`."""
        with self._database.read() as session:
            return [_user(row) for row in session.scalars(select(UserRow).order_by(UserRow.subject))]


def _columns(user: User) -> dict[str, Any]:
    return {
        "subject": user.subject,
        "name": user.name,
        "groups": sorted(user.groups),
        "source": user.source,
        "password_hash": user.password_hash,
        "disabled": user.disabled,
        "created_at": user.created_at,
        "seen_at": user.seen_at,
        "signed_out_at": user.signed_out_at,
    }


def _user(row: UserRow) -> User:
    return User(
        subject=row.subject,
        name=row.name,
        groups=frozenset(row.groups),
        source=row.source,
        created_at=row.created_at,
        password_hash=row.password_hash,
        disabled=row.disabled,
        seen_at=row.seen_at,
        signed_out_at=row.signed_out_at,
    )
