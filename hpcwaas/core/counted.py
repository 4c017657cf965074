"""What is counted of executions."""

from __future__ import annotations

from hpcwaas.common.metrics import Counter
from hpcwaas.core.models import Status

STARTED = Counter("executions_started", "Executions that engines have started for users.", engine=None)
ENDED = Counter(
    "executions_ended",
    "Executions that have ended, each counted by the process that stored it; one that was resumed ends again.",
    engine=None,
    status=tuple(status for status in Status if status.over),
)
