"""What is wrong with inputs, collected so that all of it is told at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .errors import UsageError


class Mistakes:
    """What is wrong so far.

    Attributes:
        found: the names of inputs, and what is wrong with each.
    """

    def __init__(self) -> None:
        self.found: list[tuple[str, UsageError]] = []

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Keeps the mistake that is raised inside as one of this input."""
        try:
            yield
        except UsageError as mistake:
            self.found.append((name, mistake))
        except RecursionError:
            self.found.append((name, UsageError(f"The value of {name} is nested too deeply to be sent.")))

    def names(self) -> set[str]:
        """The inputs with which something is wrong."""
        return {name for name, _ in self.found}

    def told(self, failure: UsageError, inputs: Iterable[str]) -> None:
        """Adds what the service says is wrong, but for inputs that are known to be wrong: they weren't sent as meant.

        Args:
            inputs: the names of all inputs.

        Raises:
            UsageError: the failure itself, where nothing else is wrong.
        """
        if not self.found:
            raise failure
        listed = (failure.problem or {}).get("inputs")
        known = self.names()
        for each in listed if isinstance(listed, list) and listed else ({"detail": failure.message},):
            way = str(each.get("input"))
            name = max((one for one in inputs if re.match(rf"{re.escape(one)}(?:$|[.\[])", way)), key=len, default=way)
            if name not in known:
                self.found.append((name, UsageError(str(each.get("detail")))))

    def throw(self) -> None:
        """Raises what was found.

        Raises:
            UsageError: one mistake as it is, or all of them, a line for each.
        """
        if len(self.found) == 1:
            raise self.found[0][1]
        if self.found:
            lines = [f"  - {mistake.message}{_hint(mistake)}" for _, mistake in self.found]
            raise UsageError("\n".join((f"{len(lines)} inputs are wrong:", *lines)))


def _hint(mistake: UsageError) -> str:
    return f" {mistake.hint}" if mistake.hint else ""
