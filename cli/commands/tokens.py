"""`waas tokens`."""

from __future__ import annotations

import click

from .. import printing
from ..api import answers, calls
from ..base import Group, owner_option
from ..credentials import SCOPES
from ..errors import UsageError
from ..id_completion import complete_token
from ..many import each
from ..shaping import Columns
from ..state import State, pass_state
from ..text import show_time

_COLUMNS: Columns = {
    "Token ID": "id",
    "Name": "name",
    "Scopes": lambda token: " ".join(token["scopes"]),
    "Ends": lambda token: show_time(token["expires_at"]),
    "Last used": lambda token: show_time(token["last_used_at"]) if token["last_used_at"] else "never",
}

command = Group(
    "tokens",
    aliases=("token", "tok"),
    help="""Create personal access tokens for scripts and robots, and revoke them.

    Examples:
      waas tokens create nightly --scope workflows:read --scope executions:write
      waas tokens list
      waas tokens revoke nightly
    """,
)


@command.command("list", aliases=("ls", "l"))
@owner_option
@pass_state
def list_tokens(state: State, owner: str | None) -> None:
    """List your personal access tokens, the newest first, without their secrets.

    With --owner, the last column is the owner.

    Example:
      waas tokens list
    """
    state.show_list(_tokens(state, owner), _COLUMNS, empty="No tokens found.", owner=owner is not None)


def _tokens(state: State, owner: str | None = None) -> list[answers.AccessToken]:
    return state.client.call(calls.list_tokens(owner))["tokens"]


@command.command("create", aliases=("new", "make"))
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What the token allows; may be repeated.",
)
@click.option("--days", metavar="N", type=click.IntRange(1), help="How many days the token is valid. [default: 90]")
@pass_state
def create(state: State, name: str, scopes: tuple[answers.Scope, ...], days: int | None) -> None:
    """Create a personal access token.

    Its secret is printed on stdout, alone, and can't be shown again. The scopes for executions cover uploads as well.
    Without the scope `admin`, the token of an operator allows what a plain user may do. A token can't create tokens.

    Examples:
      waas tokens create nightly --scope workflows:read --scope executions:write --days 30
      HW_ACCESS_TOKEN=$(waas tokens create nightly --scope executions:read) waas executions list
    """
    # A word given twice is one scope.
    wanted: answers.NewAccessToken = {"name": name, "scopes": list(dict.fromkeys(scopes))}
    if days:
        wanted["days"] = days
    token = state.client.call(calls.create_token(wanted))
    if state.prints_json(token):
        return
    state.note(f"The token {name} is valid until {show_time(token['expires_at'])}. Its secret isn't shown again.")
    printing.line(token["token"])


@command.command("revoke", aliases=("delete", "del", "rm"))
@click.argument("ids", metavar="TOKEN_ID|NAME...", nargs=-1, required=True, shell_complete=complete_token)
@pass_state
def revoke(state: State, ids: tuple[str, ...]) -> None:
    """Revoke personal access tokens, named by their ids or names. They stop working at once.

    Examples:
      waas tokens revoke nightly
      waas tokens revoke 1c0b7f9e-0d5e-4e43-b8a5-6f1f7a3a2b10
    """
    own = _tokens(state)

    def act(one: str) -> None:
        meant = {token["id"] for token in own if one in (token["id"], token["name"])}
        if len(meant) > 1:
            raise UsageError(f'"{one}" is the name of one token and the id of another: give the id.')
        # Unknown here it may be the id of somebody else's, which an operator may revoke.
        state.client.call(calls.delete_token(meant.pop() if meant else one))

    each(state, ids, act, done="Revoked token", fail="revoke token")
