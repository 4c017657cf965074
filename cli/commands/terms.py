"""`waas terms`."""

from __future__ import annotations

import click

from ..base import Command
from ..errors import UsageError
from ..state import State, pass_state
from ..text import show_time


@click.command(cls=Command, name="terms")
@click.option("--accept", "version", metavar="VERSION", help="Accept this version without being asked.")
@pass_state
def command(state: State, version: str | None) -> None:
    """Show the service's terms of use, and accept them.

    At a terminal you are asked whether you accept them, once for each version. An access token can't accept them for
    its owner: give your password with --user.

    Examples:
      waas terms
      waas terms --accept 2026-11
      waas terms --user alice
    """
    from ..agreement import accept, agree, show, terms_of_use

    found = terms_of_use(state.client)
    terms = found["terms"]
    if version is None and state.wants_json:
        state.prints_json(found)
    elif terms is None:
        if version is not None:
            raise UsageError("The service has no terms of use, so there is nothing to accept.")
        state.note("The service has no terms of use.")
    elif version is not None:
        accept(state.client, version)
    elif found["accepted_at"]:
        show(terms)
        state.note(f"You accepted version {terms['version']} on {show_time(found['accepted_at'])}.")
    else:
        agree(state.client)
