"""The commands `hpcwaas-api user …`: accounts with passwords that the store keeps."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hpcwaas.command import read_settings, reporting, settings_flags, table

# What the commands need is imported inside them: `--help` answers at once.
if TYPE_CHECKING:
    from hpcwaas.audit import Audit
    from hpcwaas.configuration.load import Effective
    from hpcwaas.core.people import User
    from hpcwaas.identity.throttle import Throttle
    from hpcwaas.store.sessions import SessionStore
    from hpcwaas.store.users import UserStore

_COLUMNS = ("user", "name", "from", "roles", "groups", "state")


@dataclass(frozen=True, slots=True)
class _Accounts:
    """Where accounts are kept."""

    effective: Effective
    users: UserStore
    sessions: SessionStore
    throttle: Throttle
    audit: Audit


@click.group(short_help="Look after accounts and who may sign in.")
def user() -> None:
    """Look after accounts: those with passwords that stand in the database, and who may sign in at all.

    Accounts of the configuration file are listed and stay as they are there. A running service follows within 2
    seconds.
    """


@user.command()
@click.argument("name")
@click.option("--group", "-g", "groups", multiple=True, help="Group that the user belongs to; may be repeated.")
@click.option("--name", "full_name", help="Full name, for display. Default: NAME.")
@settings_flags
def add(name: str, groups: Sequence[str], full_name: str | None) -> None:
    """Add an account NAME with a password, which is asked for, or read from a pipe's first line."""
    with reporting(), _accounts() as accounts:
        from hpcwaas.core.people import User
        from hpcwaas.errors import Conflict
        from hpcwaas.identity.passwords import hash_password

        _check_name(name)
        _refuse_settled(accounts.effective, name)
        if accounts.users.find(name):
            raise Conflict(f"There is a user {name} already.")
        hashed = hash_password(_ask_password())
        accounts.users.add(
            User(name, full_name or name, frozenset(groups), "basic", datetime.now(UTC), password_hash=hashed)
        )
        accounts.audit.record_command("user add", name)
        click.echo(f"{name}: added")
        auth = accounts.effective.settings.auth
        if auth is None or "basic" not in auth.auth_type:
            click.echo("hpcwaas-api: accounts count when `auth.auth_type` has `basic` in it; it hasn't", err=True)


@user.command("list")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", help="Form of the list.")
@settings_flags
def list_(output: str) -> None:
    """List who may sign in with a password, and who has signed in by single sign-on."""
    with reporting(), _accounts() as accounts:
        rows = list(_rows(accounts))
        click.echo(json.dumps(rows, indent=2) if output == "json" else _table(rows))


@user.command()
@click.argument("name")
@settings_flags
def passwd(name: str) -> None:
    """Give NAME another password, and end the user's sessions. Access tokens stay."""
    with reporting(), _accounts() as accounts:
        from hpcwaas.errors import Conflict
        from hpcwaas.identity.passwords import hash_password

        if _existing(accounts, name).source != "basic":
            raise Conflict(f"{name} signs in by single sign-on and has no password here.")
        accounts.users.change(name, password_hash=hash_password(_ask_password()))
        accounts.sessions.end_all(name)
        accounts.throttle.reopen(name)
        accounts.audit.record_command("user passwd", name)
        click.echo(f"{name}: password changed")


@user.command()
@click.argument("name")
@settings_flags
def disable(name: str) -> None:
    """Shut NAME out: no sign-in, no session, no access token. What is theirs stays, and executions go on."""
    with reporting(), _accounts() as accounts:
        _existing(accounts, name)
        accounts.users.change(name, disabled=True)
        accounts.sessions.end_all(name)
        accounts.audit.record_command("user disable", name)
        click.echo(f"{name}: disabled")


@user.command()
@click.argument("name")
@settings_flags
def enable(name: str) -> None:
    """Let NAME in again. Access tokens that haven't expired count again."""
    with reporting(), _accounts() as accounts:
        _existing(accounts, name)
        accounts.users.change(name, disabled=False)
        accounts.throttle.reopen(name)
        accounts.audit.record_command("user enable", name)
        click.echo(f"{name}: enabled")


@user.command()
@click.argument("name")
@click.option(
    "--group", "-g", "given", multiple=True, metavar="GROUP", help="A group; may be repeated. None: no group."
)
@settings_flags
def groups(name: str, given: tuple[str, ...]) -> None:
    """Put NAME into these groups and no others."""
    with reporting(), _accounts() as accounts:
        from hpcwaas.errors import Conflict

        if _existing(accounts, name).source != "basic":
            raise Conflict(f"{name} signs in by single sign-on, and the identity provider tells the groups.")
        accounts.users.change(name, groups=frozenset(given))
        accounts.audit.record_command("user groups", name)
        click.echo(f"{name}: {', '.join(sorted(set(given))) or 'in no group'}")


@user.command("hash")
def hash_() -> None:
    """Print a password's hash, for `password_hash` in the configuration file."""
    with reporting():
        from hpcwaas.identity.passwords import hash_password

        click.echo(hash_password(_ask_password()))


@contextmanager
def _accounts() -> Iterator[_Accounts]:
    """Opens the database. An empty one is filled; one of another version is refused.

    Raises:
        ConfigurationError: it can't be used.
    """
    from hpcwaas.audit import Audit
    from hpcwaas.configuration.preflight import OUTDATED, make_data_dir
    from hpcwaas.errors import ConfigurationError
    from hpcwaas.identity.throttle import Throttle
    from hpcwaas.store.counters import CounterStore
    from hpcwaas.store.database import Database
    from hpcwaas.store.sessions import SessionStore
    from hpcwaas.store.users import UserStore

    effective = read_settings()
    make_data_dir(effective.settings)
    audit = Audit(effective.settings)
    database = Database(effective.settings.database_url)
    try:
        if database.current() is None:
            database.upgrade()
        elif not database.is_current():
            raise ConfigurationError("store.url", OUTDATED)
        throttle = Throttle(CounterStore(database))
        yield _Accounts(effective, UserStore(database), SessionStore(database), throttle, audit)
    finally:
        database.close()
        audit.close()


def _ask_password() -> str:
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


def _check_name(name: str) -> None:
    from hpcwaas.errors import BadRequest

    if not 0 < len(name) <= 255 or ":" in name or not name.isprintable() or name != name.strip():
        raise BadRequest("A name has 1 to 255 printable characters, no colon, and no space at its ends.")


def _existing(accounts: _Accounts, name: str) -> User:
    """A user of the store."""
    from hpcwaas.errors import NotFound

    _refuse_settled(accounts.effective, name)
    found = accounts.users.find(name)
    if found is None:
        raise NotFound(f"There is no user {name}.")
    return found


def _refuse_settled(effective: Effective, name: str) -> None:
    from hpcwaas.errors import Conflict

    auth = effective.settings.auth
    for index, account in enumerate(auth.basic_auth.accounts if auth else ()):
        if account.username == name:
            key = "auth.basic_auth.accounts"
            origin = effective.origins.get(f"{key}[{index}]") or effective.origins[key]
            raise Conflict(f"{name} stands in the settings: change {key}[{index}] ({origin}).")


def _rows(accounts: _Accounts) -> Iterator[dict[str, Any]]:
    """Everybody, by name, in the form of the JSON output."""
    from hpcwaas.core import policy
    from hpcwaas.core.people import User

    auth = accounts.effective.settings.auth
    roles = policy.roles(auth.operators if auth else (), auth.operator_groups if auth else ())
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
            "roles": sorted(roles(it.subject, it.groups)),
            "groups": sorted(it.groups),
            "disabled": it.disabled,
            "created_at": None if it.created_at == never else it.created_at.isoformat(),
            "seen_at": it.seen_at.isoformat() if it.seen_at else None,
        }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    return table(
        _COLUMNS,
        [
            (
                row["subject"],
                row["name"],
                row["source"],
                ", ".join(row["roles"]),
                ", ".join(row["groups"]) or "-",
                "disabled" if row["disabled"] else "-",
            )
            for row in rows
        ],
    )
