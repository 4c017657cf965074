"""What one run of the command carries along: the given options, the configuration, the client."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from . import config, printing
from .process_list import hide
from .shaping import Columns, chosen, ordered, picked, value, words

if TYPE_CHECKING:
    from .client import Client
    from .config import Config
    from .stepup import SignInAgain


class State:
    """The state of one run, in the context of click.

    Attributes:
        given: global options of the command line by name; those after the command beat those before it.
        unused: those of them that shape a list, as long as nothing was shaped by them.
    """

    def __init__(self) -> None:
        self.given: dict[str, object] = {}
        self.unused = {"columns", "sort"}

    @cached_property
    def config(self) -> config.Config:
        """The effective configuration.

        Raises:
            UsageError: it is wrong.
        """
        hide(str(self.given[name]) for name in ("access_token", "user") if self.given.get(name))
        found = config.from_process(self.given)
        for warning in found.warnings if not self.quiet else ():
            printing.note(warning, as_json=found.for_programs)
        return found

    @property
    def wants_json(self) -> bool:
        """Whether the output is for programs, as JSON or in another form that holds the same."""
        return self.config.for_programs

    @property
    def quiet(self) -> bool:
        """Whether nothing is printed but ids, errors and what was asked for."""
        return bool(self.given.get("quiet"))

    @cached_property
    def client(self) -> Client:
        """The connection to the service; asks for a missing password."""
        from .client import Client

        asked = at_terminal() and self.config.login is not None
        return Client(self.config, note=self.note, sign_in_again=self._sign_in_again if asked else None)

    def _sign_in_again(self, wanted: SignInAgain) -> Config:
        from .single_sign_on import sign_in_again

        return sign_in_again(self.config, self.note, wanted)

    def prints_json(self, found: Any, *, brief: str | None = None, columns: Columns | None = None) -> bool:
        """Prints a result for programs if that is wanted, or its id where nothing else is. Returns whether it did.

        Args:
            brief: what stands for it with --quiet, such as its id; None when it can't be said more briefly.
            columns: further ones that --columns may name.
        """
        if not self.wants_json:
            if self.quiet and brief is not None:
                printing.line(brief)
                return True
            return False
        if isinstance(found, list) and all(isinstance(item, dict) for item in found):
            found = self._in_order(found, columns or {})
        names = self._names("columns") if isinstance(found, list | dict) else ()
        if names:
            found = picked(found, names, columns or {})
        printing.data(found, self.config.output)
        return True

    def prints_entry(self, entry: Any) -> None:
        """Prints one of many results for programs, which follow one another."""
        printing.data(entry, self.config.output, stream=True)

    def line(self, message: str) -> None:
        """Prints a line of a result for readers, unless it is for programs or nobody wants to read."""
        if not (self.wants_json or self.quiet):
            printing.line(message)

    def show_list(
        self, found: Sequence[Any], columns: Columns, *, empty: str, owner: bool = False, brief: bool = False
    ) -> None:
        """Prints a list as a result: as it is for programs, else as a table.

        Args:
            empty: what to say in place of a table without rows.
            owner: whether the last column is the owner of each item.
            brief: as for `printing.table`.
        """
        shown = {**columns, "Owner": "owner"} if owner else columns
        if self.prints_json(list(found), columns=shown):
            return
        items, names = self._in_order(found, shown), self._names("columns")
        if not items:
            self.note(empty)
            return
        if names:
            shown, brief = chosen(names, shown, items, as_written=False), False
        rows = [[printing.cell(value(item, cell)) for cell in shown.values()] for item in items]
        if self.quiet:
            # Whoever wants ids alone wants lines that other commands take.
            for row in rows:
                printing.line("\t".join(row if names else row[:1]))
        else:
            printing.table(tuple(shown), rows, brief=brief)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Prints rows that aren't items of a list as a table, whose columns --columns and --sort may name."""
        items = [dict(zip(headings, row, strict=True)) for row in rows]
        items = self._in_order(items, {each: each for each in headings})
        columns = chosen(self._names("columns") or headings, {each: each for each in headings}, items, as_written=False)
        printing.table(tuple(columns), [[item[str(cell)] for cell in columns.values()] for item in items])

    def _names(self, option: str) -> tuple[str, ...]:
        self.unused.discard(option)
        return words(self.given.get(option))

    def _in_order(self, found: Sequence[Any], columns: Columns) -> list[Any]:
        return ordered(found, self._names("sort"), columns)

    def note(self, message: str) -> None:
        """Tells the user something beside the result."""
        if not self.quiet:
            printing.note(message, as_json=self.wants_json)


def at_terminal() -> bool:
    """Whether a user is at a terminal who can sign in again."""
    return sys.stdin.isatty() and sys.stderr.isatty()


pass_state = click.make_pass_decorator(State, ensure=True)
