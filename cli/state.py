"""What one run of the command carries around: options given, configuration, client."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import click

from . import config, output
from .process_list import hide

if TYPE_CHECKING:
    from .client import Client


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

        return Client(self.config, note=self.note)

    def note(self, message: str) -> None:
        """Tells the user something beside the result."""
        output.note(message, json=self.json)


pass_state = click.make_pass_decorator(State, ensure=True)
