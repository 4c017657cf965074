"""`waas login`."""

from __future__ import annotations

import click

from ..base import Command
from ..state import State, pass_state


@click.command(cls=Command, name="login")
@click.option("--device", is_flag=True, help="Sign in by a browser on another device, where you enter a code.")
@click.option("--no-browser", is_flag=True, help="Show the address to open instead of opening a browser.")
@click.option("--acr-values", metavar="VALUES", help="Sign in by one of these methods, as the service asks.")
@click.option(
    "--max-age",
    metavar="SECONDS",
    type=click.IntRange(0),
    help="Sign in anew if your last sign-in at the identity provider is older than this.",
)
@pass_state
def command(state: State, device: bool, no_browser: bool, acr_values: str | None, max_age: int | None) -> None:
    """Sign in to a service, once for all commands on this machine.

    With single sign-on a browser opens. Over SSH, or where there is no browser, you get a code to enter in a browser on
    any other device. Where the service has passwords, you are asked for yours; where it has both, add --user to use
    your password. The password isn't kept: it is used to create a personal access token that is valid for 30 days.

    The page in the browser first asks you to confirm that it is you who signs in from this terminal. For some things
    the service asks for a stronger or more recent sign-in. At a terminal, the command that needs it then signs you in
    again and goes on; elsewhere it says what to run.

    Your sign-in is kept in ~/.local/state/waas/credentials.json (or under $XDG_STATE_HOME), which other users can't
    read. It is sent to this service only, and renewed when necessary. The address becomes the default for all commands.

    Examples:
      waas login --api_url https://waas.example.org
      waas login --api_url https://waas.example.org --user alice
      waas login --device
    """
    from ..signing import sign_in
    from ..stepup import Demand

    sign_in(state, device=device, no_browser=no_browser, demand=Demand(acr_values, max_age))
