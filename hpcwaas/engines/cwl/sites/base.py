"""What the engine needs of a machine on which executions live, whether that is this one or another."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, TypeVar

from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.models import ExecutionState, Step, StepDeclaration, StepStatus
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.storage.trash import Trash
from hpcwaas.errors import Unavailable, UncertainStart

T = TypeVar("T")
Stamp: TypeAlias = tuple[int, int, int]
"""What changes whenever a file does."""


PARTS = {Part.OUTPUTS: (spool.OUTPUT_OBJECT, spool.OUTPUTS), Part.LOG: (spool.LOG,)}
"""Files and directories of an execution that parts of it are."""


@dataclass(frozen=True, slots=True)
class OpenOutput:
    """A file among the outputs of an execution. Whoever takes it closes its stream, which can be sought in."""

    stream: BinaryIO
    size: int
    modified_at: datetime


class ExecutionSite(Protocol):
    """A machine with executions on it. What it tells of them it tells from this machine's disk, at once; the contents
    of outputs alone may come from elsewhere."""

    def submit(self, execution_id: str, job: Job, owner: str) -> None:
        """Makes and queues an execution, unless that was done before.

        Raises:
            Conflict: an input has been deleted since it was checked.
            Unavailable: the disk is full or broken, and nothing was made.
            UncertainStart: the execution was made, and may be queued or not.
        """

    def recall(self, execution_id: str) -> bool:
        """Goes on with the start of an execution that was made; whether it was.

        Raises:
            UncertainStart: the disk is full or broken.
        """

    def cancel(self, execution_id: str) -> None:
        """Asks for the end of an execution."""

    def resume(self, execution_id: str) -> None:
        """Lets a failed execution go on where it failed.

        Raises:
            Conflict: it can't.
            Unavailable: it can't at present.
        """

    def unbegun(self, execution_id: str) -> ExecutionState | None:
        """The state of an execution that has no file for it yet; None when there is no trace of it."""

    def told(self, execution_id: str, state: ExecutionState) -> ExecutionState:
        """The state of an execution that isn't over, with what there is to say of it at the moment."""

    def stamp(self, execution_id: str, name: str) -> Stamp | None:
        """Something that changes whenever a file of an execution does; None when there is no such file."""

    def read(self, execution_id: str, name: str, offset: int = 0, size: int = -1) -> bytes:
        """A part of a file of an execution; nothing when there is no such file."""

    def follow(self, execution_id: str) -> None:
        """Says that somebody waits for news of an execution now."""

    def open_output(self, execution_id: str, path: str) -> OpenOutput | None:
        """Opens an output file; None when the path is that of a directory.

        Raises:
            OutsideError: there is no such file or directory among the outputs.
            NotFound, Conflict: it was there and isn't any more.
            Unavailable: the machine can't be asked.
        """

    def give_outputs(self, execution_id: str, paths: Sequence[str]) -> Generator[tuple[int, Iterator[bytes]]]:
        """Output files, one behind the other: their bytes in number and as they come, to be taken before the next one.

        Raises:
            OutsideError, NotFound: the next one isn't among the outputs.
            Conflict, Unavailable: as `open_output`.
        """

    def kind_of(self, execution_id: str, path: str) -> str | None:
        """Whether something among the outputs is a `File` or a `Directory`; None where the site would have to be asked.

        Raises:
            NotFound: it is known not to be there any more.
        """

    def pack_output(self, execution_id: str, path: str, kind: str) -> Iterator[bytes]:
        """The bytes of an archive of an output directory."""

    def remove(self, execution_id: str, part: Part, trash: Trash, *, give_up: bool) -> Removal:
        """Removes a part of an ended execution, here and where it ran; see `RemovingEngine.remove`.

        Args:
            trash: takes what lies on this machine.
        """

    def problems(self) -> Sequence[str]:
        """What keeps executions from running, a sentence each."""

    def close(self) -> None:
        """Releases what this process holds. Executions go on."""


@contextlib.contextmanager
def disk_told(made: Callable[[], object]) -> Iterator[None]:
    """Around what makes and queues an execution: tells what is wrong with the disk.

    Args:
        made: whether the execution has been made.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in spool.FULL
        detail = f"The disk of the service {'is full' if full else f'fails ({error.strerror})'}."
        if made():
            raise UncertainStart(detail) from error
        raise Unavailable(detail, retry_after=60) from error


def pending(declared: Sequence[StepDeclaration]) -> tuple[Step, ...]:
    """The steps of an execution that hasn't begun."""
    return tuple(Step(step.name, StepStatus.PENDING, step.label) for step in declared)


def stamp_of(path: Path) -> Stamp | None:
    """See `ExecutionSite.stamp`."""
    try:
        status = _again(path.stat)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_part(path: Path, offset: int, size: int) -> bytes:
    """See `ExecutionSite.read`."""

    def read() -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    try:
        return _again(read)
    except FileNotFoundError:
        return b""


def _again(look: Callable[[], T]) -> T:
    """Looks once more at a file that another machine replaced meanwhile."""
    try:
        return look()
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return look()


def place(source: Path, target: Path) -> None:
    """Puts a file to another place: as a link where that is possible, as a copy elsewhere."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
