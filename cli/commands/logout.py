"""`waas logout`."""

from __future__ import annotations

import click

from ..base import Command
from ..state import State, pass_state


@click.command(cls=Command, name="logout")
@click.option(
    "--everywhere",
    is_flag=True,
    help="End all your sign-ins, on every machine and in every browser: after you have lost a laptop, for instance. "
    "Access tokens that you created yourself stay valid: see `waas tokens list`.",
)
@pass_state
def command(state: State, everywhere: bool) -> None:
    """Sign out: end the sign-in of `waas login`, and delete it from this machine.

    Examples:
      waas logout
      waas logout --everywhere
      waas logout --api_url https://waas.example.org
    """
    from ..signing import sign_out

    sign_out(state, everywhere=everywhere)
