"""Starts queued executions: one detached process for each state directory, which outlives the service and may itself be
killed at any instant.

It has cwltool imported, so that an execution starts with a fork. Run it as
`python -m hpcwaas.engines.cwl.run.launcher DIRECTORY OWN MACHINE MAX_RUNNING WARM DIGEST PATIENCE`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.common import durable, kernel
from hpcwaas.core.models import ExecutionState, Level, Status, Step, StepStatus
from hpcwaas.engines.cwl.run import detached, processes
from hpcwaas.engines.cwl.run.steps import finish
from hpcwaas.engines.cwl.run.supervisor import CANCELLED, Supervisor
from hpcwaas.engines.cwl.run.turns import Turns
from hpcwaas.engines.cwl.storage import spool, stored
from hpcwaas.engines.cwl.storage.log import LogWriter
from hpcwaas.engines.cwl.storage.machines import Machine
from hpcwaas.engines.cwl.storage.trees import remove_tree

LAUNCHER_LOCK = "launcher.lock"
SERVICE_LOCK = "service.lock"
FIFO = "launcher.fifo"
LAUNCHER_LOG = "launcher.log"
DIGEST = "launcher.digest"

WAKE = b"\0"
LEAVE = b"Q"

_TICK = 1.0
_MAX_ATTEMPTS = 3
_MAX_LOG = 1 << 20
_UNREADABLE = (
    "The execution could not be started: another version of the service queued it, or its files were damaged. Trigger "
    "it again."
)


def poke(directory: Path, byte: bytes = WAKE) -> bool:
    """Tells the launcher something. False when there is none."""
    try:
        descriptor = os.open(directory / FIFO, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    try:
        os.write(descriptor, byte)
    except BlockingIOError:
        pass  # full: it has been woken often enough
    finally:
        os.close(descriptor)
    return True


class Launcher:
    """Claims queued executions, in turns between their owners, and forks a supervisor for each; puts right what dead
    supervisors left.

    Args:
        lock: descriptor that holds the launcher's lock.
        fifo: descriptor, open for reading and writing, on which it is poked.
        max_running: executions that run at the same time.
    """

    def __init__(self, place: spool.Spool, lock: int, fifo: int, max_running: int) -> None:
        self._spool = place
        self._lock = lock
        self._fifo = fifo
        self._machine = Machine(place) if place.machine else None
        self._max_running = max_running
        self._attempts: Counter[str] = Counter()
        self._turns = Turns(place.owner)

    def run(self) -> None:
        """Works until asked to leave, or until nobody needs it any more."""
        while True:
            self._reap()
            if self._machine:
                self._machine.beat()
            self._reconcile()
            self._claim()
            if self._idle() or not self._wait():
                return

    def _reap(self) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def _reconcile(self) -> None:
        for ticket, execution_id in spool.Spool.tickets(self._spool.active):
            try:
                descriptor = durable.lock(self._spool.execution(execution_id) / spool.LOCK)
                if descriptor is None:
                    continue  # its supervisor lives
                try:
                    self._put_right(ticket, execution_id)
                finally:
                    os.close(descriptor)
            except FileNotFoundError:
                if self._spool.execution(execution_id).is_dir():
                    processes.note_exception()
                else:  # somebody removed it by hand
                    (self._spool.active / ticket).unlink(missing_ok=True)
            except Exception:  # a full disk, say: it stops no other execution, and is tried again
                processes.note_exception()

    def _put_right(self, ticket: str, execution_id: str) -> None:
        """Moves on an execution whose supervisor is dead."""
        marker = self._spool.active / ticket
        state = self._spool.state(execution_id)
        if not marker.exists():
            return  # it has ended since the markers were listed
        if state is None and self._attempts[execution_id] < _MAX_ATTEMPTS:
            self._spool.requeue(ticket)
            return
        processes.kill_strays(self._spool.execution(execution_id))
        if request := self._spool.request(execution_id):
            detached.stop(self._spool.execution(execution_id), request.daemon)
        full = spool.disk_full(self._spool.directory)
        self._spool.tidy(execution_id)  # first of all: an end has to be written, too
        if full and not (state and state.ended_at):
            remove_tree(self._spool.execution(execution_id) / spool.OUTPUTS)
        if state is None:
            reason = "The execution could not be started." if self._spool.request(execution_id) else _UNREADABLE
            self._finish(execution_id, ExecutionState(Status.FAILED, reason=spool.DISK_FULL if full else reason))
        elif state.ended_at:
            pass
        elif (self._spool.execution(execution_id) / spool.CANCEL).exists():
            self._finish(execution_id, replace(state, status=Status.CANCELLED, reason=CANCELLED))
        else:
            self._finish(
                execution_id, replace(state, status=Status.FAILED, reason=spool.DISK_FULL if full else stored.DIED)
            )
        marker.unlink(missing_ok=True)

    def _finish(self, execution_id: str, state: ExecutionState) -> None:
        now = datetime.now(UTC)
        request = self._spool.request(execution_id)
        declared = request.steps if request else ()
        steps = state.steps or tuple(Step(step.name, StepStatus.PENDING, step.label) for step in declared)
        log = LogWriter(self._spool.execution(execution_id) / spool.LOG, request.log if request else _MAX_LOG)
        log.end(Level.WARN if state.status is Status.CANCELLED else Level.ERROR, state.reason or "")
        log.close()
        end = replace(state, ended_at=now, steps=finish(steps, state.status, now))
        self._spool.write_state(execution_id, replace(end, stored=self._spool.kept(execution_id)))
        self._spool.note(execution_id, event="ended", status=state.status.value)

    def _claim(self) -> None:
        active = spool.Spool.tickets(self._spool.active)
        queue = spool.Spool.tickets(self._spool.queue)
        for gone in self._attempts.keys() - {execution_id for _, execution_id in active + queue}:
            del self._attempts[gone]
        self._turns.forget({execution_id for _, execution_id in active + queue})
        waiting = []
        for ticket, execution_id in queue:
            directory = self._spool.execution(execution_id)
            if (directory / spool.CANCEL).exists() or (directory / spool.REFUSED).exists():
                self._attempt(self._drop, ticket, execution_id)
            else:
                waiting.append((ticket, execution_id))
        free = self._max_running - len(active)
        for ticket, execution_id in self._turns.order(waiting, active) if free > 0 else ():
            free -= self._attempt(self._start, ticket, execution_id)
            if free <= 0:
                break

    def _attempt(self, task: Callable[[str, str], None], ticket: str, execution_id: str) -> bool:
        """Claims an execution and does something with it; whether that was done."""
        try:
            if not self._spool.claim(ticket, execution_id):
                return False
            task(ticket, execution_id)
        except Exception:  # as above
            processes.note_exception()
            return False
        return True

    def _drop(self, ticket: str, execution_id: str) -> None:
        """Ends an execution that isn't to begin."""
        end = ExecutionState(Status.CANCELLED, reason="Cancelled on request before it began.")
        if not (self._spool.execution(execution_id) / spool.CANCEL).exists():
            reason = (self._spool.execution(execution_id) / spool.REFUSED).read_text("utf-8")
            end = ExecutionState(Status.FAILED, reason=reason)
        self._finish(execution_id, end)
        self._spool.tidy(execution_id)
        (self._spool.active / ticket).unlink(missing_ok=True)

    def _start(self, ticket: str, execution_id: str) -> None:
        self._attempts[execution_id] += 1
        # Taken before the fork: there is no moment at which a claimed execution looks abandoned while we live.
        descriptor = durable.lock(self._spool.execution(execution_id) / spool.LOCK)
        if descriptor is None:
            raise OSError(errno.EBUSY, "the execution has a supervisor already", ticket)
        try:
            if os.fork() == 0:
                self._supervise(execution_id, descriptor)
        finally:
            os.close(descriptor)

    def _supervise(self, execution_id: str, descriptor: int) -> None:
        """The life of a supervisor. Never returns."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for inherited in (self._fifo, self._lock, *([self._machine.lock] if self._machine else [])):
                os.close(inherited)  # they mean that a launcher lives
            Supervisor(self._spool, execution_id, descriptor, lambda: poke(self._spool.own)).run()
        except BaseException:  # nothing may unwind into the launcher's own code
            processes.note_exception()
        finally:
            os._exit(0)

    def _idle(self) -> bool:
        if self._spool.busy():
            return False
        descriptor = durable.lock(self._spool.own / SERVICE_LOCK)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def _wait(self) -> bool:
        """Waits for a poke, the end of a child, or the next tick. False when asked to leave."""
        if os.fstat(2).st_size > _MAX_LOG:
            os.ftruncate(2, 0)
        if not select.select([self._fifo], [], [], _TICK)[0]:
            return True
        received = os.read(self._fifo, 4096)
        return LEAVE not in received and signal.SIGTERM not in received


def main(arguments: list[str]) -> None:
    """Runs the launcher of a directory.

    Args:
        arguments: directory; directory of this machine's own; name of this machine, empty where there is one only; most
            executions that run at the same time; `1` when the runner is cwltool inside this process; digest of the
            configuration; seconds to wait for another launcher that is leaving.
    """
    directory, own, machine, max_running, warm, digest, patience = arguments
    kernel.be_private()
    os.setsid()
    os.chdir(own)
    os.umask(0o077)
    place = spool.Spool(Path(directory), machine or None, Path(own))
    lock = durable.lock(place.own / LAUNCHER_LOCK, float(patience))
    if lock is None:
        return
    durable.replace(place.own / DIGEST, digest.encode())
    with contextlib.suppress(FileExistsError):
        os.mkfifo(FIFO, 0o600)
    fifo = os.open(FIFO, os.O_RDWR | os.O_NONBLOCK)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(fifo, warn_on_full_buffer=False)  # a signal's number arrives as a poke
    for draft in place.incoming.iterdir():
        if draft.stat().st_mtime < time.time() - 3600:  # left by a service that was killed while it wrote
            remove_tree(draft)
    gc.disable()  # nothing that is loaded becomes garbage
    if warm == "1":
        from hpcwaas.engines.cwl.run.inprocess import warm_up

        warm_up()
    gc.freeze()  # forked processes share these pages as long as nobody touches them
    gc.enable()
    Launcher(place, lock, fifo, int(max_running)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
