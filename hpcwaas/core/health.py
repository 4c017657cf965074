"""Whether the service can serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpcwaas.core.models import Check


class Health:
    """State of everything that the service depends on.

    Args:
        sources: each gives the state of some of it.
    """

    def __init__(self, sources: Sequence[Callable[[], Sequence[Check]]]) -> None:
        self._sources = sources

    def checks(self) -> tuple[str, Sequence[Check]]:
        """The worst state, and the state of each thing."""
        checks = [check for source in self._sources for check in source()]
        states = {check.status for check in checks}
        return next((state for state in ("failed", "degraded") if state in states), "ok"), checks
