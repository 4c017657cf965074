"""Queries on what is shared with whom."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update
from sqlalchemy.orm import Session, load_only

from hpcwaas.core.models import Status
from hpcwaas.core.people import Principal, Shares
from hpcwaas.errors import NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.models import ExecutionRow, ShareRow

_COPIED = ("owner", "workflow_id", "status", "created_at")
"""What shares have of their executions."""


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
        query = select(ExecutionRow).where(ExecutionRow.id == execution_id).with_for_update(key_share=True)
        query = query.options(load_only(*(getattr(ExecutionRow, name) for name in _COPIED)))
        with self._database.write() as session:
            row = session.scalar(query)
            if row is None:
                raise NotFound("There is no execution with this id.")
            session.execute(delete(ShareRow).where(ShareRow.execution_id == execution_id))
            copied = {name: getattr(row, name) for name in _COPIED}
            for kind, names in (("user", shares.users), ("group", shares.groups)):
                session.add_all(
                    ShareRow(execution_id=execution_id, kind=kind, name=name, **copied) for name in sorted(names)
                )


def follow_status(session: Session, execution_id: str, status: Status) -> None:
    """Lets shares know in which state an execution is now. Whoever changes it has hold of the execution's row."""
    changed = and_(ShareRow.execution_id == execution_id, ShareRow.status != status.value)
    session.execute(
        update(ShareRow).where(changed).values(status=status.value).execution_options(synchronize_session=False)
    )


def lets_in(principal: Principal) -> ColumnElement[bool]:
    """The condition that an execution is shared with a user: one look into an index, whether it is or not."""
    theirs = or_(
        and_(ShareRow.kind == "user", ShareRow.name == principal.subject),
        and_(ShareRow.kind == "group", ShareRow.name.in_(sorted(principal.groups))),
    )
    return exists().where(ShareRow.execution_id == ExecutionRow.id, theirs)
