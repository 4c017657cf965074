"""Collects what is wrong with the inputs of one request."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable

from hpcwaas.common import written
from hpcwaas.core.models import JSON
from hpcwaas.errors import InputProblem, InvalidInputs

PROBLEM_LIMIT = 100
"""Most problems that are told: a long list can be wrong in every item."""

_SHOWN_LENGTH = 80


class Problems:
    """What is wrong so far."""

    def __init__(self) -> None:
        self._problems: list[InputProblem] = []

    def __len__(self) -> int:
        return len(self._problems)

    def enough(self, start: int) -> bool:
        """Whether so many were added after the first `start` that looking for more would be a waste."""
        return len(self._problems) - start >= PROBLEM_LIMIT

    def add(self, way: str, detail: str, suggestion: str | None = None) -> None:
        """Adds a problem that `detail` tells completely."""
        self._problems.append(InputProblem(way, f"{way}: {detail}", suggestion=suggestion))

    def add_missing(self, way: str, expected: str) -> None:
        """Adds that a value is needed and was not given."""
        self._problems.append(InputProblem(way, f"{way} is required: expected {expected}.", expected=expected))

    def add_wrong(self, way: str, given: JSON, expected: str, suggestion: str | None = None, why: str = "") -> None:
        """Adds that a value isn't what is expected.

        Args:
            why: a sentence more.
        """
        value = shown(given)
        detail = f"{way}: {value} was given, expected {expected}."
        if suggestion is not None:
            detail += f" Did you mean {suggestion!r}?"
        if why:
            detail += f" {why}"
        self._problems.append(InputProblem(way, detail, value, expected, suggestion))

    def add_unknown(self, way: str, name: str, known: Iterable[str], what: str) -> None:
        """Adds a name that isn't declared.

        Args:
            way: the way to the name, the name included.
            what: whose name it is: `input`, `member`.
        """
        known = list(known)
        suggestion = closest(name, known)
        detail = f"{way}: there is no {what} {shown(name)}."
        if suggestion is not None:
            detail += f" Did you mean {suggestion!r}?"
        elif known:
            detail += f" There is {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}."
        self._problems.append(InputProblem(way, detail, given=shown(name), suggestion=suggestion))

    def take_back(self, length: int) -> list[InputProblem]:
        """Forgets the problems after the first `length`, and returns them."""
        taken = self._problems[length:]
        del self._problems[length:]
        return taken

    def put_back(self, problems: Iterable[InputProblem]) -> None:
        """Adds problems that were taken back."""
        self._problems.extend(problems)

    def throw(self) -> None:
        """Raises all of them at once.

        Raises:
            InvalidInputs: if there are any.
        """
        if len(self._problems) > PROBLEM_LIMIT:
            self._problems[PROBLEM_LIMIT:] = [InputProblem("...", "And there are more problems.")]
        if self._problems:
            raise InvalidInputs(self._problems)


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that somebody may have meant."""
    by_lower = {item.lower(): item for item in known}
    matches = difflib.get_close_matches(name[:200].lower(), by_lower, n=1)
    return by_lower[matches[0]] if matches else None


def shown(value: JSON) -> str:
    """A value as JSON, cut off where it gets long."""
    text = ""
    number = isinstance(value, (int, float))
    for chunk in (written.in_text(value),) if number else json.JSONEncoder(ensure_ascii=False).iterencode(value):
        text += chunk[: _SHOWN_LENGTH + 1]
        if len(text) > _SHOWN_LENGTH:
            return f"{text[:_SHOWN_LENGTH]}..."
    return text
