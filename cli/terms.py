"""`waas terms`, and the question about them while signing in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from . import output
from .commands import Command
from .errors import ExitCode, NotFound, UsageError, WaasError
from .state import State, pass_state
from .text import clean, show_time

if TYPE_CHECKING:
    from .client import Client


@click.command(cls=Command, name="terms")
@click.option("--accept", "version", metavar="VERSION", help="Accept this version without being asked.")
@pass_state
def command(state: State, version: str | None) -> None:
    """Show the service's terms of use, and accept them.

    At a terminal you are asked whether you accept them. It is asked once, and again when there is another version. An
    access token can't accept them for its owner: with a password, add --user.

    Examples:
      waas terms
      waas terms --accept 2026-11
      waas terms --user alice
    """
    found = _terms(state.client)
    terms = found["terms"]
    if version is None and state.json:
        output.json(found)
    elif terms is None:
        if version is not None:
            raise UsageError("The service has no terms of use to accept.")
        state.note("The service has no terms of use.")
    elif version is not None:
        _accept(state.client, version)
        _told(state, version)
    elif found["accepted_at"]:
        _show(terms)
        state.note(f"You accepted version {terms['version']} on {show_time(found['accepted_at'])}.")
    else:
        agree(state.client, state)


def agree(client: Client, state: State) -> None:
    """Lets the user accept the terms of use, if there are any that they haven't accepted.

    Raises:
        WaasError: they don't, or there is no terminal to ask them at.
    """
    found = _terms(client)
    terms = found["terms"]
    if terms is None or found["accepted_at"]:
        return
    version = str(terms["version"])
    if not sys.stdin.isatty():
        raise WaasError(
            f"The terms of use of the service, version {version}, haven't been accepted.",
            code=ExitCode.UNAUTHORIZED,
            hint=f"Read them with `waas terms -o json`; then, with the same credentials: waas terms --accept {version}",
        )
    _show(terms)
    if not click.confirm(f"Do you accept these terms of use (version {version})?", err=True):
        raise WaasError("You haven't accepted the terms of use.", code=ExitCode.UNAUTHORIZED)
    _accept(client, version)
    _told(state, version)


def _terms(client: Client) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.get_json("/terms")
    except NotFound:  # a service of before there were any
        return {"terms": None, "accepted_at": None}
    return found


def _accept(client: Client, version: str) -> None:
    client.request("POST", "/terms", json={"version": version}, retry=True)


def _show(terms: dict[str, Any]) -> None:
    for text in (terms["text"], terms["url"]):
        if text:
            click.echo(clean(text), err=True)


def _told(state: State, version: str) -> None:
    state.note(f"Version {version} of the terms of use is accepted.")
