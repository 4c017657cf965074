"""Counts the runs of scattered steps where cwltool makes them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cwltool.workflow_job
from cwltool.errors import WorkflowException
from cwltool.workflow_job import WorkflowJob

from hpcwaas.core.step_models import Scatter

_PAUSE = 0.5
"""Seconds between two tellings: a scatter may make thousands of runs a second."""

_RUN = "hpcwaas_run"


class Scatters:
    """Tells how far scattered steps have come. There is one in a process, since it hooks into cwltool.

    Args:
        names: of the steps that are counted: those of the workflow itself, not of workflows inside it.
        tell: takes a step's name and how far it has come.
    """

    def __init__(
        self,
        names: Collection[str],
        tell: Callable[[str, Scatter], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._changed: dict[str, Scatter] = {}
        self._next = -math.inf
        # cwltool gives a step of an inner workflow another name when it is called the same.
        self._names = {f"step {name}": name for name in names}
        for method, size in _METHODS.items():
            self._hook(method, size)

    def begin(self, job: Any) -> None:
        """To be called before a job of cwltool's is run. That a workflow begins means nothing: all do at once."""
        run = getattr(job, _RUN, None)
        if run and not isinstance(job, WorkflowJob):
            run.begin()

    def tell(self, *, now: bool = False) -> None:
        """Tells what has changed, unless it was done a moment ago.

        Args:
            now: even then.
        """
        with self._lock:
            if not self._changed or (self._clock() < self._next and not now):
                return
            self._next = self._clock() + _PAUSE
            for name, scatter in self._changed.items():
                self._tell(name, scatter)
            self._changed.clear()

    def change(self, name: str, scatter: Scatter) -> None:
        """Notes how far a step has come."""
        with self._lock:
            self._changed[name] = scatter
        if scatter.done == scatter.total:  # the end of the step is told next
            self.tell(now=True)

    def _hook(self, method: str, size: Callable[..., int]) -> None:
        original = getattr(cwltool.workflow_job, method)

        def scatter(step: Any, order: Any, keys: Any, callback: Any, context: Any) -> Any:
            name = self._names.get(getattr(step, "name", ""))
            if name is None:  # of an inner workflow, or the next level of a nested one
                return original(step, order, keys, callback, context)
            counted = _Step(step, self, name, size(order, keys))

            def end(outputs: Any, status: str) -> None:
                counted.made_all()
                callback(outputs, status)

            jobs = original(counted, order, keys, end, context)
            counted.made_all()
            return jobs

        setattr(cwltool.workflow_job, method, scatter)


def _dot(order: Mapping[str, Any], keys: Sequence[str]) -> int:
    return len(order[keys[0]])


def _cross(order: Mapping[str, Any], keys: Sequence[str]) -> int:
    return math.prod(len(order[key]) for key in keys)


_METHODS = {"dotproduct_scatter": _dot, "flat_crossproduct_scatter": _cross, "nested_crossproduct_scatter": _cross}


class _Step:
    """Stands for a step of cwltool's while its runs are made."""

    def __init__(self, step: Any, scatters: Scatters, name: str, total: int) -> None:
        self.tool = step.tool
        self._step = step
        self._scatters = scatters
        self._name = name
        self._lock = threading.Lock()
        self._made = 0
        self._counts = Scatter(total)
        self._scatters.change(name, self._counts)

    def job(self, order: Any, callback: Any, context: Any) -> Iterator[Any]:
        """Makes a run."""
        self._made += 1
        run = _Run(self.count)

        def end(outputs: Any, status: str) -> None:
            run.end(failed=status not in ("success", "skipped"))
            callback(outputs, status)

        return run.jobs(self._step.job(order, end, context))

    def made_all(self) -> None:
        """Notes that those which aren't made are skipped."""
        left = (self._counts.total or 0) - self._made
        if left > self._counts.skipped:
            self.count(skipped=left, done=left)

    def count(self, **more: int) -> None:
        """Adds to counts."""
        with self._lock:
            self._counts = replace(self._counts, **{name: getattr(self._counts, name) + n for name, n in more.items()})
            self._scatters.change(self._name, self._counts)


class _Run:
    """One run of a scattered step. It begins and ends once."""

    def __init__(self, count: Callable[..., None]) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._running = self._over = False

    def jobs(self, jobs: Iterator[Any]) -> Iterator[Any]:
        """The jobs of which it consists; they know it from then on."""
        try:
            for job in jobs:
                if job is not None:
                    setattr(job, _RUN, self)
                yield job
        except WorkflowException:
            self.end(failed=True)
            raise

    def begin(self) -> None:
        """Something of it is executed."""
        with self._lock:
            if not self._running and not self._over:
                self._running = True
                self._count(running=1)

    def end(self, *, failed: bool) -> None:
        """It is over."""
        with self._lock:
            if not self._over:
                self._over = True
                self._count(done=1, failed=int(failed), running=-1 if self._running else 0)
