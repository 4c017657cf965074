"""`waas login`."""

from __future__ import annotations

import click

from .commands import Command
from .state import State, pass_state


@click.command(cls=Command, name="login")
@click.option("--device", is_flag=True, help="Sign in by a browser on another device, with a code.")
@click.option("--no-browser", is_flag=True, help="Open no browser, only show the address.")
@click.option("--acr-values", metavar="VALUES", help="How to sign in, as the service has demanded it.")
@click.option("--max-age", metavar="SECONDS", type=click.IntRange(0), help="Sign in anew unless it was so lately.")
@pass_state
def command(state: State, device: bool, no_browser: bool, acr_values: str | None, max_age: int | None) -> None:
    """Sign in to a service, once for all commands on this machine.

    By single sign-on a browser opens. Over SSH, or where there is no browser, a code is shown that you enter in one on
    any other device. Where the service has passwords, yours is asked for; where it has both, if you give --user. The
    password isn't kept: a personal access token is made with it that counts for 30 days.

    The page in the browser asks first whether it is you who signs in here. Some things demand a stronger or fresher
    sign-in: then, at a terminal, the command that needs it signs in anew and goes on; else it says what to run.

    What is kept lies in ~/.local/state/waas/credentials.json ($XDG_STATE_HOME/waas), which nobody else can read. It is
    used for this service only, and renewed when need be. The address becomes the default for all commands.

    Examples:
      waas login --api_url https://waas.example.org
      waas login --api_url https://waas.example.org --user alice
      waas login --device
    """
    from .signing import sign_in
    from .stepup import Demand

    sign_in(state, device=device, no_browser=no_browser, demand=Demand(acr_values, max_age))
