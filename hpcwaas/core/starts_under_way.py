"""What this process is starting, so that no other one takes it for left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from hpcwaas.core.ports.records import CLAIM, ExecutionRecords


class StartsUnderWay:
    """Claims on executions without a reference. They lapse soon after a crash, for nobody renews them then.

    Args:
        records: in which the first claim is made, by `add` or `claim`.
    """

    def __init__(self, records: ExecutionRecords) -> None:
        self._records = records
        self._held: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    @contextmanager
    def held(self, execution_id: str) -> Iterator[None]:
        """While inside, the claim is renewed."""
        with self._lock:
            self._held |= {execution_id}
        try:
            yield
        finally:
            with self._lock:
                self._held -= {execution_id}

    def renew(self) -> None:
        """Renews all claims. To be called several times in the life of one."""
        for execution_id in self._held:
            self._records.postpone(execution_id, datetime.now(UTC) + CLAIM)
