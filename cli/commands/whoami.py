"""`waas whoami`."""

from __future__ import annotations

from collections.abc import Callable

import click

from .. import printing
from ..api import answers, calls
from ..base import Command
from ..state import State, pass_state
from ..text import size


@click.command(cls=Command, name="whoami")
@pass_state
def command(state: State) -> None:
    """Show which user you are signed in as, what you may do, and how much of your limits you use.

    Examples:
      waas whoami
      waas whoami -o json | jq -r .subject
    """
    user = state.client.call(calls.whoami())
    if state.prints_json(user):
        return
    limits = user["limits"]
    scopes = user["scopes"]
    printing.table(
        ("What", "Value"),
        [
            ("User", user["subject"]),
            ("Name", user["name"]),
            ("Service", state.config.api_url),
            ("Roles", ", ".join(user["roles"])),
            ("Groups", ", ".join(user["groups"])),
            ("Scopes", "all" if scopes is None else ", ".join(scopes)),
            ("Unfinished executions", _used(limits["executions"], str)),
            ("Stored data", _used(limits["stored"], size)),
            ("Requests in the last minute", _used(limits["requests"], str)),
        ],
    )


def _used(usage: answers.Usage, show: Callable[[int], str]) -> str:
    """`2 of 100`."""
    limit = usage["limit"]
    return f"{show(usage['used'])} of {show(limit)}" if limit is not None else f"{show(usage['used'])}, no limit"
