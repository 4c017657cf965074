"""Queries on SSH keys, their public part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from hpcwaas.core.models import ExecutionFilter, SSHKey, Status
from hpcwaas.errors import Conflict, KeyInUse, NotFound
from hpcwaas.store.columns import columns, value_of
from hpcwaas.store.database import Database
from hpcwaas.store.execution_lists import listed
from hpcwaas.store.models import AccountRow, ExecutionKeyRow, ExecutionRow, IntentRow, SSHKeyRow

_UNKNOWN = "There is no SSH key with this id."
_NOT_OVER = tuple(status for status in Status if not status.over)


class SSHKeyStore:
    """Obeys `SSHKeyRecords`. Keeps what is known of SSH keys.

    An `owner` of None stands for every owner.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: SSHKey) -> None:
        """The intent to make the key is forgotten.

        Raises:
            Conflict: its owner has a key of this name, or the id is taken.
        """
        with self._database.write(taken="You already have an SSH key of this name.") as session:
            session.execute(delete(IntentRow).where(IntentRow.key_id == key.id))
            session.add(SSHKeyRow(**columns(key, "metadata"), details=dict(key.metadata)))

    def has_name(self, owner: str, name: str) -> bool:
        with self._database.read() as session:
            query = select(SSHKeyRow.id).where(SSHKeyRow.owner == owner, SSHKeyRow.name == name)
            return session.scalar(query) is not None

    def of(self, owner: str | None) -> list[SSHKey]:
        with self._database.read() as session:
            query = _select(owner).order_by(SSHKeyRow.created_at, SSHKeyRow.id)
            return [_key(row) for row in session.scalars(query)]

    def find_key(self, key_id: str, owner: str | None) -> SSHKey:
        with self._database.read() as session:
            return _key(_row(session, key_id, owner))

    def begin(
        self, change: str, key_id: str, owner: str, now: datetime, stale: datetime, *, even_in_use: bool = True
    ) -> SSHKey:
        with self._database.write() as session:
            row = _row(session, key_id, owner, lock=True)
            if row.changing_since is not None and row.changing_since >= stale:
                raise Conflict("The SSH key is being changed at this moment. Try again soon.")
            if not even_in_use:
                opened = select(AccountRow.site).where(AccountRow.ssh_key == key_id).order_by(AccountRow.site)
                executions, sites = _using(session, key_id, owner), list(session.scalars(opened))
                if executions or sites:
                    raise KeyInUse(executions, sites)
            row.change, row.changing_since = change, now
            return _key(row)

    def leave(self, key_id: str, since: datetime | None) -> None:
        values = {"changing_since": since} | ({"change": None} if since is None else {})
        self._update(key_id, values)

    def rotated(self, key_id: str, key: SSHKey, begun: datetime) -> bool:
        values = {
            "public_key": key.public_key,
            "fingerprint": key.fingerprint,
            "rotated_at": key.rotated_at,
            "replaced": key.replaced,
            "change": None,
            "changing_since": None,
        }
        query = update(SSHKeyRow).where(SSHKeyRow.id == key_id, SSHKeyRow.changing_since == begun).values(**values)
        with self._database.write() as session:
            return session.connection().execute(query).rowcount > 0

    def confirm(self, key_id: str, owner: str) -> SSHKey:
        with self._database.write() as session:
            row = _row(session, key_id, owner, lock=True)
            row.replaced = ()
            return _key(row)

    def left(self, before: datetime) -> Sequence[tuple[str, SSHKey]]:
        with self._database.read() as session:
            query = select(SSHKeyRow).where(SSHKeyRow.changing_since < before).order_by(SSHKeyRow.changing_since)
            return [(row.change or "", _key(row)) for row in session.scalars(query)]

    def delete(self, key_id: str, owner: str) -> None:
        with self._database.write() as session:
            query = delete(SSHKeyRow).where(SSHKeyRow.id == key_id, SSHKeyRow.owner == owner)
            if session.connection().execute(query).rowcount == 0:
                raise NotFound(_UNKNOWN)
            # Whatever their last check found: nothing opens these accounts any more.
            session.execute(update(AccountRow).where(AccountRow.ssh_key == key_id).values(usable=False))

    def _update(self, key_id: str, values: Mapping[str, Any]) -> None:
        with self._database.write() as session:
            session.execute(update(SSHKeyRow).where(SSHKeyRow.id == key_id).values(**values))


def _select(owner: str | None) -> Select[SSHKeyRow]:
    query = select(SSHKeyRow)
    return query if owner is None else query.where(SSHKeyRow.owner == owner)


def _row(session: Session, key_id: str, owner: str | None, *, lock: bool = False) -> SSHKeyRow:
    query = _select(owner).where(SSHKeyRow.id == key_id)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(_UNKNOWN)
    return row


def _using(session: Session, key_id: str, owner: str) -> Sequence[str]:
    # Of what the owner has running, since a key may have been used by any number that have ended.
    query, values = listed(ExecutionFilter(owner, statuses=_NOT_OVER))
    with_key = select(ExecutionKeyRow.key_id).where(
        ExecutionKeyRow.execution_id == ExecutionRow.id, ExecutionKeyRow.key_id == key_id
    )
    query = query.where(with_key.limit(1).scalar_subquery().is_not(None))
    ids = query.with_only_columns(ExecutionRow.id).order_by(ExecutionRow.created_at, ExecutionRow.id)
    return list(session.scalars(ids, values))


def _key(row: SSHKeyRow) -> SSHKey:
    return value_of(SSHKey, row, {"metadata": row.details})
