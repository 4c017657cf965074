"""That this process is about to end, for those of its parts that should know early. Each process has one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress


class Ending:
    """The end of a process in its two steps: it was told to stop, and goes on serving for a while; it answers what is
    under way, and nothing else.

    Attributes:
        told: whether it was told to stop.
    """

    def __init__(self) -> None:
        self.told = False
        self._last: list[Callable[[], None]] = []

    def tell(self) -> None:
        """It was told to stop."""
        self.told = True

    def at_last(self, let_go: Callable[[], None]) -> Callable[[], None]:
        """Has something called when nothing else is served any more: it is to answer at once whoever only waits. Gives
        what undoes that."""
        self._last.append(let_go)

        def forget() -> None:
            with suppress(ValueError):
                self._last.remove(let_go)

        return forget

    def begin_last(self) -> None:
        """Nothing else is served from now on."""
        self.told = True
        while self._last:
            self._last.pop()()


ENDING = Ending()
