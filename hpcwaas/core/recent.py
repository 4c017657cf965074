"""Executions that were asked for recently, so that following one costs no query."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from cachetools import LRUCache

from hpcwaas.core.models import JSON, Execution, Status

_LARGE = 64 * 1024
"""Bytes, more or less, from which an execution's inputs and outputs are too much to be kept in memory."""


_MOMENTS = 2.0
"""Seconds for which one is kept."""


class RecentExecutions:
    """Keeps the executions used last, the small ones among them.

    Whoever asks must be one who may see it: that isn't decided here.

    They are kept for moments, since another process may close or remove them; those that have their reference, and
    haven't failed, for those may be resumed. The state of one that hasn't ended the engine tells anew each time.

    Args:
        size: at most so many.
    """

    def __init__(self, size: int = 2000) -> None:
        self._kept: LRUCache[str, tuple[Execution, float]] = LRUCache(size)
        self._lock = threading.Lock()

    def get(self, execution_id: str) -> Execution | None:
        """An execution that is kept."""
        with self._lock:
            execution, since = self._kept.get(execution_id, (None, 0.0))
            if execution is None:
                return None
            if time.monotonic() - since > _MOMENTS:
                del self._kept[execution_id]
                return None
            return execution

    def put(self, execution: Execution) -> None:
        """Keeps an execution, unless a later state of it is kept."""
        if execution.reference is None or _large(execution):
            return
        with self._lock:
            kept, since = self._kept.get(execution.id, (None, time.monotonic()))
            if kept is not None and kept.settled:
                return
            if execution.state.status is Status.FAILED:
                self._kept.pop(execution.id, None)
                return
            self._kept[execution.id] = execution, since

    def forget(self, execution_id: str) -> None:
        """Keeps an execution no longer: its state is going back."""
        with self._lock:
            self._kept.pop(execution_id, None)


def _large(execution: Execution) -> bool:
    weight = 0
    waiting: list[JSON] = [execution.inputs, execution.state.outputs]
    while waiting and weight <= _LARGE:
        value = waiting.pop()
        weight += 64 + (len(value) if isinstance(value, str) else 0)
        if isinstance(value, Mapping):
            weight += 64 * len(value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value[: _LARGE // 64]
    return weight > _LARGE
