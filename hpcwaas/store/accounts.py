"""Queries on users' accounts on sites."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, select, update

from hpcwaas.core.site_models import Account
from hpcwaas.errors import NotFound
from hpcwaas.store.columns import columns, value_of
from hpcwaas.store.database import Database
from hpcwaas.store.models import AccountRow, SSHKeyRow
from hpcwaas.store.turns import Turn, take


class AccountStore:
    """Obeys `AccountRecords`. Keeps users' accounts on sites."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, owner: str) -> list[Account]:
        with self._database.read() as session:
            query = select(AccountRow).where(AccountRow.owner == owner).order_by(AccountRow.site)
            return [value_of(Account, row, {}) for row in session.scalars(query)]

    def put(self, account: Account) -> tuple[Account, bool]:
        with self._database.write() as session:
            take(session, Turn.ACCOUNTS, account.owner)
            if account.ssh_key is not None:
                # Locked, so that it isn't deleted meanwhile.
                query = select(SSHKeyRow).where(SSHKeyRow.id == account.ssh_key, SSHKeyRow.owner == account.owner)
                key = session.scalar(query.with_for_update())
                if key is None or key.change == "delete":
                    raise NotFound("There is no SSH key with this id.")
            row = session.get(AccountRow, (account.owner, account.site))
            if row is None:
                session.add(AccountRow(**columns(account)))
                return account, True
            stored = value_of(Account, row, {})
            if (stored.user, stored.ssh_key) == (account.user, account.ssh_key):
                return stored, False
            row.user, row.ssh_key, row.checked_at, row.usable = account.user, account.ssh_key, None, None
            return replace(account, created_at=stored.created_at), False

    def delete(self, owner: str, site: str) -> None:
        with self._database.write() as session:
            query = delete(AccountRow).where(AccountRow.owner == owner, AccountRow.site == site)
            if session.connection().execute(query).rowcount == 0:
                raise NotFound(f"You have no account on the site `{site}`.")

    def checked(self, account: Account, now: datetime, usable: bool) -> None:
        query = update(AccountRow).where(
            AccountRow.owner == account.owner,
            AccountRow.site == account.site,
            AccountRow.user == account.user,
            AccountRow.ssh_key.is_not_distinct_from(account.ssh_key),
        )
        with self._database.write() as session:
            session.execute(query.values(checked_at=now, usable=usable))
