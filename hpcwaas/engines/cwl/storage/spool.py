"""The engine's directory: who queues, who runs, and the directory of each execution.

    bringing/TICKET         a marker for each execution whose inputs are still to be brought from other executions; see
                            `Bringing`
    queue/TICKET            a marker for each execution that waits; the ticket sorts by the time of its start
    active/TICKET           the same marker, moved here when the launcher claims it
    machines/NAME/          these three of a machine, where several machines share the directory; those above belong to
                            nobody then, and the machine that sees them first takes them
    processes.jsonl         whose processes ran when; see `Spool.note`. Of several machines each has its own, elsewhere
    incoming/               executions that are being written
    executions/ID/          request.json job.json uploads/ inputs/ work/ state.json outputs.json log.jsonl outputs/
                            cancel
                            machine         on which machine it runs, where there are several
                            waits           why it waits
                            refused         why it can't begin

Tools write in `inputs`, which are copies, and in `work`, whose `outputs` become those of the execution when nothing of
it runs any more.

Everything is done by renaming, so that a process killed between any two calls leaves something that the next one
understands. An execution is moved on by one process at a time: one of the service, which locks its marker, while inputs
are brought, the launcher while it is queued, its supervisor (who holds the lock `supervisor.lock`) while it runs, and
the launcher again when its supervisor died.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.common import durable
from hpcwaas.common.chained import ChainedFile
from hpcwaas.common.moments import rfc3339
from hpcwaas.core.models import JSON, ExecutionState
from hpcwaas.engines.cwl.storage import stored
from hpcwaas.engines.cwl.storage.trees import disk_use, remove_tree
from hpcwaas.errors import ServiceError

REQUEST = "request.json"
ORDER = "job.json"
STATE = "state.json"
OUTPUT_OBJECT = "outputs.json"
OUTPUTS = "outputs"
LOG = "log.jsonl"
INPUTS = "inputs"
UPLOADS = "uploads"
WORK = "work"
TEMPORARY = f"{WORK}/tmp"  # noqa: S108  (not the machine's)
RESULTS = f"{WORK}/outputs"
ARCHIVES = "archives"
CANCEL = "cancel"
MACHINE = "machine"
MACHINES = "machines"
WAITS = "waits"
REFUSED = "refused"
PROCESSES = "processes.jsonl"
LOCK = "supervisor.lock"

_PASSING = (WORK, INPUTS, UPLOADS, ARCHIVES)
"""What an execution that is over needs no more."""

DISK_FULL = "The disk of the service was full: the execution was stopped, and what it wrote was removed."

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when a disk, a quota or the files that a disk can hold are used up."""

_LEAST, _FEWEST = 64 << 10, 16
"""Bytes and files below which a disk counts as full: the next execution needs a few of them to begin."""

FOLDERS = ("bringing", "queue", "active")
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TICKET = re.compile(rf"[0-9]{{20}}-{_ID.pattern}")


class Spool:
    """The directory of one engine.

    Args:
        directory: absolute; made when missing.
        machine: whose executions wait and run here, where several machines share the directory.
        own: directory for what other machines have nothing to do with.
    """

    def __init__(self, directory: Path, machine: str | None = None, own: Path | None = None) -> None:
        self.directory = directory
        self.machine = machine
        self.own = own or directory
        self.home = directory / MACHINES / machine if machine else directory
        self.bringing, self.queue, self.active = (self.home / name for name in FOLDERS)
        self.incoming = directory / "incoming"
        self._executions = directory / "executions"
        for folder in (self.own, self.bringing, self.queue, self.active, self.incoming, self._executions):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def execution(self, execution_id: str) -> Path:
        """Directory of an execution, whether it exists or not."""
        if not _ID.fullmatch(execution_id):
            raise ValueError(f"not an execution's id: {execution_id!r}")
        return self._executions / execution_id

    def of(self, execution_id: str) -> Spool:
        """The spool of the machine on which an execution runs: this one, unless the name of another one is noted that
        there still is."""
        name = self.machine_of(execution_id)
        return self if name in (None, self.machine) else Spool(self.directory, name)

    def machine_of(self, execution_id: str) -> str | None:
        """The name of the machine on which an execution runs; None when there is one only, or it was given up."""
        if self.machine is None:
            return None
        try:
            name = (self.execution(execution_id) / MACHINE).read_text("utf-8")
        except FileNotFoundError:
            return None
        return name if (self.directory / MACHINES / name).is_dir() else None

    def adopt(self) -> None:
        """Takes what waits or ran here and belongs to no machine: an operator gave a machine up, or the directory was
        that of a single machine before."""
        if self.machine is None:
            return
        for name in FOLDERS:
            for ticket, execution_id in self.tickets(self.directory / name) if (self.directory / name).is_dir() else ():
                with contextlib.suppress(FileNotFoundError):  # another machine was faster
                    (self.directory / name / ticket).rename(self.home / name / ticket)
                    self._claim_for_machine(execution_id)

    def repair(self) -> None:
        """Notes this machine's name on what it has, in case that `adopt` was killed before it did."""
        for folder in (self.bringing, self.queue, self.active) if self.machine else ():
            for _, execution_id in self.tickets(folder):
                if self.machine_of(execution_id) != self.machine:
                    self._claim_for_machine(execution_id)

    def _claim_for_machine(self, execution_id: str) -> None:
        if self.execution(execution_id).is_dir():
            durable.replace_among_others(self.execution(execution_id) / MACHINE, str(self.machine).encode())

    @staticmethod
    def new_ticket(execution_id: str) -> str:
        """A ticket that sorts behind all earlier ones."""
        return f"{time.time_ns():020}-{execution_id}"

    @staticmethod
    def tickets(folder: Path) -> list[tuple[str, str]]:
        """(ticket, execution's id) of all markers in `queue` or `active`, in order."""
        names = sorted(entry for entry in os.listdir(folder) if _TICKET.fullmatch(entry))  # noqa: PTH208  (names are wanted)
        return [(name, name[21:]) for name in names]

    def supervised(self, execution_id: str) -> bool:
        """Whether a supervisor lives that moves an execution on, on whatever machine."""
        lock = durable.lock(self.execution(execution_id) / LOCK)
        if lock is not None:
            os.close(lock)
        return lock is None

    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return any(self.tickets(folder) for folder in (self.queue, self.active))

    def submit(self, execution_id: str, request: stored.Request, fill: Callable[[Path], None]) -> None:
        """Makes an execution and queues it; one that was made before is left alone, and queued if it was not.

        Args:
            fill: writes the inputs into the new directory.
        """
        directory = self.execution(execution_id)
        if not directory.exists():
            draft = Path(tempfile.mkdtemp(prefix=f"{execution_id}.", dir=self.incoming))
            try:
                fill(draft)
                durable.write(draft / REQUEST, stored.REQUEST.dump_json(request))
                if self.machine:
                    durable.write(draft / MACHINE, self.machine.encode())
                durable.sync_directory(draft)
                draft.rename(directory)
            except (OSError, ServiceError):
                remove_tree(draft)
                if not directory.exists():  # otherwise somebody else was faster
                    raise
            durable.sync_directory(self._executions)
        self.enqueue(execution_id)

    def enqueue(self, execution_id: str) -> None:
        """Queues an execution unless it is queued, active or over already; one with inputs that are still to be brought
        waits for them first."""
        directory = self.execution(execution_id)
        request = self.request(execution_id)
        ticket = request.ticket if request else self.new_ticket(execution_id)
        place = self.of(execution_id)
        if place.queued(ticket, execution_id):
            return
        ended = (directory / CANCEL).exists() or (directory / REFUSED).exists()
        complete = request is None or all((directory / place).exists() for place, _ in request.taken)
        folder = place.queue if ended or complete else place.bringing
        if place is self and self.machine and self.machine_of(execution_id) is None:
            self._claim_for_machine(execution_id)
        (folder / ticket).touch(mode=0o600)
        durable.sync_directory(folder)

    def queued(self, ticket: str, execution_id: str) -> bool:
        """Whether an execution waits for the launcher, or did."""
        # In the order in which it moves. One that slips through all the same is found by the launcher: see `claim`.
        return (
            (self.queue / ticket).exists()
            or (self.active / ticket).exists()
            or (self.execution(execution_id) / STATE).exists()
        )

    def claim(self, ticket: str, execution_id: str) -> bool:
        """Moves a marker from `queue` to `active`. False, and the marker gone, when the execution began before, or when
        somebody removed its directory."""
        directory = self.execution(execution_id)
        if not directory.is_dir() or (directory / STATE).exists() or (self.active / ticket).exists():
            (self.queue / ticket).unlink(missing_ok=True)
            return False
        (self.queue / ticket).rename(self.active / ticket)
        return True

    def requeue(self, ticket: str) -> None:
        """Gives a claimed execution that never began its old place in the queue again."""
        (self.active / ticket).rename(self.queue / ticket)

    def request(self, execution_id: str) -> stored.Request | None:
        """What was asked for. None when that can't be told any more: somebody removed it, or a version of the service
        wrote it that this one doesn't understand.

        Raises:
            OSError: it can't be read at the moment.
        """
        try:
            return stored.REQUEST.validate_json((self.execution(execution_id) / REQUEST).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def owner(self, execution_id: str) -> str:
        """Whose execution it is; nobody's when that can't be told."""
        with contextlib.suppress(OSError):
            if request := self.request(execution_id):
                return request.owner
        return ""

    def state(self, execution_id: str) -> ExecutionState | None:
        """The written state of an execution; None when it has not begun."""
        try:
            return stored.decode_state((self.execution(execution_id) / STATE).read_bytes())
        except FileNotFoundError:
            return None

    def write_state(self, execution_id: str, state: ExecutionState) -> None:
        """Replaces the state of an execution at once."""
        durable.replace(self.execution(execution_id) / STATE, stored.encode_state(state))

    def note(self, execution_id: str, **event: JSON) -> None:
        """Notes, for operators, a beginning or an end of an execution's processes.

        Raises:
            OSError: it can't.
        """
        file = ChainedFile(self.own / PROCESSES)
        moment = rfc3339(datetime.now(UTC))
        try:
            file.append({"time": moment, "execution": execution_id, **event})
        finally:
            file.close()

    def kept(self, execution_id: str) -> int:
        """Bytes on the disk that stay of an execution which is over."""
        # What has a link in the inputs stays as well when these are gone.
        staying = [path for path in self.execution(execution_id).iterdir() if path.name not in _PASSING]
        files = sum(path.lstat().st_blocks * 512 for path in staying if not path.is_dir())
        return files + disk_use([path for path in staying if path.is_dir()])

    def busy_with(self, execution_id: str) -> bool:
        """Whether a process is still at work on an execution, or about to be."""
        place = self.of(execution_id)
        folders = (place.bringing, place.queue, place.active)
        if any(found == execution_id for folder in folders for _, found in self.tickets(folder)):
            return True
        return self.supervised(execution_id)

    def tidy(self, execution_id: str) -> None:
        """Removes what an execution that is over needs no more."""
        directory = self.execution(execution_id)
        for name in _PASSING:
            remove_tree(directory / name)


def disk_full(directory: Path) -> bool:
    """Whether nothing more can be written, or nearly so."""
    status = os.statvfs(directory)
    # A file system without inodes of its own says that it has none in all.
    return status.f_bavail * status.f_frsize < _LEAST or (status.f_files > 0 and status.f_favail < _FEWEST)
