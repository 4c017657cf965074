"""The engines that are active together: what all of them publish, and which of them something belongs to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from hpcwaas.common import tracing
from hpcwaas.core.endings import Retention
from hpcwaas.core.health import Source
from hpcwaas.core.models import Check, Execution, Workflow, WorkflowDetails
from hpcwaas.core.ports.engine import (
    CandidEngine,
    Engine,
    GradualEngine,
    GuardedEngine,
    Permitted,
    RecallingEngine,
    RetainingEngine,
    everything,
)
from hpcwaas.core.ports.sites import SiteEngine
from hpcwaas.core.publication_models import Access
from hpcwaas.core.workflow_ids import WorkflowIds
from hpcwaas.errors import Conflict, NotFound, ServiceError

_LOGGER = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds that one engine is waited for where others have an answer."""
_SHORT = 0.2
"""Seconds that one is waited for that has just been late."""
_WARM = 5.0
"""Seconds after the start in which an engine that hasn't answered yet is waited for in any case."""
_AT_ONCE = 8
"""Calls to one engine at the same time that others don't wait for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """What the engines publish.

    Attributes:
        stale_since: since when an engine's part couldn't be read anew; None when all is fresh.
        missing: what isn't among it and why, a sentence for each engine that doesn't answer and never did.
        unread: what isn't among it because it is still being read, by ids and rights.
    """

    workflows: Sequence[Workflow]
    stale_since: datetime | None
    missing: tuple[str, ...] = ()
    unread: Sequence[Workflow] = ()


class Engines:
    """Engines that work side by side. One that is down or slow holds up nothing of the others.

    Args:
        engines: at least one; their order decides which one owns an id that has the form of two engines' ids.
        forms: of the ids of each engine's workflows, by its name; see `WorkflowIds`.

    Attributes:
        with_sites: those whose executions run where users want them to, by their names.
        guarded: levels of log entries that are for operators alone, by the names of the engines that have such.
    """

    def __init__(self, engines: Sequence[Engine], forms: Mapping[str, str | None]) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._ids = WorkflowIds({name: forms.get(name) for name in self._engines})
        self._lanes = {name: _Lane(name) for name in self._engines}
        self._clashes: Mapping[str, Sequence[str]] = {}
        self._last: Mapping[str, Published] = {}
        self._known_before: Mapping[str, tuple[list[Workflow], list[Workflow]]] = {}
        self.with_sites = {name: engine for name, engine in self._engines.items() if isinstance(engine, SiteEngine)}
        self.guarded = {
            name: engine.guarded for name, engine in self._engines.items() if isinstance(engine, GuardedEngine)
        }

    @property
    def names(self) -> Sequence[str]:
        """Of all engines."""
        return tuple(self._engines)

    def start(self) -> None:
        """Has the lists made that users will ask for."""
        if len(self._engines) > 1:
            for name, engine in self._engines.items():
                self._lanes[name].begin(partial(self._published, engine))

    def workflows(self) -> Published:
        """All workflows that are published, whoever may run them, and what of all is missing.

        Raises:
            ServiceError: no engine answers.
        """
        if len(self._engines) == 1:
            return self._published(*self._engines.values())
        tasks = {name: partial(self._published, engine) for name, engine in self._engines.items()}
        done = {
            name: self._last.get(name, part) if isinstance(part, ServiceError) else part
            for name, part in self._side_by_side(tasks, at_least_one=not self._last).items()
        }
        parts = [part for part in done.values() if isinstance(part, Published)]
        failures = {name: failure for name, failure in done.items() if isinstance(failure, ServiceError)}
        if not parts:
            raise next(iter(failures.values()))
        return Published(
            [workflow for part in parts for workflow in part.workflows],
            min((part.stale_since for part in parts if part.stale_since), default=None),
            tuple(f"The workflows of the engine `{name}` are missing. {it.detail}" for name, it in failures.items()),
            [workflow for part in parts for workflow in part.unread],
        )

    def retentions(self) -> Mapping[str, Retention]:
        """For how long workflows that say so themselves have their executions kept, by the ids that users know."""
        return {
            self._ids.known_as(name, workflow_id): retention
            for name, engine in self._engines.items()
            if isinstance(engine, RetainingEngine)
            for workflow_id, retention in engine.retentions().items()
        }

    def problems(self) -> Sequence[Access]:
        """What is wrong with what the engines publish, as far as they tell, by the ids that users know.

        Raises:
            ServiceError: an engine doesn't answer.
        """
        return [
            item if item.id is None else replace(item, id=self._ids.known_as(name, item.id))
            for name, engine in self._engines.items()
            if isinstance(engine, CandidEngine)
            for item in engine.problems()
        ]

    def workflow(
        self, workflow_id: str, permitted: Permitted = everything, *, current: bool = False
    ) -> WorkflowDetails:
        """The details of one workflow; see `Engine.workflow`. Its engine alone is asked.

        Raises:
            NotFound: nothing is published under this id.
        """
        engine, own = self._whose(workflow_id)
        details = engine.workflow(own, permitted, current=current)
        return details if own == workflow_id else _under(workflow_id, details)

    def behind(self, details: WorkflowDetails) -> tuple[Engine, WorkflowDetails]:
        """The engine of a workflow, and its details as this engine itself gives them."""
        engine, own = self._whose(details.workflow.id)
        return engine, details if own == details.workflow.id else _under(own, details)

    def get(self, name: str) -> Engine | None:
        """An engine by its name; None when it isn't active."""
        return self._engines.get(name)

    def recall(self, execution: Execution) -> str | None:
        """See `RecallingEngine.recall`; None, too, for an engine that can't tell."""
        engine = self.get(execution.engine)
        return engine.recall(execution.id, execution.placement) if isinstance(engine, RecallingEngine) else None

    def of(self, execution: Execution) -> Engine:
        """The engine that an execution was started by.

        Raises:
            Conflict: it isn't active any more.
        """
        engine = self._engines.get(execution.engine)
        if engine is None:
            raise Conflict(f"{inactive(execution)} Ask the operators of this service.")
        return engine

    def apart(self, executions: Iterable[Execution], task: Callable[[Execution], object]) -> None:
        """Does something for each of several executions, in a row for those of an engine, and waits for no engine that
        is slow where there are others."""
        groups: dict[str, list[Execution]] = {}
        for execution in executions:
            groups.setdefault(execution.engine, []).append(execution)

        def work(group: Sequence[Execution]) -> None:
            for execution in group:
                task(execution)

        if len(self._engines) == 1:
            for group in groups.values():
                work(group)
            return
        work([execution for name in groups.keys() - self._engines.keys() for execution in groups.pop(name)])
        failures = self._side_by_side({name: partial(work, group) for name, group in groups.items()})
        for failure in failures.values():
            if isinstance(failure, ServiceError) and not isinstance(failure, _Late):
                raise failure

    def sources(self) -> Mapping[str, Source]:
        """What tells the state of each engine, by its name, and whether their ids are in order."""
        sources: dict[str, Source] = {name: engine.checks for name, engine in self._engines.items()}
        return sources if len(sources) == 1 else {**sources, "workflow ids": lambda: [self._check()]}

    def close(self) -> None:
        """Releases what this process holds. Executions go on."""
        for engine in self._engines.values():
            engine.close()
        for lane in self._lanes.values():
            lane.close()

    def _whose(self, workflow_id: str) -> tuple[Engine, str]:
        found = self._ids.whose(workflow_id)
        if found is None:
            raise NotFound("There is no such workflow.")
        return self._engines[found[0]], found[1]

    def _published(self, engine: Engine) -> Published:
        now = datetime.now(UTC)
        workflows = self._known(engine.name, engine.workflows())
        unread = engine.unread() if isinstance(engine, GradualEngine) else ()
        published = Published(workflows, engine.stale_since(), unread=unread)
        # As it will be shown when the engine doesn't answer.
        self._last = {**self._last, engine.name: replace(published, stale_since=published.stale_since or now)}
        return published

    def _known(self, name: str, found: Sequence[Workflow]) -> Sequence[Workflow]:
        """An engine's workflows by the ids that users know. Every request asks for all, and they seldom change."""
        before, workflows = self._known_before.get(name, ([], []))
        listed = [*found]  # an engine may go on with a list that it has given
        if listed != before:
            self._look_for_clashes(name, listed)
            ids = [self._ids.known_as(name, workflow.id) for workflow in listed]
            pairs = zip(ids, listed, strict=True)
            workflows = [workflow if workflow.id == id_ else replace(workflow, id=id_) for id_, workflow in pairs]
            self._known_before = {**self._known_before, name: (listed, workflows)}
        return workflows

    def _look_for_clashes(self, name: str, listed: Sequence[Workflow]) -> None:
        found = [clash for workflow in listed if (clash := self._ids.clash(name, workflow.id))]
        for clash in {*found} - {*self._clashes.get(name, ())}:
            _LOGGER.warning("%s", clash)
        self._clashes = {**self._clashes, name: found}

    def _check(self) -> Check:
        problems = [clash for found in self._clashes.values() for clash in found]
        return Check("workflow-ids", "degraded" if problems else "ok", 0.0, problems)

    def _side_by_side(
        self, tasks: Mapping[str, Callable[[], T]], *, at_least_one: bool = False
    ) -> Mapping[str, T | ServiceError]:
        """What a task for each engine gives, or why it gives nothing.

        Args:
            at_least_one: wait for as long as it takes until one of them gives something.
        """
        asked = time.monotonic()
        begun = {name: self._lanes[name].begin(task) for name, task in tasks.items()}
        for seconds, name in sorted((self._lanes[name].patience, name) for name in begun):
            wait([begun[name]], asked + seconds - time.monotonic())
        waiting = {*begun.values()} if at_least_one else set()
        while waiting:
            ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            if not all(isinstance(future.result(), ServiceError) for future in ended):
                break
        return {name: _outcome(future) for name, future in begun.items()}


def inactive(execution: Execution) -> str:
    """Says that the engine of an execution isn't active."""
    return f"The engine `{execution.engine}`, which this execution was started by, isn't configured any more."


class _Late(ServiceError):
    """An engine has been waited for long enough."""

    id = "gateway_timeout"


class _Lane:
    """Calls to one engine in threads of its own, so that whoever it holds up is nobody else's.

    Args:
        name: of the engine.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=f"calls-{name}")
        self._lock = threading.Lock()
        self._running: dict[object, float] = {}
        self._slow = False
        self._warm_until = time.monotonic() + _WARM

    @property
    def patience(self) -> float:
        """Seconds that a call is worth waiting for."""
        now = time.monotonic()
        with self._lock:
            late = self._slow or any(now - begin > _PATIENCE for begin in self._running.values())
            return max(_SHORT if late else _PATIENCE, self._warm_until - now)

    def begin(self, task: Callable[[], T]) -> Future[T | ServiceError]:
        """Has a task done as soon as there is a thread for it; why it fails is a result, too."""
        return self._pool.submit(self._do, tracing.carried(task))

    def close(self) -> None:
        """Ends its threads when their calls end."""
        self._pool.shutdown(cancel_futures=True)

    def _do(self, task: Callable[[], T]) -> T | ServiceError:
        call, begin = object(), time.monotonic()
        with self._lock:
            self._running[call] = begin
        try:
            result = task()
            self._warm_until = 0.0
            return result
        except ServiceError as error:
            return error
        except Exception:  # a defect of one engine must not hide what the others have
            _LOGGER.exception("unexpected error of the engine %s", self._name)
            return ServiceError("It failed unexpectedly; the service's log says how.")
        finally:
            with self._lock:
                del self._running[call]
                self._slow = time.monotonic() - begin > _PATIENCE


def _outcome(future: Future[T | ServiceError]) -> T | ServiceError:
    if future.cancel() or not future.done():  # what hasn't begun yet isn't waited for by anybody
        return _Late(f"It takes longer than {_PATIENCE:.0f} seconds to answer.")
    return future.result()


def _under(workflow_id: str, details: WorkflowDetails) -> WorkflowDetails:
    return replace(details, workflow=replace(details.workflow, id=workflow_id))
