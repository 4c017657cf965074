"""`waas executions share`, `unshare` and `shares`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from .. import printing
from ..api import answers, calls
from ..base import Command
from ..errors import UsageError
from ..id_completion import complete_execution
from ..state import State, pass_state

_execution = click.argument("execution_id", shell_complete=complete_execution)
_users = click.option("-u", "--user", "users", metavar="NAME", multiple=True, help="Id of a user; may be repeated.")
_groups = click.option("-g", "--group", "groups", metavar="NAME", multiple=True, help="A group; may be repeated.")


@click.command(cls=Command, name="share")
@_execution
@_users
@_groups
@pass_state
def share(state: State, execution_id: str, users: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Let other users see an execution, its log and its outputs. They can't change anything.

    Here, --user names whom to share with. To sign in with a password, give --user before the command.

    Example:
      waas executions share EXECUTION_ID --user bob --group climate
    """
    if not (users or groups):
        raise UsageError("Say whom to share the execution with: --user NAME or --group NAME.")
    now = _shares(state, execution_id)
    _replace(state, execution_id, {*now["users"], *users}, {*now["groups"], *groups})


@click.command(cls=Command, name="unshare")
@_execution
@_users
@_groups
@pass_state
def unshare(state: State, execution_id: str, users: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Stop sharing an execution with these users and groups, or with everybody when none is named.

    Here, --user names whom to stop sharing with. To sign in with a password, give --user before the command.

    Examples:
      waas executions unshare EXECUTION_ID --user bob
      waas executions unshare EXECUTION_ID
    """
    if users or groups:
        now = _shares(state, execution_id)
        _replace(state, execution_id, {*now.get("users", ())} - {*users}, {*now.get("groups", ())} - {*groups})
        return
    state.client.call(calls.delete_shares(execution_id))
    _say(state, execution_id, {"users": [], "groups": []})


@click.command(cls=Command, name="shares")
@_execution
@pass_state
def shares(state: State, execution_id: str) -> None:
    """List the users and groups that an execution is shared with.

    Example:
      waas executions shares EXECUTION_ID
    """
    found = _shares(state, execution_id)
    if state.prints_json(found):
        return
    if rows := _rows(found):
        state.table(("Kind", "Name"), rows)
    else:
        state.note("The execution is shared with nobody.")


def _shares(state: State, execution_id: str) -> answers.Shares:
    found = state.client.call(calls.get_shares(execution_id))
    return {"users": found.get("users") or [], "groups": found.get("groups") or []}


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(kind, name) for kind in ("user", "group") for name in found[f"{kind}s"]]


def _replace(state: State, execution_id: str, users: set[str], groups: set[str]) -> None:
    wanted: answers.Shares = {"users": sorted(users), "groups": sorted(groups)}
    now = state.client.call(calls.put_shares(execution_id, wanted))
    _say(state, execution_id, now)


def _say(state: State, execution_id: str, now: Mapping[str, Any]) -> None:
    if state.prints_json(now):
        return
    listed = ", ".join(f"{kind} {name}" for kind, name in _rows(now))
    printing.line(f'SUCCESS: The execution "{execution_id}" is shared with {listed or "nobody"}')
