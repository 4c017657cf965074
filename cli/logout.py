"""`waas logout`."""

from __future__ import annotations

import click

from .commands import Command
from .state import State, pass_state


@click.command(cls=Command, name="logout")
@click.option(
    "--everywhere",
    is_flag=True,
    help="End your sign-ins on all machines and in all browsers, as after the loss of one. Access tokens that you made "
    "yourself go on: see waas tokens list.",
)
@pass_state
def command(state: State, everywhere: bool) -> None:
    """Sign out: end what `waas login` began, and forget it on this machine.

    Examples:
      waas logout
      waas logout --everywhere
      waas logout --api_url https://waas.example.org
    """
    from .signing import sign_out

    sign_out(state, everywhere=everywhere)
