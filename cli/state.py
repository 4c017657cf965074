"""What one run of the command carries around: options given, configuration, client."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING

import click

from . import config, output
from .process_list import hide

if TYPE_CHECKING:
    from .client import Client
    from .config import Config
    from .stepup import SignInAgain


class State:
    """Travels in the context of click.

    Attributes:
        given: global options of the command line by name; those after the command beat those before it.
    """

    def __init__(self) -> None:
        self.given: dict[str, object] = {}

    @cached_property
    def config(self) -> config.Config:
        """The effective configuration.

        Raises:
            UsageError: it is wrong.
        """
        hide(str(self.given[name]) for name in ("access_token", "user") if self.given.get(name))
        found = config.from_process(self.given)
        for warning in found.warnings:
            output.note(warning, json=found.output == "json")
        return found

    @property
    def json(self) -> bool:
        """Whether the output is for programs."""
        return self.config.output == "json"

    @cached_property
    def client(self) -> Client:
        """The connection to the service; asks for a missing password."""
        from .client import Client

        asked = at_terminal() and self.config.login is not None
        return Client(self.config, note=self.note, sign_in_again=self._sign_in_again if asked else None)

    def _sign_in_again(self, wanted: SignInAgain) -> Config:
        from .single_sign_on import sign_in_again

        return sign_in_again(self.config, self.note, wanted)

    def note(self, message: str) -> None:
        """Tells the user something beside the result."""
        output.note(message, json=self.json)


def at_terminal() -> bool:
    """Whether somebody looks on who can sign in once more; for a script nobody does."""
    return sys.stdin.isatty() and sys.stderr.isatty()


pass_state = click.make_pass_decorator(State, ensure=True)
