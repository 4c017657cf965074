"""Queries on users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, or_, select, update

from hpcwaas.core.people import User
from hpcwaas.errors import NotFound
from hpcwaas.store.columns import columns, value_of
from hpcwaas.store.database import Database
from hpcwaas.store.models import UserRow
from hpcwaas.store.upsert import upsert


class UserStore:
    """Obeys `UserRecords`. Keeps users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, user: User) -> None:
        with self._database.write(taken="There is a user with this name already.") as session:
            session.add(UserRow(**columns(user)))

    def put(self, user: User) -> None:
        """When they were first known, the password, `disabled` and `signed_out_at` stay."""
        with self._database.write(taken="The identity provider's user has another account here.") as session:
            query = upsert(UserRow, session, columns(user))
            told = {name: query.excluded[name] for name in ("name", "groups", "source", "seen_at")}
            older = or_(UserRow.seen_at.is_(None), UserRow.seen_at <= query.excluded.seen_at)
            # Of two who come with the same name at the same moment, one gets it and the other changes nothing of it.
            theirs = and_(
                UserRow.issuer.is_not_distinct_from(query.excluded.issuer),
                UserRow.sub.is_not_distinct_from(query.excluded.sub),
            )
            session.execute(
                query.on_conflict_do_update(index_elements=[UserRow.subject], set_=told, where=and_(older, theirs))
            )

    def pin(self, subject: str, issuer: str, sub: str) -> None:
        with self._database.write(taken="The identity provider's user has another account here.") as session:
            session.execute(
                update(UserRow)
                .where(UserRow.subject == subject, UserRow.source == "sso", UserRow.issuer.is_(None))
                .values(issuer=issuer, sub=sub)
            )

    def move(self, subject: str, issuer: str, sub: str) -> str | None:
        with self._database.write() as session:
            theirs = session.scalar(
                select(UserRow).where(UserRow.issuer == issuer, UserRow.sub == sub).with_for_update()
            )
            before = None if theirs is None or theirs.subject == subject else theirs.subject
            if theirs is not None:
                theirs.sub = None
                session.flush()
            row = session.get(UserRow, subject)
            if row is None:
                raise NotFound("There is no user with this name.")
            row.issuer, row.sub = issuer, sub
            return before

    def reissue(self, old: str, new: str) -> int:
        with self._database.write(taken="A user of the new name of the provider has an account of its own.") as session:
            query = update(UserRow).where(UserRow.issuer == old).values(issuer=new)
            return session.connection().execute(query).rowcount

    def of_identity(self, issuer: str, sub: str) -> User | None:
        with self._database.read() as session:
            row = session.scalar(select(UserRow).where(UserRow.issuer == issuer, UserRow.sub == sub))
            return value_of(User, row, {}) if row else None

    def change(self, subject: str, **changed: Any) -> None:
        with self._database.write() as session:
            query = update(UserRow).where(UserRow.subject == subject).values(changed)
            if session.connection().execute(query).rowcount == 0:
                raise NotFound("There is no user with this name.")

    def rehash(self, subject: str, old: str, new: str) -> None:
        query = update(UserRow).where(UserRow.subject == subject, UserRow.password_hash == old)
        with self._database.write() as session:
            session.execute(query.values(password_hash=new))

    def find(self, subject: str) -> User | None:
        with self._database.read() as session:
            row = session.get(UserRow, subject)
            return value_of(User, row, {}) if row else None

    def all(self) -> Sequence[User]:
        with self._database.read() as session:
            return [value_of(User, row, {}) for row in session.scalars(select(UserRow).order_by(UserRow.subject))]
