"""Supervises one execution from its first process to its last."""

import contextlib
import ctypes
import json
import math
import os
import select
import signal
import subprocess
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple

from hpcwaas.engines.cwl.sites.agent.answers import JSON, KINDS
from hpcwaas.engines.cwl.sites.agent.diagnosis import Diagnosis, passes
from hpcwaas.engines.cwl.sites.agent.execution import BEAT, CANCELLED, Execution, fresh_state
from hpcwaas.engines.cwl.sites.agent.files import RESERVE, dump, now, open_file, remove_tree, seen, size_text, write
from hpcwaas.engines.cwl.sites.agent.log import MAX_LINE, WARN, Log, clean, interpret
from hpcwaas.engines.cwl.sites.agent.outputs import Collector
from hpcwaas.engines.cwl.sites.agent.processes import descendants, send
from hpcwaas.engines.cwl.sites.agent.runner import Stopped, command, environment, prepare, short_names
from hpcwaas.engines.cwl.sites.agent.steps import Steps

GRACE = 5.0
"""Seconds between asking the processes of an execution to end and killing them."""
FULL = "The disk of the site is full, or the account's quota is used up: the execution was stopped."
PURGED = (
    "The files of the execution were removed on the site while it ran, by somebody or by a purge of old files: it was "
    "stopped."
)
_MAX_OUTPUT_OBJECT = 16 << 20
_MOST_MESSAGES = 16 << 20
_FOLLOWED = 60.0
_COUNTS = 2.0
"""Seconds between two states of which only the counts of scattered steps differ."""
_PATIENCE = 60.0
"""Seconds after which processes that can't be killed, since a file system hangs, are left behind."""


class Supervisor:
    """Supervises one execution, in a process of its own that owes nothing to whoever started it."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        before = execution.state()
        self._request = execution.request()
        parallel = "--parallel" in (self._request.get("arguments") or [])
        declared, stood = self._request.get("steps") or [], before.get("steps") or []
        self._steps = Steps(declared, stood, before.get("process"), parallel)
        self._state = dict(fresh_state(self._request), status="RUNNING", started_at=now(), steps=self._steps.all())
        self._state["leader_job"] = execution.leader_job()
        self._output = bytearray()
        self._line = b""
        self._diagnosis = Diagnosis()
        self._pid = 0
        self._status: Optional[int] = None
        self._stop: Optional[Tuple[str, str]] = None
        self._kill_at = 0.0
        self._given_up_at = math.inf
        self._missed = 0
        self._told_to_end = False
        self._begin = time.monotonic()
        self._next_look = self._next_beat = self._next_counts = 0.0
        self._followed = (0.0, -_FOLLOWED)
        self._messages = 0
        self._purged = False
        self._names = short_names(execution, self._request)

    def run(self) -> None:
        """Does all of it. Returns when the execution is over, and nothing of it is left."""
        signal.signal(signal.SIGTERM, self._on_term)
        with contextlib.suppress(OSError, AttributeError):  # orphans of the runner become this process's children
            ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)
        try:
            self._execution.write_state(self._state)
            with open(self._execution.path("reserve"), "wb") as reserve:  # so that an end can be written to a full disk
                reserve.write(os.urandom(RESERVE))
            self._log = Log(self._execution.path("log.jsonl"), self._request.get("log") or 1 << 30)
            self._log.write((WARN, remark) for remark in self._request.get("remarks") or [])
            self._supervise()
        except Stopped as stopped:
            self._stop = self._stop or ("FAILED", str(stopped))
        except OSError as error:
            kind = KINDS.get(error.errno or 0)
            reason = f"The site failed while the execution was supervised: {error.strerror} ({error.filename})."
            self._stop = self._stop or ("FAILED", FULL if kind == "full" else reason)
        except Exception as error:  # the execution must end; the trace is in supervisor.err
            traceback.print_exc()
            self._stop = self._stop or ("FAILED", f"The execution could not be supervised: {error!r}.")
        self._finish()

    def _on_term(self, *_: Any) -> None:
        self._told_to_end = True

    def _supervise(self) -> None:
        self._look()
        if self._stop:
            return
        prepare(self._execution, self._request)
        error_reader, error_writer = os.pipe()
        output_reader, output_writer = os.pipe()
        try:
            process = subprocess.Popen(
                command(self._execution, self._request),
                stdin=subprocess.DEVNULL,
                stdout=output_writer,
                stderr=error_writer,
                cwd=self._execution.path("work", "tmp"),
                env=environment(self._execution, self._request),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise Stopped(f"The program {error.filename} was not found on the site.") from error
        finally:
            os.close(error_writer)
            os.close(output_writer)
        self._pid = process.pid
        process.returncode = 0  # it is waited for here
        readers: Dict[int, Callable[[bytes], None]] = {error_reader: self._take_errors}
        readers[output_reader] = self._take_output
        while self._status is None or readers:
            self._pump(readers, 0.2 if readers else 0.05)
            self._reap()
            self._look()
            if self._status is not None and not self._stop:
                self._kill_at = 0.0
                self._given_up_at = min(self._given_up_at, time.monotonic() + _PATIENCE)
            if self._status is not None or self._stop:
                left = descendants(os.getpid())
                if (not left and not self._pump(readers, 0.0)) or time.monotonic() > self._given_up_at:
                    break
                if time.monotonic() >= self._kill_at:
                    send(left, signal.SIGKILL)
        self._take_errors(b"\n" if self._line else b"")
        self._take_messages()

    # -- what comes

    def _pump(self, readers: Dict[int, Callable[[bytes], None]], timeout: float) -> bool:
        """Reads what there is. False when there is nothing."""
        if not readers:
            time.sleep(timeout)
            return False
        ready = select.select(list(readers), [], [], timeout)[0]
        for descriptor in ready:
            data = os.read(descriptor, 1 << 16)
            if data:
                readers[descriptor](data)
            else:
                os.close(descriptor)
                del readers[descriptor]
        return bool(ready)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    self._status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _take_output(self, data: bytes) -> None:
        if self._stop:
            return
        self._output += data
        if len(self._output) > _MAX_OUTPUT_OBJECT:
            self._output.clear()
            self._halt("FAILED", f"The output object is larger than {size_text(_MAX_OUTPUT_OBJECT)}.")

    def _take_errors(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > 4 * MAX_LINE:  # a progress bar, or what is no text
            lines.append(self._line)
            self._line = b""
        if not lines or self._log.full:
            return
        entries, changed, jobs = [], False, len(self._steps.jobs)
        for raw in lines:
            level, text, message = interpret(raw.decode(errors="replace"))
            for name, short in self._names:
                if name in text:
                    text = text.replace(name, short)
            text = clean(text)
            self._diagnosis.observe(level, text, message)
            self._heed_refusal()
            changed |= message and self._steps.line(self._request["kind"], text)
            entries += [(level, text[start : start + MAX_LINE]) for start in range(0, len(text) or 1, MAX_LINE)]
        self._log.write(entries)
        self._write_jobs(jobs)
        if self._log.full:
            limit = size_text(self._log.limit)
            self._halt(
                "FAILED", f"The execution wrote more than {limit} of log; the limit is the setting cwl.limits.log."
            )
        if changed:
            self._write_steps()
        elif self._is_followed():
            self._execution.tell()

    def _heed_refusal(self) -> None:
        """Ends the execution when Slurm takes no job for good: Toil would try again as it does while Slurm is away."""
        refused = self._diagnosis.refused
        if self._diagnosis.hopeless and not self._stop:
            self._take_messages()  # by which the step is known
            self._halt("FAILED", self._why(), GRACE)
        elif refused and not passes(refused):
            self._halt("FAILED", refused, GRACE)
        elif refused and self._state["reason"] != refused:
            self._state["reason"] = refused
            self._execution.write_state(self._state)

    def _take_messages(self) -> None:
        """Reads what Toil has written to its messages."""
        try:
            with open_file(self._execution.path("messages")) as file:
                file.seek(self._messages)
                content = file.read(_MOST_MESSAGES)
        except OSError:
            return
        end = content.rfind(b"\n") + 1
        self._messages += end
        changed, jobs = False, len(self._steps.jobs)
        for line in content[:end].decode(errors="replace").splitlines():
            with contextlib.suppress(IndexError):  # another version's
                changed |= self._steps.toil(line.split("\t"))
        self._write_jobs(jobs)
        if changed:
            self._write_steps()

    def _write_jobs(self, before: int) -> None:
        if len(self._steps.jobs) != before:
            write(self._execution.path("jobs.json"), dump(self._steps.jobs))
            self._diagnosis.refused, self._state["reason"] = "", None

    def _write_steps(self) -> None:
        self._next_counts = time.monotonic() + _COUNTS
        self._state.update(steps=self._steps.all(), process=self._steps.process)
        self._execution.write_state(self._state)

    def _is_followed(self) -> bool:
        """Whether somebody follows the log: the time of the file changes, by whatever clock."""
        status = seen(self._execution.path("followed"))
        present = time.monotonic()
        if status and status.st_mtime != self._followed[0]:
            self._followed = (status.st_mtime, present)
        return present - self._followed[1] < _FOLLOWED

    # -- what ends it

    def _look(self) -> None:
        present = time.monotonic()
        if self._stop or (present < self._next_look and not self._told_to_end):
            return
        self._next_look = present + 1.0
        limit = self._request.get("time")
        self._purged = self._is_purged()
        if self._purged:
            self._halt("FAILED", PURGED)
        elif os.path.exists(self._execution.path("cancel")):
            self._halt("CANCELLED", CANCELLED, GRACE)
        elif self._told_to_end:
            by = "the scheduler ends its job" if self._state["leader_job"] else "the machine may be shut down"
            self._halt("FAILED", f"What supervises the execution on the site was told to end: {by}.", GRACE)
        elif limit is not None and present - self._begin > limit:
            self._halt(
                "FAILED",
                f"The execution ran for more than {limit:g} seconds; the limit is the setting cwl.limits.time, or the "
                "workflow's time_limit.",
            )
        else:
            self._take_messages()
            if present >= self._next_counts and self._steps.all() != self._state["steps"]:
                self._write_steps()
            if present >= self._next_beat:
                self._next_beat = present + BEAT
                with contextlib.suppress(OSError):
                    os.utime(self._execution.path("supervisor.json"))

    def _is_purged(self) -> bool:
        """Whether its files are gone, and not only for a moment, as it may look when a file server fails over."""
        try:
            os.stat(self._execution.path("request.json"))
        except FileNotFoundError:
            self._missed += 1
        except OSError:
            pass
        else:
            self._missed = 0
        return self._missed > 2

    def _halt(self, status: str, reason: str, grace: float = 0.0) -> None:
        """Begins to end all processes."""
        if not self._stop:
            self._stop = (status, reason)
            self._kill_at = time.monotonic() + grace
            self._given_up_at = self._kill_at + _PATIENCE
            send(descendants(os.getpid()), signal.SIGTERM if grace else signal.SIGKILL)

    def _finish(self) -> None:
        """Ends what is left, and writes the end."""
        execution = self._execution
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            left = descendants(os.getpid())
            if not left:
                break
            send(left, signal.SIGKILL)
            self._reap()
            time.sleep(0.01)
        if execution.over():  # somebody who couldn't see this process has ended it
            return
        if self._purged:
            os.makedirs(execution.directory, exist_ok=True)
            write(execution.path("request.json"), dump(self._request))
        remove_tree(execution.path("reserve"))
        failed = bool(self._stop or self._status != 0)
        jobs_left = execution.end_jobs(300.0) if failed and execution.submits() else []
        pause = 1.0
        while True:  # nobody else knows the reason
            try:
                status, reason = self._stop or self._result()
                self._conclude(status, reason, jobs_left)
                return
            except OSError as error:
                traceback.print_exc()
                kind = KINDS.get(error.errno or 0)
                if kind == "full":
                    self._stop = self._stop or ("FAILED", FULL)
                    remove_tree(execution.path("work"))
                elif kind == "missing":
                    self._stop = ("FAILED", PURGED)
                    os.makedirs(execution.directory, exist_ok=True)
                time.sleep(pause)
                pause = min(2 * pause, 60.0)

    def _conclude(self, status: str, reason: Optional[str], jobs_left: Optional[List[str]]) -> None:
        execution, results = self._execution, self._execution.path("work", "outputs")
        outputs: Dict[str, JSON] = {}
        warnings: List[str] = []
        if os.path.isdir(results) and os.path.realpath(results).endswith(f"/{execution.id}/work/outputs"):
            collector = Collector(results)
            outputs, warnings = collector.collect(self._output_object() or {}), collector.warnings
            remove_tree(execution.path("outputs"))
            os.rename(results, execution.path("outputs"))
        if jobs_left is None:
            warnings.append("Slurm gave no answer when the jobs of the execution were to be cancelled: some may go on.")
        elif jobs_left:
            warnings.append(f"These jobs of the execution could not be cancelled: {', '.join(jobs_left)}.")
        execution.close_log(status, reason, warnings)
        state = dict(self._state, status=status, reason=reason, steps=self._steps.all(), exit=self._status)
        execution.end(dict(state, jobs_left=jobs_left), outputs)

    def _result(self) -> Tuple[str, Optional[str]]:
        path = self._execution.path("stage")
        with contextlib.suppress(OSError), open_file(path) as file:
            stage = file.read(100).decode(errors="replace")
            program = self._request["command"][0]
            if stage == "prologue":
                why = f": {self._diagnosis.last}" if self._diagnosis.last else "."
                return "FAILED", f"The site's prologue failed with status {self._status}{why}"
            return "FAILED", f"The runner {program} was not found on the site" + self._execution.after_prologue()
        if self._status is None or self._status:
            return "FAILED", self._why()
        if self._output_object() is None:
            return "FAILED", "The runner succeeded, but what it wrote to standard output is not a CWL output object."
        return "SUCCEEDED", None

    def _why(self) -> str:
        """Why the runner failed."""
        found = self._diagnosis
        step = self._steps.step_of(found.job) if found.job else None
        if step:  # of which no job was ever begun
            self._steps.fail(step)
        step = step or self._steps.failed()
        limit = self._execution.time_limit(found.timed_out) if found.timed_out else None
        return found.reason(step, self._status or 0, limit)

    def _output_object(self) -> Optional[Dict[str, JSON]]:
        try:
            value = json.loads(self._output.decode())
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def supervise(root: str, identifier: str) -> None:
    """Supervises an execution, unless somebody does or did."""
    execution = Execution(root, identifier)
    if execution.exists() and not execution.begun() and execution.claim():
        Supervisor(execution).run()
