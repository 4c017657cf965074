"""`waas whoami`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from . import output
from .commands import Command
from .state import State, pass_state
from .text import size


@click.command(cls=Command, name="whoami")
@pass_state
def command(state: State) -> None:
    """Show who the service takes you for, what you may do, and how much of your limits is used.

    Examples:
      waas whoami
      waas whoami -o json | jq -r .subject
    """
    user: dict[str, Any] = state.client.get_json("/whoami")
    if state.json:
        output.json(user)
        return
    limits = user["limits"]
    scopes = user["scopes"]
    output.table(
        ("What", "Value"),
        [
            ("User", user["subject"]),
            ("Name", user["name"]),
            ("Service", state.config.api_url),
            ("Roles", ", ".join(user["roles"])),
            ("Groups", ", ".join(user["groups"])),
            ("Scopes", "everything" if scopes is None else ", ".join(scopes)),
            ("Executions that go on", _used(limits["executions"], str)),
            ("Uploaded files", _used(limits["stored"], size)),
            ("Requests in a minute", _used(limits["requests"], str)),
        ],
    )


def _used(usage: dict[str, Any], show: Callable[[int], str]) -> str:
    """`2 of 100`."""
    limit = usage["limit"]
    return f"{show(usage['used'])} of {show(limit)}" if limit is not None else f"{show(usage['used'])}, no limit"
