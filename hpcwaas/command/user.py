"""The commands `hpcwaas-api user …`: who may sign in, and by what account."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from hpcwaas.command.accounts import (
    Accounts,
    ask_password,
    check_name,
    existing,
    listing,
    open_accounts,
    refuse_settled,
    rows,
)
from hpcwaas.command.common import reporting, settings_flags
from hpcwaas.command.user_data import export, remove


@click.group(short_help="Manage accounts, and say who may sign in.")
def user() -> None:
    """Manage the accounts of the database, and say who may sign in.

    Accounts of the configuration file are listed, but can only be changed there. A running service follows a change
    within 2 seconds.
    """


user.add_command(export)
user.add_command(remove)


@user.command()
@click.argument("name")
@click.option("--group", "-g", "groups", multiple=True, help="Group that the user belongs to; may be repeated.")
@click.option("--name", "full_name", help="Full name, for display. Default: NAME.")
@settings_flags
def add(name: str, groups: Sequence[str], full_name: str | None) -> None:
    """Add an account NAME with a password. The command asks for it, or reads the first line of a pipe."""
    with reporting(), open_accounts() as accounts:
        from hpcwaas.core.people import User
        from hpcwaas.errors import Conflict
        from hpcwaas.identity.passwords import hash_password

        check_name(name)
        refuse_settled(accounts.effective, name)
        if accounts.users.find(name):
            raise Conflict(f"There is already a user {name}.")
        hashed = hash_password(ask_password())
        accounts.users.add(
            User(name, full_name or name, frozenset(groups), "basic", datetime.now(UTC), password_hash=hashed)
        )
        accounts.audit.record_command("user add", name)
        click.echo(f"{name}: added")
        auth = accounts.effective.settings.auth
        if auth is None or "basic" not in auth.auth_type:
            click.echo(
                "hpcwaas-api: nobody can sign in with an account, since `auth.auth_type` doesn't contain `basic`",
                err=True,
            )


@user.command("list")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", help="Format of the list.")
@settings_flags
def list_(output: str) -> None:
    """List who may sign in with a password, and who has signed in by single sign-on."""
    with reporting(), open_accounts() as accounts:
        found = list(rows(accounts))
        click.echo(json.dumps(found, indent=2) if output == "json" else listing(found))


@user.command()
@click.argument("name")
@click.option("--keep-tokens", is_flag=True, help="Keep the user's access tokens valid, so that scripts go on.")
@settings_flags
def passwd(name: str, keep_tokens: bool) -> None:
    """Give NAME another password, end the user's sessions, and revoke their access tokens."""
    with reporting(), open_accounts() as accounts:
        from hpcwaas.errors import Conflict
        from hpcwaas.identity.passwords import hash_password

        if existing(accounts, name).source != "basic":
            raise Conflict(f"{name} signs in by single sign-on and has no password here.")
        accounts.users.change(name, password_hash=hash_password(ask_password()))
        accounts.sessions.end_all(name)
        revoked = 0 if keep_tokens else accounts.tokens.delete_all(name)
        accounts.throttle.reopen(name)
        accounts.audit.record_command("user passwd", name)
        click.echo(f"{name}: password changed{_revoked(revoked)}")


@user.command()
@click.argument("name")
@settings_flags
def suspend(name: str) -> None:
    """Shut NAME out: end their sessions and executions, and refuse their password and all their tokens.

    A running service follows within 2 seconds. Files, keys and executions of the user are kept: they are there again
    after `unsuspend`. With single sign-on, somebody who has never signed in can be shut out as well: NAME is what the
    identity provider will say.
    """
    with reporting(), open_accounts() as accounts:
        new = _await(accounts, name)
        existing(accounts, name)
        # In this order: what is made anew meanwhile is for nobody.
        accounts.users.change(name, disabled=True, signed_out_at=datetime.now(UTC))
        _end_sign_ins(accounts, name)
        accounts.audit.record_command("user suspend", name)
        running = accounts.executions.count_unfinished(name)
        ending = f"; the service ends {running} execution{'' if running == 1 else 's'}" if running else ""
        click.echo(f"{name}: suspended{' before the first sign-in' if new else ''}{ending}")
        if new:
            click.echo(
                "hpcwaas-api: nobody has signed in by this name yet; compare it with what the identity provider calls "
                "the user, to the letter",
                err=True,
            )


@user.command()
@click.argument("name")
@settings_flags
def unsuspend(name: str) -> None:
    """Let NAME in again. The user has to sign in again and to make new access tokens."""
    with reporting(), open_accounts() as accounts:
        from hpcwaas.errors import Conflict

        if existing(accounts, name).leaving_since is not None:
            raise Conflict(f"{name} is being removed; that can't be undone.")
        _end_sign_ins(accounts, name)  # what was made at the very moment of the suspension
        accounts.users.change(name, disabled=False)
        accounts.throttle.reopen(name)
        accounts.audit.record_command("user unsuspend", name)
        click.echo(f"{name}: may sign in again")


@user.command()
@click.argument("name")
@click.option("--sub", required=True, help="The user's id at the identity provider (the claim `sub`).")
@click.option("--issuer", metavar="URL", help="The identity provider. Default: the one of the settings.")
@settings_flags
def move(name: str, sub: str, issuer: str | None) -> None:
    """Give the account NAME to another user of the identity provider.

    An account belongs to the user who signed in to it first, even if names change later. The former owner can't use it
    any more: its sessions end, and its access tokens are revoked. If the new owner had another account here, nobody
    owns that one afterwards.
    """
    with reporting(), open_accounts() as accounts:
        from hpcwaas.errors import BadRequest, Conflict

        auth = accounts.effective.settings.auth
        known = None if auth is None else auth.issuer or auth.user_info_url
        issuer = issuer or known
        if issuer is None:
            raise BadRequest("The settings name no identity provider: name it by --issuer.")
        if not 0 < len(sub) <= 255:
            raise BadRequest("--sub has 1 to 255 characters.")
        if existing(accounts, name).source != "sso":
            raise Conflict(f"{name} signs in with a password, so no user of an identity provider can own this account.")
        before = accounts.users.move(name, issuer, sub)
        for subject in (name, *([before] if before else [])):
            accounts.users.change(subject, signed_out_at=datetime.now(UTC))
            _end_sign_ins(accounts, subject)
        accounts.audit.record_command("user move", name)
        click.echo(f"{name}: belongs to {sub} of {issuer}")
        if before:
            click.echo(f"{before}: belongs to nobody")


@user.command()
@click.argument("old")
@click.argument("new")
@settings_flags
def issuer(old: str, new: str) -> None:
    """Follow an identity provider to a new address: accounts of OLD belong to the same users of NEW.

    OLD and NEW are the provider's `issuer`, exactly. Use this only if it is the same provider, whose user ids mean the
    same as before.
    """
    with reporting(), open_accounts() as accounts:
        from hpcwaas.errors import NotFound

        moved = accounts.users.reissue(old, new)
        if not moved:
            raise NotFound(f"No account belongs to a user of {old}.")
        accounts.audit.record_command("user issuer", new)
        click.echo(f"{new}: {moved} account{'' if moved == 1 else 's'}")


@user.command()
@click.argument("name")
@click.option(
    "--group",
    "-g",
    "given",
    multiple=True,
    metavar="GROUP",
    help="A group; may be repeated. Without this option: no groups.",
)
@settings_flags
def groups(name: str, given: tuple[str, ...]) -> None:
    """Put NAME into these groups and no others."""
    with reporting(), open_accounts() as accounts:
        from hpcwaas.errors import Conflict

        if existing(accounts, name).source != "basic":
            raise Conflict(f"{name} signs in by single sign-on, so the groups come from the identity provider.")
        accounts.users.change(name, groups=frozenset(given))
        if "operator" not in accounts.roles(name, frozenset(given)):
            accounts.tokens.drop_scope(name, "admin")
        accounts.audit.record_command("user groups", name)
        click.echo(f"{name}: {', '.join(sorted(set(given))) or 'in no group'}")


@user.command("hash")
def hash_() -> None:
    """Print a password's hash, for `password_hash` in the configuration file."""
    with reporting():
        from hpcwaas.identity.passwords import hash_password

        click.echo(hash_password(ask_password()))


def _await(accounts: Accounts, name: str) -> bool:
    """Makes an account, which is suspended, for whoever may come by single sign-on under a name that nobody has.

    Returns:
        whether nobody had it.
    """
    from hpcwaas.core.people import User
    from hpcwaas.errors import Conflict
    from hpcwaas.identity.names import usable

    refuse_settled(accounts.effective, name)
    auth = accounts.effective.settings.auth
    if auth is None or "sso" not in auth.auth_type or not usable(name) or accounts.users.find(name) is not None:
        return False
    try:
        accounts.users.add(User(name, name, frozenset(), "sso", datetime.now(UTC), disabled=True))
    except Conflict:  # they have come at this very moment
        return False
    return True


def _end_sign_ins(accounts: Accounts, name: str) -> None:
    accounts.sessions.end_all(name)
    accounts.tokens.delete_all(name)


def _revoked(tokens: int) -> str:
    return f"; {tokens} access token{'' if tokens == 1 else 's'} revoked" if tokens else ""
