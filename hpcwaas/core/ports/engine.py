"""The Protocol that every engine obeys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from hpcwaas.core.companions import Companions
from hpcwaas.core.endings import Part, Removal, Retention
from hpcwaas.core.models import (
    JSON,
    Check,
    Execution,
    ExecutionState,
    Level,
    LogPage,
    StoredUpload,
    Workflow,
    WorkflowDetails,
)
from hpcwaas.core.outputs import Output
from hpcwaas.core.publication_models import Access
from hpcwaas.core.site_models import Placement

UploadLookup: TypeAlias = Callable[[str], StoredUpload | None]
"""Finds an upload of the calling user by its id; None for unknown ids and for those of somebody else."""

ExecutionLookup: TypeAlias = Callable[[str], Execution | None]
"""Finds an execution whose outputs the calling user may see by its id, as it stands now; None for unknown ids and for
those of executions that they may not see."""

Prepared: TypeAlias = Any
"""An engine's own form of checked inputs, made by `prepare` and taken by `start`; opaque to everybody else."""

Permitted: TypeAlias = Callable[[Workflow], bool]
"""Whether whoever asks may see a workflow."""


def everything(_workflow: Workflow) -> bool:
    """Permits all workflows."""
    return True


class Engine(Protocol):
    """Runs workflows. All methods may be called from many threads and from several processes at once.

    Besides what is named below, every method may raise `Unavailable`, `UpstreamFailed` or `UpstreamTimeout`.
    A `reference` is what `start` returned for an execution.
    """

    name: str

    def workflows(self) -> Sequence[Workflow]:
        """All workflows that are published, in a stable order, whoever may run them."""

    def stale_since(self) -> datetime | None:
        """Since when the list of workflows couldn't be read anew; None when it is fresh."""

    def workflow(
        self, workflow_id: str, permitted: Permitted = everything, *, current: bool = False
    ) -> WorkflowDetails:
        """The details of one workflow.

        Args:
            permitted: what it refuses is as if it weren't published; time doesn't tell, either.
            current: as it is published at this moment, and for whom; else as the list has it.

        Raises:
            NotFound: nothing is published under this id.
        """

    def prepare(self, details: WorkflowDetails, inputs: Mapping[str, JSON], uploads: UploadLookup) -> Prepared:
        """Checks inputs against the workflow completely, without side effects.

        Raises:
            InvalidInputs: with all problems at once.
        """

    def start(self, execution_id: str, details: WorkflowDetails, prepared: Prepared, owner: str = "") -> str:
        """Starts an execution, or finds that it has been started before under this id and leaves it alone.

        Args:
            owner: whose it is, for a fair share between users where executions wait for each other.

        Returns:
            the reference by which the engine knows it.

        Raises:
            UncertainStart: it may have been started. Asked again for the same id, the engine looks for it.
            ServiceError: any other means that nothing was started.
        """

    def state(self, reference: str) -> ExecutionState:
        """What the engine knows now. UNKNOWN when it has no trace of it."""

    def log(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        """Entries of the given levels; `start` and `limit` count entries of these levels only."""

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` when the log has an entry of these levels at `start` or the execution is over.

        At once if that is so already, from any thread, and maybe more than once. No watcher costs a thread.

        Returns:
            what ends the watch; harmless when repeated.
        """

    def cancel(self, reference: str) -> None:
        """Asks for the end of an execution and returns at once. Harmless when repeated, after it was cancelled, too.

        Raises:
            Conflict: it has ended by itself.
        """

    def lost(self, reference: str) -> bool:
        """Whether nothing will ever end an execution: the engine has no trace of it, or refuses to cancel it although
        it hasn't ended. One that runs is asked to end by that."""

    def silent_since(self) -> datetime | None:
        """Since when the engine hasn't answered; None when it does."""

    def resume(self, reference: str) -> None:
        """Lets a failed execution go on where it failed.

        Raises:
            Conflict: this engine or this execution can't.
        """

    def output(self, reference: str, name: str, path: str | None, archive: str) -> Output:
        """An output of an ended execution, or a part of it.

        Args:
            path: the way into the value, `/`-separated: list index, record member, file in a directory.
            archive: how a directory is packed: `zip` or `tar`.

        Raises:
            NotFound: no such output or part.
        """

    def checks(self) -> Sequence[Check]:
        """State of what the engine depends on."""

    def close(self) -> None:
        """Releases what this process holds. Executions go on."""


@runtime_checkable
class GuardedEngine(Engine, Protocol):
    """An engine some of whose log entries tell how it works inside, and so aren't for everybody.

    Attributes:
        guarded: levels whose entries operators alone read.
    """

    guarded: Level


@runtime_checkable
class NotingEngine(Engine, Protocol):
    """An engine that notes a start in `StartRecords` before it does anything for it.

    Attributes:
        notes_starts: True.
    """

    notes_starts: bool


@runtime_checkable
class RemovingEngine(Engine, Protocol):
    """An engine that can remove what it keeps of executions that have ended."""

    def remove(self, reference: str, part: Part, *, give_up: bool = False) -> Removal:
        """Removes one part, or all, of an execution that has ended, as far as that is possible now. It waits for
        nothing that takes long, is harmless when repeated, and goes on with what it has begun.

        Args:
            give_up: what can't be reached is left where it is.
        """


@runtime_checkable
class RetainingEngine(Engine, Protocol):
    """An engine whose workflows say themselves for how long their executions are kept."""

    def retentions(self) -> Mapping[str, Retention]:
        """What those that are published say, by the engine's own ids. Asks nobody and never waits."""


@runtime_checkable
class CandidEngine(Engine, Protocol):
    """An engine that tells what is wrong with what it publishes."""

    def problems(self) -> Sequence[Access]:
        """What isn't published and why, and what has warnings; for operators."""


@runtime_checkable
class GradualEngine(Engine, Protocol):
    """An engine that publishes some of its workflows while others are still being read."""

    def unread(self) -> Sequence[Workflow]:
        """Those that `workflows` doesn't have yet, by their ids and rights. Never waits."""


class Queue(NamedTuple):
    """How many executions wait for their turn, how many run, and how many may."""

    waiting: int
    running: int
    limit: int


@runtime_checkable
class RecallingEngine(Engine, Protocol):
    """An engine that knows what an earlier process has begun to start."""

    def recall(self, execution_id: str, placement: Placement | None) -> str | None:
        """Goes on with the start of an execution.

        Returns:
            its reference; None when nothing was begun.

        Raises:
            Unavailable: that can't be told at present.
        """


@runtime_checkable
class QueueingEngine(Engine, Protocol):
    """An engine that lets only so many executions run at the same time."""

    def queue(self) -> Queue | None:
        """Where its executions stand; None when it runs nothing itself."""


@runtime_checkable
class FileEngine(Engine, Protocol):
    """An engine whose workflows take files of which more can be told before they start."""

    def prepare(
        self,
        details: WorkflowDetails,
        inputs: Mapping[str, JSON],
        uploads: UploadLookup,
        executions: ExecutionLookup = lambda _: None,
        *,
        announced: bool = False,
    ) -> Prepared:
        """As that of every engine.

        Args:
            executions: those whose outputs may be inputs.
            announced: files may be named that are still to be uploaded; what is returned can't be started then.
        """

    def companions(self, details: WorkflowDetails, inputs: Mapping[str, JSON]) -> Sequence[Companions]:
        """What the workflow wants beside the files that inputs name. Never refuses what is missing.

        Raises:
            InvalidInputs: an expression that says so fails.
            Unavailable: it can't be evaluated at present.
        """
