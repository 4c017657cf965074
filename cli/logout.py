"""`waas logout`."""

from __future__ import annotations

import click

from .commands import Command
from .state import State, pass_state


@click.command(cls=Command, name="logout")
@pass_state
def command(state: State) -> None:
    """Sign out: end what `waas login` began, and forget it on this machine.

    Examples:
      waas logout
      waas logout --api_url https://waas.example.org
    """
    from .signing import sign_out

    sign_out(state)
