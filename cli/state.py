"""What one run of the command carries along: the given options, the configuration, the client."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from . import config, printing
from .process_list import hide

if TYPE_CHECKING:
    from .client import Client
    from .config import Config
    from .stepup import SignInAgain


Columns: TypeAlias = Mapping[str, str | Callable[[Any], object]]
"""The columns of a table by their headings: the member of an item that is shown, or what makes the cell of an item."""


class State:
    """The state of one run, in the context of click.

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
            printing.note(warning, as_json=found.output == "json")
        return found

    @property
    def wants_json(self) -> bool:
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

    def prints_json(self, value: Any) -> bool:
        """Prints a result as JSON if that is wanted. Returns whether it is."""
        if self.wants_json:
            printing.json(value)
        return self.wants_json

    def line(self, message: str) -> None:
        """Prints a line of a result, unless JSON is wanted."""
        if not self.wants_json:
            printing.line(message)

    def show_list(self, found: Sequence[Any], columns: Columns, *, empty: str, owner: bool = False) -> None:
        """Prints a list as a result: as it is in JSON, else as a table.

        Args:
            empty: what to say in place of a table without rows.
            owner: whether the last column is the owner of each item.
        """
        if self.prints_json(found):
            return
        if not found:
            self.note(empty)
            return
        shown = {**columns, "Owner": "owner"} if owner else columns
        cells = shown.values()
        rows = [[item.get(cell) if isinstance(cell, str) else cell(item) for cell in cells] for item in found]
        printing.table(tuple(shown), rows)

    def note(self, message: str) -> None:
        """Tells the user something beside the result."""
        printing.note(message, as_json=self.wants_json)


def at_terminal() -> bool:
    """Whether a user is at a terminal who can sign in again."""
    return sys.stdin.isatty() and sys.stderr.isatty()


pass_state = click.make_pass_decorator(State, ensure=True)
