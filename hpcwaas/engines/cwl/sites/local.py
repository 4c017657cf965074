"""The machine that the service runs on: what the engine does with the executions' directories there, and how the
launcher is started."""

from __future__ import annotations

import fcntl
import importlib.util
import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from hpcwaas.common import durable
from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.models import ExecutionState, Status
from hpcwaas.core.ports.engine import Queue
from hpcwaas.engines.cwl.confinement import levels
from hpcwaas.engines.cwl.containers import Containers
from hpcwaas.engines.cwl.inputs.job import Job, StagedFile, dump_order
from hpcwaas.engines.cwl.run import launcher
from hpcwaas.engines.cwl.run.runner import IN_PROCESS, kept_environment
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.sites.base import PARTS, OpenOutput, Stamp, disk_told, pending, place, read_part, stamp_of
from hpcwaas.engines.cwl.sites.bringing import Bringing
from hpcwaas.engines.cwl.sites.launching import LauncherProcess
from hpcwaas.engines.cwl.sites.taking import BROUGHT, FetchOutputs
from hpcwaas.engines.cwl.storage import packing, spool, stored
from hpcwaas.engines.cwl.storage.machines import Machines
from hpcwaas.engines.cwl.storage.outputs import OutsideError, open_inside
from hpcwaas.engines.cwl.storage.stored import Confinement, Request
from hpcwaas.engines.cwl.storage.trash import Trash
from hpcwaas.errors import Conflict, NotFound

_LOGGER = logging.getLogger(__name__)
_KEEPER_TICK = 1.0
_PIECE = 1 << 20
_TRIAL_LASTS = 60.0
"""Seconds that the answer of a container engine is good for."""


class LocalSite:
    """The machine that the service runs on.

    Args:
        place: for all that belongs to the engine.
        fetch: brings outputs of executions on other sites.
        protected: what executions can't read wherever it lies, such as the service's data directory.
        machines: that share the directory; None where this one is alone.
    """

    def __init__(
        self,
        place: spool.Spool,
        settings: CWLSettings,
        fetch: FetchOutputs,
        protected: Sequence[Path] = (),
        machines: Machines | None = None,
    ) -> None:
        self._settings = settings
        self._spool = place
        self._machines = machines
        self._containers = Containers(settings)
        self._confinement = _confinement(settings, self._containers, [self._spool.directory, *protected])
        if (socket := self._containers.socket) and self._confinement.level != levels.NONE:
            _LOGGER.warning(
                "Executions can reach %s, so whoever may run a workflow may be able to act as the account that starts "
                "containers there (setting cwl.containers).",
                socket,
            )
        # As long as somebody holds this lock the launcher doesn't leave.
        self._service = os.open(self._spool.own / launcher.SERVICE_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._service, fcntl.LOCK_SH)
        self._spool.repair()
        self._launcher = LauncherProcess(self._spool, settings, self._containers.environment())
        self._trying = threading.Lock()
        self._trial: tuple[float, str | None] = (0.0, None)
        self._launcher.ensure()
        self._bringing = Bringing(self._spool, fetch, settings.limits.disk, self._launcher.ensure)
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="cwl-launcher-keeper", daemon=True)
        self._keeper.start()

    def queue(self) -> Queue:
        """Where the executions here stand."""
        waiting, running = (len(self._spool.tickets(it)) for it in (self._spool.queue, self._spool.active))
        return Queue(waiting, running, self._settings.max_running)

    def _keep(self) -> None:
        while not self._closed.wait(_KEEPER_TICK):
            try:
                self._spool.adopt()
                self._bringing.look()
                if self._spool.busy():
                    self._launcher.ensure(byte=b"")
                else:
                    self._launcher.reap()
            except OSError as error:  # a network file system, say: the next look may succeed
                _LOGGER.warning("the queue of executions can't be looked after: %s", error)

    def submit(self, execution_id: str, job: Job, owner: str) -> None:
        places = {
            f"{spool.ARCHIVES if staged.unpack else spool.UPLOADS}/{number}": staged
            for number, staged in enumerate(job.staged)
        }

        def fill(draft: Path) -> None:
            durable.write(draft / spool.ORDER, dump_order(job.order).encode())
            for target, staged in places.items():
                (draft / target).parent.mkdir(parents=True, exist_ok=True)
                if not staged.source.exists():
                    name = Path(staged.target).name
                    raise Conflict(
                        f"The file {name}, an input of the execution, was deleted in the meantime. Upload it again."
                    )
                place(staged.source, draft / target)

        with disk_told(lambda: self.stamp(execution_id, spool.REQUEST)):
            self._spool.submit(execution_id, self._request(execution_id, job, owner, places), fill)
        self._bringing.look()
        self._launcher.ensure()

    def _request(self, execution_id: str, job: Job, owner: str, places: Mapping[str, StagedFile]) -> Request:
        limits, runner, own = self._settings.limits, self._settings.runner, job.limits
        linked, packed, copied = {}, {}, {}
        for number, each in enumerate(job.taken):
            place = f"{spool.UPLOADS}/taken-{number}"
            if not each.site:
                linked[place] = each
            elif each.kind == "Directory":
                packed[place] = each
            else:  # nobody else has this copy: it is the input
                copied[each.target] = each
        time = job.longest(limits.time)
        narrower = {
            "cores": own.cores is not None and own.cores < limits.cores,
            "memory": own.memory is not None and own.memory < limits.memory,
            "time": own.time is not None and own.time == time,
        }
        return Request(
            ticket=spool.Spool.new_ticket(execution_id),
            document=str(job.document),
            fragment=job.fragment,
            steps=job.steps,
            archives=(
                *((place, each.target, each.unpack) for place, each in places.items() if each.unpack),
                *((place, each.target, "tar") for place, each in packed.items()),
            ),
            downloads=tuple((fetched.url, fetched.target) for fetched in job.fetched),
            networks=(self._settings.http_allowed, self._settings.http_denied),
            command=runner.command,
            arguments=runner.words(self._containers.arguments),
            environment=(*self._settings.environment, *self._containers.environment()),
            cores=min(limits.cores, own.cores or limits.cores),
            memory=min(limits.memory, own.memory or limits.memory),
            log=limits.log,
            disk=limits.disk,
            time=time,
            own=tuple(name for name, is_so in narrower.items() if is_so),
            copies=(
                *((place, each.target) for place, each in places.items() if not each.unpack),
                *((place, each.target) for place, each in linked.items()),
            ),
            owner=owner,
            processes=limits.processes,
            confinement=self._confinement,
            daemon=self._containers.daemon,
            taken=tuple((linked | packed | copied).items()),
        )

    def recall(self, execution_id: str) -> bool:
        made = self.stamp(execution_id, spool.REQUEST) is not None
        if made:
            with disk_told(lambda: True):
                self._spool.enqueue(execution_id)
            self._bringing.look()
            self._launcher.ensure()
        return made

    def cancel(self, execution_id: str) -> None:
        (self._spool.execution(execution_id) / spool.CANCEL).touch(mode=0o600)
        self._spool.enqueue(execution_id)  # in case that its start broke off before
        self._bringing.look()
        self._launcher.ensure()

    def resume(self, execution_id: str) -> None:
        raise Conflict("Executions on this site can't be resumed. Trigger a new one.")

    def unbegun(self, execution_id: str) -> ExecutionState | None:
        content = self.read(execution_id, spool.REQUEST)
        if not content:
            return None
        try:
            declared = stored.REQUEST.validate_json(content).steps
        except ValueError:  # of another version: the launcher ends it
            declared = ()
        return ExecutionState(Status.PENDING, steps=pending(declared))

    def told(self, execution_id: str, state: ExecutionState) -> ExecutionState:
        machine = self._spool.machine_of(execution_id)
        silent_since = self._machines.silent_since(machine) if self._machines and machine else None
        if silent_since and not self._spool.supervised(execution_id):
            reason = (
                f"The machine {machine}, on which the execution is, hasn't been heard of since "
                f"{silent_since:%Y-%m-%d %H:%M:%S} UTC. Nothing newer is known. When it is back, the execution goes on "
                "if it hadn't begun, and has failed if it was interrupted."
            )
            return replace(state, stale_since=silent_since, reason=reason)
        if state.status is not Status.PENDING:
            return state
        there = self._spool.of(execution_id)
        if (there.bringing / self._ticket(execution_id)).exists():
            waits = self.read(execution_id, spool.WAITS).decode()
            return replace(state, reason=waits or BROUGHT)
        most = self._settings.max_running
        if len(spool.Spool.tickets(there.active)) < most:
            return state
        reason = (
            f"The execution waits for its turn: no more than {most} executions run at the same time. The next one to "
            "start is of the user who has the fewest running."
        )
        return replace(state, reason=reason)

    def _ticket(self, execution_id: str) -> str:
        request = self._spool.request(execution_id)
        return request.ticket if request else ""

    def stamp(self, execution_id: str, name: str) -> Stamp | None:
        return stamp_of(self._spool.execution(execution_id) / name)

    def read(self, execution_id: str, name: str, offset: int = 0, size: int = -1) -> bytes:
        return read_part(self._spool.execution(execution_id) / name, offset, size)

    def follow(self, execution_id: str) -> None:
        """Nothing to do: everything is here."""

    def open_output(self, execution_id: str, path: str) -> OpenOutput | None:
        descriptor = open_inside(self._spool.execution(execution_id) / spool.OUTPUTS, path)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            os.close(descriptor)
            return None
        stream = os.fdopen(descriptor, "rb")
        return OpenOutput(stream, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def give_outputs(self, execution_id: str, paths: Sequence[str]) -> Generator[tuple[int, Iterator[bytes]]]:
        for path in paths:
            opened = self.open_output(execution_id, path)
            if opened is None:
                raise OutsideError(path)
            with opened.stream:
                yield opened.size, iter(partial(opened.stream.read, _PIECE), b"")

    def kind_of(self, execution_id: str, path: str) -> str:
        try:
            descriptor = open_inside(self._spool.execution(execution_id) / spool.OUTPUTS, path)
        except OutsideError:
            raise NotFound("It isn't there any more.") from None
        try:
            return "Directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "File"
        finally:
            os.close(descriptor)

    def pack_output(self, execution_id: str, path: str, kind: str) -> Iterator[bytes]:
        return packing.pack(self._spool.execution(execution_id) / spool.OUTPUTS, path, kind)

    def remove(self, execution_id: str, part: Part, trash: Trash, *, give_up: bool) -> Removal:
        directory = self._spool.execution(execution_id)
        if not directory.is_dir():
            return Removal()
        state = self._spool.state(execution_id)
        if state is None or not state.status.over or self._spool.busy_with(execution_id):
            return Removal("It is just ending on the service's machine.")
        if part is Part.ALL:
            trash.take(directory)
            return Removal()
        for name in PARTS[part]:
            trash.take(directory / name)
        return Removal(kept=self._spool.kept(execution_id))

    def problems(self) -> list[str]:
        problems = []
        if self._confinement.level == levels.NONE:
            problems.append(
                "Executions are not confined: they can read and change all files of the service's account (setting "
                "cwl.confinement)."
            )
        command = self._settings.runner.command
        if command == IN_PROCESS:
            if not importlib.util.find_spec("cwltool"):
                problems.append("cwltool is not installed (setting cwl.runner.command).")
        elif not shutil.which(command[0], path=kept_environment(self._settings.environment)["PATH"]):
            problems.append(f"The runner {command[0]} was not found (setting cwl.runner.command).")
        if silent := self._silent():
            problems.append(silent)
        if not self._launcher.ensure(byte=b""):
            problems.append(f"The launcher does not start. Read {self._spool.own / launcher.LAUNCHER_LOG}.")
        free = shutil.disk_usage(self._spool.directory).free
        if free < self._settings.limits.disk:
            problems.append(
                f"Only {free >> 20} MiB are free in {self._spool.directory}, less than one execution may use "
                "(setting cwl.limits.disk)."
            )
        return problems

    def refusal(self, job: Job) -> str | None:
        """Why a job can't run here; None when nothing is known to stand against it."""
        return self._containers.refusal(job.needs)

    def _silent(self) -> str | None:
        """Why no container can be started; asked not too often."""
        with self._trying:
            if time.monotonic() > self._trial[0]:
                self._trial = (time.monotonic() + _TRIAL_LASTS, self._containers.silent())
            return self._trial[1]

    def stop(self) -> None:
        """Asks what is being brought to end; `close` waits for that, and connections may be closed meanwhile."""
        self._bringing.stop()

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        self._bringing.close()
        self._keeper.join()
        os.close(self._service)


def _confinement(settings: CWLSettings, containers: Containers, protected: Sequence[Path]) -> Confinement:
    level = levels.choose(settings.confinement)
    if level != levels.NAMESPACES and settings.confinement != levels.NONE:
        reason = levels.problem(levels.NAMESPACES) or f"the setting cwl.confinement is {level}"
        _LOGGER.warning("Executions can %s, because %s.", " and ".join(levels.gaps(level)), reason)
    path = kept_environment(settings.environment)["PATH"]
    programs = levels.environment(settings.runner.command, path)
    places = [*levels.system(), *programs, *settings.readable, *containers.readable()]
    return Confinement(
        level,
        readable=tuple(str(place) for place in levels.open_parts(places, protected)),
        writable=tuple(str(place) for place in settings.writable),
        setuid=containers.setuid,
    )
