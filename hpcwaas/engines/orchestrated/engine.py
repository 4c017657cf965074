"""What every engine does alike that drives an orchestrator's server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from hpcwaas.common import calls
from hpcwaas.common.cached import PATIENCE
from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.models import ExecutionState, Level, LogPage, Status, Workflow, WorkflowDetails
from hpcwaas.core.outputs import Output
from hpcwaas.core.ports.engine import Permitted, everything
from hpcwaas.core.publication_models import Access
from hpcwaas.engines.orchestrated import answers
from hpcwaas.engines.orchestrated.starting import Starter
from hpcwaas.engines.orchestrated.transport import ServerTransport
from hpcwaas.errors import NotFound

_THREADS = 16


class Catalogue(Protocol):
    """The workflows that are published."""

    def workflows(self) -> Sequence[Workflow]: ...
    def stale_since(self) -> datetime | None: ...
    def withheld(self) -> Sequence[Access]: ...
    def details(self, workflow_id: str, permitted: Permitted = everything) -> WorkflowDetails: ...
    def details_now(self, workflow_id: str, permitted: Permitted = everything) -> WorkflowDetails: ...


class Executions(Protocol):
    """What is known of executions."""

    def state(self, text: str, patience: float | None = None) -> ExecutionState: ...


class Logs(Protocol):
    """Logs and those who follow them."""

    def page(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage: ...
    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]: ...
    def remove(self, reference: str) -> None: ...
    def close(self) -> None: ...


class Events(Protocol):
    """News of executions."""

    def start(self) -> None: ...
    def close(self) -> None: ...


class OrchestratedEngine:
    """A part of an `Engine`. A subclass makes the parts that are named below.

    Args:
        name: of the engine.
    """

    _transport: ServerTransport
    _catalogue: Catalogue
    _executions: Executions
    _logs: Logs
    _events: Events
    _starter: Starter

    notes_starts = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=name)
        self._ahead = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"{name}-ahead")

    def workflows(self) -> Sequence[Workflow]:
        return self._catalogue.workflows()

    def stale_since(self) -> datetime | None:
        """When the list of workflows was read, if the server hasn't answered since."""
        return self._catalogue.stale_since()

    def problems(self) -> Sequence[Access]:
        """Why something isn't published, though it may be meant to be."""
        return self._catalogue.withheld()

    @calls.one()
    def workflow(
        self, workflow_id: str, permitted: Permitted = everything, *, current: bool = False
    ) -> WorkflowDetails:
        if current:
            return self._catalogue.details_now(workflow_id, permitted)
        return self._catalogue.details(workflow_id, permitted)

    def state(self, reference: str) -> ExecutionState:
        self._events.start()
        try:
            return self._executions.state(reference, PATIENCE)
        except NotFound as error:  # another engine's, for instance
            return ExecutionState(Status.UNKNOWN, reason=error.detail)

    def log(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        return self._logs.page(reference, levels, start, limit)

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        self._events.start()
        return self._logs.watch(reference, levels, start, wake)

    def silent_since(self) -> datetime | None:
        return self._transport.silent_since

    def output(self, reference: str, name: str, path: str | None, archive: str) -> Output:
        """See `Engine`. There are values only, no files."""
        return answers.output(self._executions.state(reference, PATIENCE), name, path)

    def remove(self, reference: str, part: Part, *, give_up: bool = False) -> Removal:
        """Removes the log that is kept here. Of what the server keeps nothing can be removed by itself."""
        if part is not Part.OUTPUTS:
            self._logs.remove(reference)
        return Removal(left=f"{self._starter.server} keeps its own record and log of the execution.")

    def close(self) -> None:
        """Ends all threads and connections. Executions go on."""
        self._starter.close()
        self._logs.close()
        self._events.close()
        self._pool.shutdown(cancel_futures=True)
        self._ahead.shutdown(cancel_futures=True)
        self._transport.close()

    def _run(self, function: Callable[[], None]) -> None:
        """Runs a function in another thread; drops it when the engine is being closed."""
        with contextlib.suppress(RuntimeError):
            self._pool.submit(function)
