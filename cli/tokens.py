"""`waas tokens`."""

from __future__ import annotations

from typing import Any

import click

from . import output
from .commands import Group, owner_option
from .complete import complete_token
from .errors import UsageError
from .many import each
from .state import State, pass_state
from .text import show_time
from .urls import path

SCOPES = ("workflows:read", "executions:read", "executions:write", "keys:write", "admin")
"""What a personal access token may be good for."""


@click.group(cls=Group, name="tokens", aliases=("token", "tok"))
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make personal access tokens for scripts and robots, and revoke them.

    Examples:
      waas tokens create nightly --scope workflows:read --scope executions:write
      waas tokens list
      waas tokens revoke nightly
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("list", aliases=("ls", "l"))
@owner_option
@pass_state
def list_tokens(state: State, owner: str | None) -> None:
    """List your personal access tokens, newest first, without their secrets.

    With --owner, the last column is the owner.

    Example:
      waas tokens list
    """
    found = _tokens(state, owner)
    if state.json:
        output.json(found)
    elif not found:
        state.note("No tokens found.")
    else:
        output.table(
            ("Token ID", "Name", "Scopes", "Ends", "Last used", *(["Owner"] if owner else [])),
            (
                (
                    token["id"],
                    token["name"],
                    " ".join(token["scopes"]),
                    show_time(token["expires_at"]),
                    show_time(token["last_used_at"]) if token["last_used_at"] else "never",
                    *([token["owner"]] if owner else []),
                )
                for token in found
            ),
        )


def _tokens(state: State, owner: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state.client.get_json("/tokens", owner=owner)["tokens"]
    return found


@command.command("create", aliases=("new", "make"))
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="What for; may be repeated."
)
@click.option("--days", metavar="N", type=click.IntRange(1), help="Its life. [default: 90]")
@pass_state
def create(state: State, name: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Make a personal access token. Its secret is printed on stdout this once, and nothing else is.

    Files count as executions. Without `admin`, an operator's token is one of a plain user. A token can't make others.

    Examples:
      waas tokens create nightly --scope workflows:read --scope executions:write --days 30
      HW_ACCESS_TOKEN=$(waas tokens create nightly --scope executions:read) waas executions list
    """
    # A word given twice is one scope.
    wanted = {"name": name, "scopes": list(dict.fromkeys(scopes)), **({"days": days} if days else {})}
    token = state.client.ask("POST", "/tokens", json=wanted)
    if state.json:
        output.json(token)
        return
    state.note(f"The token {name} counts until {show_time(token['expires_at'])}. It isn't shown again.")
    output.line(token["token"])


@command.command("revoke", aliases=("delete", "del", "rm"))
@click.argument("ids", metavar="TOKEN_ID|NAME...", nargs=-1, required=True, shell_complete=complete_token)
@pass_state
def revoke(state: State, ids: tuple[str, ...]) -> None:
    """Revoke personal access tokens, by their ids or names. They count no longer, at once.

    Examples:
      waas tokens revoke nightly
      waas tokens revoke 1c0b7f9e-0d5e-4e43-b8a5-6f1f7a3a2b10
    """
    own = _tokens(state)

    def act(one: str) -> None:
        meant = {token["id"] for token in own if one in (token["id"], token["name"])}
        if len(meant) > 1:
            raise UsageError(f'"{one}" is the name of one token and the id of another: give ids.')
        # Unknown here it may be the id of somebody else's, which an operator may revoke.
        state.client.request("DELETE", path("tokens", meant.pop() if meant else one))

    each(state, ids, act, done="Revoked token", fail="revoke token")
