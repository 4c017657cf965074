"""Supervises one execution from its first process to its last. Runs in a process of its own, forked by the launcher,
and owes nothing to whoever started it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from hpcwaas.common import durable, kernel
from hpcwaas.core.models import JSON, ExecutionState, Level, Status
from hpcwaas.core.step_models import Scatter
from hpcwaas.engines.cwl.confinement import namespaces
from hpcwaas.engines.cwl.confinement.levels import NAMESPACES
from hpcwaas.engines.cwl.run import detached, processes
from hpcwaas.engines.cwl.run.channel import Demultiplexer, Line, interpret, new_token
from hpcwaas.engines.cwl.run.collection import collect
from hpcwaas.engines.cwl.run.runner import IN_PROCESS, Runner
from hpcwaas.engines.cwl.run.steps import Diagnosis, StepTracker, finish
from hpcwaas.engines.cwl.storage import spool, stored
from hpcwaas.engines.cwl.storage.log import LogWriter
from hpcwaas.engines.cwl.storage.trees import disk_use, remove_tree
from hpcwaas.engines.log_text import clean, pieces

GRACE = 5.0
"""Seconds between asking the processes of a cancelled execution to end and killing them."""

CANCELLED = "Cancelled on request."

_MAX_OUTPUT_OBJECT = 16 << 20
_TICK = 0.1
_LOOK = 0.5
_READ = 1 << 16
_DISK_TICK = 1.0
_COUNTS = 1.0
"""Seconds between two states of which only the counts of scattered steps differ."""
_OR_TIME_LIMIT = ", or the workflow's time_limit"


def size_text(size: int) -> str:
    """A number of bytes as people write it."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


class Supervisor:
    """Supervises one execution.

    Args:
        execution_id: of an execution whose marker is in `active`.
        lock: descriptor that holds the execution's supervisor lock.
        wake: tells the launcher that a place is free.
    """

    def __init__(self, place: spool.Spool, execution_id: str, lock: int, wake: Callable[[], object]) -> None:
        self._spool = place
        self._id = execution_id
        self._lock = lock
        self._wake = wake
        self._directory = place.execution(execution_id)
        self._request = stored.REQUEST.validate_json((self._directory / spool.REQUEST).read_bytes())
        self._state = ExecutionState(Status.PENDING)
        self._steps = StepTracker(self._request.steps)
        self._diagnosis = Diagnosis()
        self._output = bytearray()
        self._pid = 0
        self._exit: int | None = None
        self._stop: tuple[Status, str] | None = None
        self._kill_at = 0.0
        self._next_look = 0.0
        self._next_counts = 0.0
        self._begin = time.monotonic()
        self._names = _short_names(self._directory, Path(self._request.document))

    def run(self) -> None:
        """Does all of it. Returns when the execution is over and nothing of it is left running."""
        os.setsid()
        processes.adopt_orphans()
        self._state = ExecutionState(Status.RUNNING, started_at=_now(), steps=self._steps.steps)
        self._spool.write_state(self._id, self._state)
        try:
            end = self._supervise()
        except Exception as error:  # the execution must end; the operator finds the trace in launcher.log
            processes.note_exception()
            while left := processes.descendants():
                processes.send(left, signal.SIGKILL)
                self._reap()
                time.sleep(0.01)
            reason = f"The service could not supervise the execution: {getattr(error, 'strerror', None) or error}."
            if getattr(error, "errno", None) in spool.FULL:
                reason = spool.DISK_FULL
            self._give_up(reason)
            end = replace(self._state, status=Status.FAILED, reason=reason)
        detached.stop(self._directory, self._request.daemon)
        now = _now()
        steps = finish(self._steps.steps, end.status, now)
        end = replace(end, ended_at=now, steps=steps, stored=self._spool.kept(self._id))
        while True:
            try:
                self._spool.write_state(self._id, end)
                break
            except OSError as error:
                if error.errno not in (*spool.FULL, errno.EROFS):
                    raise
                time.sleep(_DISK_TICK)  # nobody else knows the reason
        self._note(event="ended", pid=self._pid, status=end.status.value)
        self._spool.tidy(self._id)
        (self._spool.active / self._request.ticket).unlink(missing_ok=True)
        self._wake()

    def _note(self, **event: JSON) -> None:
        try:
            self._spool.note(self._id, **event)
        except OSError:  # a full disk, say: that is no reason to end an execution
            processes.note_exception()

    def _give_up(self, reason: str) -> None:
        """Gives back the disk, and says why in the log, if that is possible."""
        self._spool.tidy(self._id)
        remove_tree(self._directory / spool.OUTPUTS)
        with contextlib.suppress(OSError):
            log = LogWriter(self._directory / spool.LOG, self._request.log)  # which removes half a line
            log.end(Level.ERROR, reason)
            log.close()

    def _supervise(self) -> ExecutionState:
        for name in (spool.INPUTS, spool.RESULTS, spool.TEMPORARY):
            (self._directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log = LogWriter(self._directory / spool.LOG, self._request.log)
        # Uploads, of which the inputs become copies, are not the execution's own use of the disk.
        self._given = disk_use([self._directory / name for name in (spool.INPUTS, spool.UPLOADS)])
        token = new_token()
        self._demultiplexer = Demultiplexer(token, self._take_count)
        with selectors.DefaultSelector() as selector:
            self._fork(token, selector)
            while True:
                self._pump(selector, _TICK if selector.get_map() else _TICK / 20)
                self._take(self._demultiplexer.unfinished())
                self._reap()
                self._look()
                self._write_counts()
                if self._exit is not None or (self._stop and time.monotonic() >= self._kill_at):
                    left = processes.descendants()
                    if not left and self._exit is not None:
                        break
                    if time.monotonic() >= self._kill_at:
                        processes.send(left, signal.SIGKILL)
            while self._pump(selector, 0):
                pass
        self._take(self._demultiplexer.end())
        end = self._conclude()
        self._log.close()
        return end

    def _fork(self, token: bytes, selector: selectors.BaseSelector) -> None:
        error_reader, error_writer = os.pipe()
        output_reader, output_writer = os.pipe()
        try:
            self._pid = namespaces.fork() if self._request.confinement.level == NAMESPACES else os.fork()
        except OSError as error:
            raise RuntimeError(f"it could not be confined (setting cwl.confinement): {error.strerror}") from error
        if self._pid == 0:
            try:
                os.close(self._lock)  # it says that a supervisor lives
                kernel.be_visible()
                os.setpgid(0, 0)
                os.dup2(error_writer, 1)
                os.dup2(error_writer, 2)
                for descriptor in (error_reader, output_reader, error_writer):
                    os.close(descriptor)
                processes.die_with_reader(2)
                Runner(self._request, self._directory, token, output_writer).run()
            finally:
                os._exit(1)
        os.close(error_writer)
        os.close(output_writer)
        self._note(
            event="started", pid=self._pid, supervisor=os.getpid(), uid=os.getuid(), machine=socket.gethostname()
        )
        selector.register(error_reader, selectors.EVENT_READ, self._take_errors)
        selector.register(output_reader, selectors.EVENT_READ, self._take_output)

    def _pump(self, selector: selectors.BaseSelector, timeout: float) -> bool:
        """Reads what there is. False when there is nothing."""
        ready = selector.select(timeout)
        for key, _ in ready:
            data = os.read(key.fd, _READ)
            if data:
                key.data(data)
            else:
                selector.unregister(key.fd)
                os.close(key.fd)
        return bool(ready)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._exit = os.waitstatus_to_exitcode(status)

    def _take_output(self, data: bytes) -> None:
        self._output += data
        if len(self._output) > _MAX_OUTPUT_OBJECT:
            self._output.clear()
            self._end(Status.FAILED, f"The output object is larger than {size_text(_MAX_OUTPUT_OBJECT)}.")

    def _take_errors(self, data: bytes) -> None:
        self._take(self._demultiplexer.feed(data))

    def _take(self, lines: Iterable[Line]) -> None:
        if self._log.full:
            return
        entries: list[tuple[Level, str]] = []
        changed = False
        for raw in lines:
            line = raw if self._request.command == IN_PROCESS else interpret(raw)
            for name, short in self._names:
                if name in line.text:
                    line = replace(line, text=line.text.replace(name, short))
            parts = [clean(part) for part in line.text.split("\n")]
            line = replace(line, text="\n".join(parts))
            self._diagnosis.observe(line)
            changed |= line.message and self._steps.observe(line.text, _now())
            for part in parts:
                entries += [(line.level, piece) for piece in pieces(part)]
        self._log.write(entries)
        if changed:
            self._write_steps()
        if self._log.full:
            limit = size_text(self._request.log)
            self._end(
                Status.FAILED, f"The execution wrote more than {limit} of log; the limit is the setting cwl.limits.log."
            )

    def _take_count(self, step: str, scatter: Scatter) -> None:
        if not self._stop:  # runs that are ended from here haven't failed
            self._steps.count(step, scatter)

    def _write_steps(self) -> None:
        self._state = replace(self._state, steps=self._steps.steps)
        self._spool.write_state(self._id, self._state)
        self._next_counts = time.monotonic() + _COUNTS

    def _write_counts(self) -> None:
        if time.monotonic() >= self._next_counts and self._steps.steps != self._state.steps:
            self._write_steps()

    def _look(self) -> None:
        if self._stop:
            return
        if (self._directory / spool.CANCEL).exists():
            self._end(Status.CANCELLED, CANCELLED, grace=GRACE)
            return
        begin = time.monotonic()
        if begin < self._next_look:
            return
        if self._disk_exceeded():
            self._end(Status.FAILED, self._disk_reason())
        elif self._request.time is not None and begin - self._begin > self._request.time:
            self._end(
                Status.FAILED,
                f"The execution ran for more than {self._request.time:g} seconds; the limit is the "
                f"{self._request.whose('time')}{'' if 'time' in self._request.own else _OR_TIME_LIMIT}.",
            )
        elif processes.memory_above(processes.descendants(), self._request.memory):
            limit = size_text(self._request.memory)
            self._end(
                Status.FAILED,
                f"The execution used more than {limit} of memory; the limit is the {self._request.whose('memory')}.",
            )
        elif processes.tasks(processes.descendants()) > self._request.processes:
            self._end(
                Status.FAILED,
                f"The execution ran more than {self._request.processes} processes and threads at the same time; the "
                "limit is the setting cwl.limits.processes.",
            )
        end = time.monotonic()
        self._next_look = end + max(_LOOK, 10 * (end - begin))  # never more than a tenth of the time

    def _disk_exceeded(self) -> bool:
        names = (spool.WORK, spool.INPUTS)
        used = disk_use([self._directory / name for name in names], processes.descendants())
        return used - self._given > self._request.disk

    def _disk_reason(self) -> str:
        limit = size_text(self._request.disk)
        return f"The execution wrote more than {limit} of files; the limit is the setting cwl.limits.disk."

    def _end(self, status: Status, reason: str, grace: float = 0) -> None:
        """Begins to end all processes."""
        if self._stop:
            return
        self._stop = (status, reason)
        self._kill_at = time.monotonic() + grace
        processes.send(processes.descendants(), signal.SIGTERM if grace else signal.SIGKILL)

    def _conclude(self) -> ExecutionState:
        status, reason = self._stop or self._result()
        full = status is Status.FAILED and spool.disk_full(self._directory)
        if full or reason == self._disk_reason():  # the disk is given back
            remove_tree(self._directory / spool.RESULTS)
            self._output.clear()
        outputs, warnings = self._keep_outputs()
        if not self._log.full:
            self._log.write((Level.WARN, warning) for warning in warnings)
        durable.replace(self._directory / spool.OUTPUT_OBJECT, json.dumps(outputs).encode())
        if reason:
            self._log.end(Level.WARN if status is Status.CANCELLED else Level.ERROR, reason.replace("\n", " "))
        return replace(self._state, status=status, reason=reason)

    def _keep_outputs(self) -> tuple[dict[str, JSON], list[str]]:
        results, place = self._directory / spool.RESULTS, self._directory / spool.OUTPUTS
        # Tools may have put a link there, and whatever it leads to would be served as what they made.
        plain = all(stat.S_ISDIR(path.lstat().st_mode) for path in (results.parent, results) if path.exists())
        if not plain:
            return {}, ["The outputs are dropped: a tool replaced the directory of the outputs by a link."]
        outputs, warnings = collect(self._output_object(), results)
        if results.exists():
            remove_tree(place)
            results.chmod(0o700)
            results.rename(place)
        return outputs, warnings

    def _result(self) -> tuple[Status, str | None]:
        if self._disk_exceeded() or (self._exit != 0 and self._diagnosis.file_too_large):
            return Status.FAILED, self._disk_reason()
        if self._exit:
            reason = self._diagnosis.reason(self._steps.failed(), self._exit)
            full = self._diagnosis.disk_full or spool.disk_full(self._directory)
            return Status.FAILED, f"The disk was full. {reason}" if full else reason
        if self._output_object() is None:
            return (
                Status.FAILED,
                "The runner succeeded, but what it wrote to standard output is not a CWL output object.",
            )
        return Status.SUCCEEDED, None

    def _output_object(self) -> dict[str, JSON] | None:
        try:
            value = json.loads(self._output)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def _short_names(directory: Path, document: Path) -> list[tuple[str, str]]:
    """What stands in the log for the places of the machine."""
    names = []
    for path, short in ((directory / spool.WORK, "."), (directory, "."), (document.parent, "workflow")):
        names += [(f"file://{quote(str(path))}", short), (str(path), short)]
    # Messages about a document name it as seen from where the runner works.
    names.append((os.path.relpath(document.parent, directory / spool.TEMPORARY), "workflow"))
    return names


def _now() -> datetime:
    return datetime.now(UTC)
