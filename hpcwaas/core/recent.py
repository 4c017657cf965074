"""Executions that were asked for recently, so that following one costs no query."""

from __future__ import annotations

import threading
from collections import OrderedDict

from hpcwaas.core.models import Execution


class RecentExecutions:
    """Keeps the executions used last. Only what another process can't change any more, or what the engine tells anew
    each time, may be put here: executions that have their reference.

    Args:
        size: at most so many.
    """

    def __init__(self, size: int = 2000) -> None:
        self._size = size
        self._kept: OrderedDict[str, Execution] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, execution_id: str) -> Execution | None:
        """An execution that is kept."""
        with self._lock:
            execution = self._kept.get(execution_id)
            if execution is not None:
                self._kept.move_to_end(execution_id)
            return execution

    def put(self, execution: Execution) -> None:
        """Keeps an execution, unless a later state of it is kept."""
        if execution.reference is None:
            return
        with self._lock:
            kept = self._kept.get(execution.id)
            if kept is None or not kept.state.status.over:
                self._kept[execution.id] = execution
                self._kept.move_to_end(execution.id)
                if len(self._kept) > self._size:
                    self._kept.popitem(last=False)
