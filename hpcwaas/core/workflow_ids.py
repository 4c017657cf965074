"""Whose workflow an id names, when several engines publish some."""

from __future__ import annotations

import re
from collections.abc import Mapping

SEPARATOR = ":"


class WorkflowIds:
    """The ids of all engines' workflows, without a clash whatever the engines list.

    What has the form of an engine's ids is this engine's, the first one's where forms overlap. Everything else is known
    as `NAME:ID`. So an id never changes its meaning with what other engines list, or while one is down.

    Args:
        forms: a regular expression for the ids of each engine, by its name; None for one without a form of its own.
    """

    def __init__(self, forms: Mapping[str, str | None]) -> None:
        self._forms = {name: re.compile(form, re.DOTALL) if form else None for name, form in forms.items()}

    def known_as(self, engine: str, own: str) -> str:
        """The id by which users know a workflow.

        Args:
            own: the engine's own id of it.
        """
        return own if self._owner(own) == engine else f"{engine}{SEPARATOR}{own}"

    def whose(self, known: str) -> tuple[str, str] | None:
        """The engine's name and its own id of what users know by this id; None when no engine's can be."""
        name, separator, rest = known.partition(SEPARATOR)
        if separator and name in self._forms:
            return (name, rest) if self.known_as(name, rest) == known else None
        owner = self._owner(known)
        return None if owner is None else (owner, known)

    def clash(self, engine: str, own: str) -> str | None:
        """What is wrong with an id that an engine lists, in a sentence; None when nothing is."""
        if self._forms[engine] is None or (owner := self._owner(own)) == engine:
            return None
        whose = "isn't in the form of its ids" if owner is None else f"has the form of the ids of `{owner}`"
        return f"The engine `{engine}` lists `{own}`, which {whose}: it is published as `{self.known_as(engine, own)}`."

    def _owner(self, own: str) -> str | None:
        name, separator, _ = own.partition(SEPARATOR)
        if separator and name in self._forms:
            return None
        return next((name for name, form in self._forms.items() if form and form.fullmatch(own)), None)
