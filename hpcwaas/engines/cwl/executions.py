"""Executions of the embedded engine, as the service sees them: start, state, log, outputs, cancellation."""

from __future__ import annotations

import json
import mimetypes
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hpcwaas.core.models import (
    JSON,
    Check,
    ExecutionState,
    Level,
    LogPage,
    Output,
    OutputArchive,
    OutputFile,
    OutputValue,
    Status,
    Step,
    StepStatus,
)
from hpcwaas.engines.cwl.inputs.job import Job, dump_order
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.site import Site
from hpcwaas.engines.cwl.storage import outputs, packing, spool
from hpcwaas.engines.cwl.storage.log import LogIndexes
from hpcwaas.engines.cwl.watcher import Watcher
from hpcwaas.errors import Conflict, NotFound

_CACHED_STATES = 512
_CACHED_OUTPUTS = 64 << 10
"""Bytes of the largest output object that is kept in memory."""

_Stamp = tuple[int, int, int]


class Executions:
    """The executions of a site. Their references are their ids."""

    def __init__(self, site: Site, settings: CWLSettings) -> None:
        self._site = site
        self._settings = settings
        self._logs = LogIndexes(lambda execution_id, offset, size: site.read(execution_id, spool.LOG, offset, size))
        self._watcher = Watcher(
            lambda execution_id: [site.stamp(execution_id, name) for name in (spool.STATE, spool.LOG)], self._news
        )
        self._states: OrderedDict[str, tuple[_Stamp, ExecutionState]] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, execution_id: str, job: Job, owner: str = "") -> str:
        """Starts an execution, or leaves alone what has been started under this id.

        Returns:
            its reference.
        """
        archives, copies = [], []
        files = {}
        for number, staged in enumerate(job.staged):
            if staged.unpack:
                place = f"{spool.ARCHIVES}/{number}"
                archives.append((place, staged.target, staged.unpack))
            else:
                place = f"{spool.UPLOADS}/{number}"
                copies.append((place, staged.target))
            files[place] = staged.source
        limits = self._settings.limits
        request = spool.Request(
            ticket=spool.Spool.new_ticket(execution_id),
            document=str(job.document),
            fragment=job.fragment,
            steps=job.steps,
            archives=tuple(archives),
            downloads=tuple((fetched.url, fetched.target) for fetched in job.fetched),
            networks=(self._settings.http_allowed, self._settings.http_denied),
            command=self._settings.runner.command,
            arguments=self._settings.runner.arguments,
            environment=self._settings.environment,
            cores=limits.cores,
            memory=limits.memory,
            log=limits.log,
            disk=limits.disk,
            time=job.time or limits.time,
            copies=tuple(copies),
            owner=owner,
            processes=limits.processes,
            confinement=self._site.confinement,
        )
        self._site.submit(execution_id, request, dump_order(job.order).encode(), files)
        return execution_id

    def state(self, reference: str) -> ExecutionState:
        """What is known now. UNKNOWN when there is no trace of it."""
        stamp = self._site.stamp(reference, spool.STATE)
        state = self._unbegun(reference) if stamp is None else self._begun(reference, stamp)
        waits = state.status in (Status.PENDING, Status.RUNNING)
        if waits and self._site.stamp(reference, spool.CANCEL):
            return replace(state, status=Status.CANCELLING, reason=None)
        return state

    def _unbegun(self, reference: str) -> ExecutionState:
        content = self._site.read(reference, spool.REQUEST)
        if not content:
            return ExecutionState(Status.UNKNOWN, reason="The engine has no trace of this execution.")
        steps = tuple(
            Step(step.name, StepStatus.PENDING, step.label) for step in spool.Request.from_json(content).steps
        )
        reason = None
        if self._site.running() >= self._settings.max_running:
            reason = (
                f"Waits for its turn: no more than {self._settings.max_running} executions run at the same time. Whose "
                "owner has fewest running goes next."
            )
        return ExecutionState(Status.PENDING, reason=reason, steps=steps)

    def _begun(self, reference: str, stamp: _Stamp) -> ExecutionState:
        with self._lock:
            known = self._states.get(reference)
            if known and known[0] == stamp:
                self._states.move_to_end(reference)
                return known[1]
        state = spool.decode_state(self._site.read(reference, spool.STATE))
        if state.status.over:
            kept = self._kept_outputs(reference)
            state = replace(
                state,
                ended_at=state.ended_at or datetime.fromtimestamp(stamp[1] / 1e9, UTC),
                outputs={name: outputs.show(value, name) for name, value in kept.items()},
            )
            size = self._site.stamp(reference, spool.OUTPUT_OBJECT)
            if size and size[2] > _CACHED_OUTPUTS:
                return state
        with self._lock:
            self._states[reference] = (stamp, state)
            self._states.move_to_end(reference)
            if len(self._states) > _CACHED_STATES:
                self._states.popitem(last=False)
        return state

    def _kept_outputs(self, reference: str) -> Mapping[str, JSON]:
        try:
            kept = json.loads(self._site.read(reference, spool.OUTPUT_OBJECT))
        except ValueError:  # none, or a disk that did not keep it whole
            return {}
        return kept if isinstance(kept, dict) else {}

    def _news(self, reference: str) -> tuple[bool, Callable[[Level], int]]:
        stamp = self._site.stamp(reference, spool.STATE)
        over = stamp is not None and self._begun(reference, stamp).status.over
        return over, self._logs.get(reference).total

    def log(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        """Entries of the given levels; `start` and `limit` count these only."""
        over = self.state(reference).status.over  # asked before the log is read, which is complete when it is true
        index = self._logs.get(reference)
        return LogPage(index.entries(levels, start, limit), index.total(levels), over)

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` when the log has an entry of these levels at `start` or the execution is over.

        Returns:
            what ends the watch.
        """
        return self._watcher.watch(reference, levels, start, wake)

    def cancel(self, reference: str) -> None:
        """Asks for the end of an execution and returns at once. Harmless when repeated.

        Raises:
            Conflict: it has ended by itself.
            NotFound: there is no trace of it.
        """
        state = self.state(reference)
        if state.status is Status.UNKNOWN:
            raise NotFound("The engine has no trace of this execution.")
        if state.status is Status.CANCELLED:
            return
        if state.status.over:
            raise Conflict(f"The execution is over already: {state.status}.")
        self._site.cancel(reference)

    def output(self, reference: str, name: str, path: str | None, archive: str) -> Output:
        """An output of an ended execution, or a part of it.

        Raises:
            NotFound: no such output or part, or the execution has not ended.
        """
        if not self.state(reference).status.over:
            raise NotFound("The execution has not ended; its outputs can be had when it has.")
        kept = self._kept_outputs(reference)
        if name not in kept:
            known = ", ".join(sorted(kept)) or "none"
            raise NotFound(f"The execution has no output {name!r}. Its outputs: {known}.")
        try:
            found = outputs.find(kept[name], path)
            if isinstance(found, outputs.Place):
                return self._open(reference, found, archive)
        except (LookupError, outputs.OutsideError):
            raise NotFound(f"The output {name!r} has no part {path!r}.") from None
        return OutputValue(outputs.show(found, f"{name}/{path}" if path else name))

    def _open(self, reference: str, place: outputs.Place, archive: str) -> Output:
        declared: Mapping[str, Any] = place.declared or {}
        name = declared.get("basename") or place.path.rpartition("/")[2]
        stream = self._site.open_output(reference, place.path)
        if stream is None:
            chunks = self._site.pack_output(reference, place.path, archive)
            return OutputArchive(f"{name}.{archive}", packing.MEDIA_TYPES[archive], chunks)
        status = os.fstat(stream.fileno())
        return OutputFile(
            name=name,
            media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            size=status.st_size,
            etag=str(declared.get("checksum") or f"{status.st_size:x}-{status.st_mtime_ns:x}").replace("$", "-"),
            modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
            stream=stream,
        )

    def check(self) -> Check:
        """Whether executions can run."""
        begin = time.perf_counter()
        problems = self._site.problems()
        return Check("cwl-executions", "degraded" if problems else "ok", time.perf_counter() - begin, tuple(problems))

    def close(self) -> None:
        """Releases what this process holds. Executions go on."""
        self._site.close()
