"""Queries on what is shared with whom."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, or_, select

from hpcwaas.core.people import Principal, Shares
from hpcwaas.errors import NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.models import ExecutionRow, ShareRow


class ShareStore:
    """Obeys `ShareRecords`. Keeps shares of executions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def shares_of(self, execution_id: str) -> Shares:
        with self._database.read() as session:
            rows = list(session.scalars(select(ShareRow).where(ShareRow.execution_id == execution_id)))
        return Shares(
            frozenset(row.name for row in rows if row.kind == "user"),
            frozenset(row.name for row in rows if row.kind == "group"),
        )

    def put(self, execution_id: str, shares: Shares) -> None:
        execution = select(ExecutionRow.id).where(ExecutionRow.id == execution_id).with_for_update(key_share=True)
        with self._database.write() as session:
            if session.scalar(execution) is None:
                raise NotFound("There is no execution with this id.")
            session.execute(delete(ShareRow).where(ShareRow.execution_id == execution_id))
            for kind, names in (("user", shares.users), ("group", shares.groups)):
                session.add_all(ShareRow(execution_id=execution_id, kind=kind, name=name) for name in sorted(names))


def with_user(principal: Principal) -> ColumnElement[bool]:
    """The condition on `ShareRow` that it lets this user in."""
    return or_(
        and_(ShareRow.kind == "user", ShareRow.name == principal.subject),
        and_(ShareRow.kind == "group", ShareRow.name.in_(sorted(principal.groups))),
    )
