"""What the commands `hpcwaas-api user …` work on: the accounts of the store, and those of the settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hpcwaas.command.common import open_audit, read_settings, table

# What the commands need is imported inside them: `--help` answers at once.
if TYPE_CHECKING:
    from hpcwaas.configuration.load import Effective
    from hpcwaas.core.people import User
    from hpcwaas.identity.throttle import Throttle
    from hpcwaas.store.audit import Audit
    from hpcwaas.store.execution_store import ExecutionStore
    from hpcwaas.store.leavers import LeaverStore
    from hpcwaas.store.sessions import SessionStore
    from hpcwaas.store.shares import ShareStore
    from hpcwaas.store.tokens import TokenStore
    from hpcwaas.store.users import UserStore

_COLUMNS = ("user", "name", "from", "roles", "groups", "state")


@dataclass(frozen=True, slots=True)
class Accounts:
    """Where accounts are kept."""

    effective: Effective
    users: UserStore
    sessions: SessionStore
    tokens: TokenStore
    executions: ExecutionStore
    shares: ShareStore
    leavers: LeaverStore
    throttle: Throttle
    audit: Audit

    def roles(self, subject: str, groups: frozenset[str]) -> frozenset[str]:
        """The roles of a subject with these groups, as the settings say."""
        from hpcwaas.core import policy

        auth = self.effective.settings.auth
        return policy.roles(auth.operators if auth else (), auth.operator_groups if auth else ())(subject, groups)


@contextmanager
def open_accounts() -> Iterator[Accounts]:
    """Opens the database. An empty one is filled; one of another version is refused.

    Raises:
        ConfigurationError: it can't be used.
    """
    from hpcwaas.configuration.checks import OUTDATED, make_data_dir
    from hpcwaas.errors import ConfigurationError
    from hpcwaas.identity.throttle import Throttle
    from hpcwaas.store.counters import CounterStore
    from hpcwaas.store.database import Database
    from hpcwaas.store.execution_store import ExecutionStore
    from hpcwaas.store.leavers import LeaverStore
    from hpcwaas.store.sessions import SessionStore
    from hpcwaas.store.shares import ShareStore
    from hpcwaas.store.tokens import TokenStore
    from hpcwaas.store.users import UserStore

    effective = read_settings()
    make_data_dir(effective.settings)
    audit = open_audit(effective.settings)
    database = Database(effective.settings.database_url)
    try:
        if database.current() is None:
            database.upgrade()
        elif not database.is_current():
            raise ConfigurationError("store.url", OUTDATED)
        throttle = Throttle(CounterStore(database))
        yield Accounts(
            effective,
            UserStore(database),
            SessionStore(database),
            TokenStore(database),
            ExecutionStore(database),
            ShareStore(database),
            LeaverStore(database),
            throttle,
            audit,
        )
    finally:
        database.close()
        audit.close()


def ask_password() -> str:
    """The password from the terminal, asked for twice, or from the first line of what is piped in.

    Raises:
        BadRequest: it isn't fit to be one.
    """
    from hpcwaas.errors import BadRequest
    from hpcwaas.identity.passwords import SHORTEST, check_choice

    if sys.stdin.isatty():
        password = click.prompt(
            f"Password (at least {SHORTEST} characters)", hide_input=True, confirmation_prompt="Again", err=True
        )
    else:
        try:
            password = sys.stdin.buffer.readline().decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise BadRequest("The password isn't text in UTF-8.") from error
    check_choice(password)
    return str(password)


def check_name(name: str) -> None:
    """Refuses what can't be the name of an account with a password.

    Raises:
        BadRequest: it can't.
    """
    from hpcwaas.errors import BadRequest
    from hpcwaas.identity.names import usable_with_password

    if not usable_with_password(name):
        raise BadRequest(
            "A name has 1 to 255 printable characters, no colon, and no space at its ends; `*` stands for everybody."
        )


def existing(accounts: Accounts, name: str) -> User:
    """A user of the store."""
    from hpcwaas.errors import NotFound

    refuse_settled(accounts.effective, name)
    found = accounts.users.find(name)
    if found is None:
        raise NotFound(f"There is no user {name}.")
    return found


def refuse_settled(effective: Effective, name: str) -> None:
    """Refuses with `Conflict`, and says where to change it, an account that stands in the settings."""
    from hpcwaas.errors import Conflict

    auth = effective.settings.auth
    for index, account in enumerate(auth.basic_auth.accounts if auth else ()):
        if account.username == name:
            key = "auth.basic_auth.accounts"
            origin = effective.origins.get(f"{key}[{index}]") or effective.origins[key]
            raise Conflict(f"{name} is an account of the settings: change {key}[{index}] ({origin}).")


def rows(accounts: Accounts) -> Iterator[dict[str, Any]]:
    """Everybody, by name, in the form of the JSON output."""
    from hpcwaas.core.people import User

    auth = accounts.effective.settings.auth
    never = datetime.min.replace(tzinfo=UTC)
    settled = {
        account.username: User(account.username, account.username, frozenset(account.groups), "settings", never)
        for account in (auth.basic_auth.accounts if auth else ())
    }
    stored = {user.subject: user for user in accounts.users.all()}
    for _, it in sorted((stored | settled).items()):
        yield {
            "subject": it.subject,
            "name": it.name,
            "source": it.source,
            "roles": sorted(accounts.roles(it.subject, it.groups)),
            "groups": sorted(it.groups),
            "suspended": it.disabled,
            "leaving_since": it.leaving_since.isoformat() if it.leaving_since else None,
            "issuer": it.issuer,
            "sub": it.sub,
            "created_at": None if it.created_at == never else it.created_at.isoformat(),
            "seen_at": it.seen_at.isoformat() if it.seen_at else None,
        }


def listing(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of `rows` for people."""
    return table(
        _COLUMNS,
        [
            (
                row["subject"],
                row["name"],
                row["source"],
                ", ".join(row["roles"]),
                ", ".join(row["groups"]) or "-",
                "being removed" if row["leaving_since"] else "suspended" if row["suspended"] else "-",
            )
            for row in rows
        ],
    )
