"""Brings outputs of executions to this machine, for others that take them as inputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from hpcwaas.common import durable
from hpcwaas.engines.cwl.run.runner import protect
from hpcwaas.engines.cwl.run.supervisor import size_text
from hpcwaas.engines.cwl.sites.base import ExecutionSite
from hpcwaas.engines.cwl.sites.connection import RemoteFileError
from hpcwaas.engines.cwl.storage.outputs import OutsideError, TakenOutput
from hpcwaas.engines.cwl.storage.trees import remove_tree
from hpcwaas.errors import Conflict, NotFound

BROUGHT = "Outputs of other executions, which it takes, are being brought."
"""Why an execution waits."""


class Untakable(Exception):
    """An output can't be taken, and never will be; says why in whole sentences."""


class Unwanted(Exception):
    """Nobody wants any more what is being brought."""


class Room:
    """What of outputs one execution may still take.

    Args:
        most: bytes in all.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most

    def take(self, size: int) -> None:
        """Takes so many bytes of it.

        Raises:
            Untakable: there is no room for them.
        """
        self._left -= size
        if self._left < 0:
            raise Untakable(
                f"The outputs of other executions among the inputs have more than {size_text(self._most)} together; "
                "the limit is the setting cwl.limits.disk."
            )


FetchOutputs: TypeAlias = Callable[[Sequence[tuple[TakenOutput, Path]], Room, Callable[[], bool]], None]
"""Copies outputs from wherever they lie to new files on this machine, each of which appears whole: a directory as a tar
archive. Arguments: what and where to, room for it, and whether to go on. Raises as `fetch`."""


def fetch(
    site: ExecutionSite,
    execution_id: str,
    outputs: Sequence[tuple[TakenOutput, Path]],
    room: Room,
    wanted: Callable[[], bool],
) -> None:
    """See `FetchOutputs`.

    Args:
        site: on which they lie.
        execution_id: of their execution there.

    Raises:
        Untakable, Unwanted: they aren't brought.
        ServiceError: they can't be brought just now.
        OSError: the disk of the service is full or broken.
    """
    files = [(taken, target) for taken, target in outputs if taken.kind == "File"]
    if files:
        given = site.give_outputs(execution_id, [taken.path for taken, _ in files])
        with contextlib.closing(given):
            for taken, target in files:
                with told(taken):
                    size, pieces = next(given)
                    room.take(size)
                    _write(pieces, target, wanted)
    for taken, target in outputs:
        if taken.kind == "Directory":
            with told(taken):
                _write(_within(room, site.pack_output(execution_id, taken.path, "tar")), target, wanted)


def _within(room: Room, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        room.take(len(piece))
        yield piece


def _write(pieces: Iterator[bytes], target: Path, wanted: Callable[[], bool]) -> None:
    with whole(target) as draft, draft.open("xb") as file:
        for piece in pieces:
            if not wanted():
                raise Unwanted
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        protect(draft)


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A place beside a target, from which that is made when all has gone well."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(".brought")
    remove_tree(draft)  # of a process that was killed
    try:
        yield draft
        draft.rename(target)
        durable.sync_directory(target.parent)
    finally:
        remove_tree(draft)


@contextlib.contextmanager
def told(taken: TakenOutput) -> Iterator[None]:
    """Around what reads an output: tells why it can't be read."""
    try:
        yield
    except OutsideError:
        raise Untakable(f"{taken.words} isn't there any more.") from None
    except (NotFound, Conflict) as error:
        raise Untakable(f"{taken.words} can't be had. {error.detail}") from error
    except RemoteFileError as error:
        gone = error.kind == "missing"
        said = "isn't there any more." if gone else f"can't be read on the site {taken.site}: {error.detail}"
        raise Untakable(f"{taken.words} {said}") from error
