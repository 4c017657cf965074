"""`waas executions share`, `unshare`, `shares`."""

from __future__ import annotations

from typing import Any

import click

from . import output
from .commands import Command
from .complete import complete_execution
from .errors import UsageError
from .state import State, pass_state
from .urls import path

_users = click.option("-u", "--user", "users", metavar="NAME", multiple=True, help="Id of a user; may be repeated.")
_groups = click.option("-g", "--group", "groups", metavar="NAME", multiple=True, help="A group; may be repeated.")


@click.command(cls=Command, name="share")
@click.argument("execution_id", shell_complete=complete_execution)
@_users
@_groups
@pass_state
def share(state: State, execution_id: str, users: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Let others see an execution, its log and its outputs. They can change nothing.

    --user means with whom here; to sign in, give --user before the command.

    Examples:
      waas executions share EXECUTION_ID --user bob --group climate
    """
    if not (users or groups):
        raise UsageError("With whom? Give --user NAME or --group NAME.")
    now = _shares(state, execution_id)
    _replace(state, execution_id, {*now["users"], *users}, {*now["groups"], *groups})


@click.command(cls=Command, name="unshare")
@click.argument("execution_id", shell_complete=complete_execution)
@_users
@_groups
@pass_state
def unshare(state: State, execution_id: str, users: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Share an execution with these users and groups no longer; without any, with nobody.

    --user means with whom here; to sign in, give --user before the command.

    Examples:
      waas executions unshare EXECUTION_ID --user bob
      waas executions unshare EXECUTION_ID
    """
    if users or groups:
        now = _shares(state, execution_id)
        _replace(state, execution_id, {*now["users"]} - {*users}, {*now["groups"]} - {*groups})
        return
    state.client.request("DELETE", path("executions", execution_id, "shares"), retry=True)
    _say(state, execution_id, {"users": [], "groups": []})


@click.command(cls=Command, name="shares")
@click.argument("execution_id", shell_complete=complete_execution)
@pass_state
def shares(state: State, execution_id: str) -> None:
    """List with whom an execution is shared.

    Example:
      waas executions shares EXECUTION_ID
    """
    found = _shares(state, execution_id)
    rows = [(kind, name) for kind in ("user", "group") for name in found[f"{kind}s"]]
    if state.json:
        output.json(found)
    elif not rows:
        state.note("It is shared with nobody.")
    else:
        output.table(("Kind", "Name"), rows)


def _shares(state: State, execution_id: str) -> dict[str, Any]:
    found: dict[str, Any] = state.client.get_json(path("executions", execution_id, "shares"))
    return {"users": found.get("users") or [], "groups": found.get("groups") or []}


def _replace(state: State, execution_id: str, users: set[str], groups: set[str]) -> None:
    wanted = {"users": sorted(users), "groups": sorted(groups)}
    where = path("executions", execution_id, "shares")
    _say(state, execution_id, state.client.ask("PUT", where, json=wanted, retry=True))


def _say(state: State, execution_id: str, now: dict[str, Any]) -> None:
    if state.json:
        output.json(now)
        return
    listed = [f"{kind} {name}" for kind in ("user", "group") for name in now[f"{kind}s"]]
    output.line(f'SUCCESS: The execution "{execution_id}" is shared with {", ".join(listed) or "nobody"}')
