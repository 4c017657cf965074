"""Brings outputs of executions to this machine, for others that take them as inputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from hpcwaas.engines.cwl.run.supervisor import size_text
from hpcwaas.engines.cwl.sites.base import ExecutionSite
from hpcwaas.engines.cwl.sites.connection import RemoteFileError
from hpcwaas.engines.cwl.storage.outputs import OutsideError, TakenOutput
from hpcwaas.errors import Conflict, NotFound, Unavailable

BROUGHT = "Outputs of other executions, which it takes, are being brought."
"""Why an execution waits."""

_CHUNK = 1 << 20


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


FetchOutput: TypeAlias = Callable[[TakenOutput, Path, Room, Callable[[], bool]], None]
"""Copies an output from wherever it lies to a new file on this machine, a directory as a tar archive. Arguments: what,
where to, room for it, and whether to go on. Raises as `fetch`."""


def fetch(
    site: ExecutionSite, execution_id: str, taken: TakenOutput, target: Path, room: Room, wanted: Callable[[], bool]
) -> None:
    """See `FetchOutput`.

    Args:
        site: on which it lies.
        execution_id: of its execution there.

    Raises:
        Untakable, Unwanted: it isn't brought.
        ServiceError: it can't be brought just now.
        OSError: the disk of the service is full or broken.
    """
    with told(taken):
        opened = site.open_output(execution_id, taken.path)
        if (opened is None) != (taken.kind == "Directory"):
            if opened is not None:
                opened.stream.close()
            raise OutsideError(taken.path)
        pieces = _pieces(opened.stream) if opened else site.pack_output(execution_id, taken.path, "tar")
        size = 0
        with contextlib.closing(pieces), target.open("xb") as file:  # type: ignore[type-var]
            for piece in pieces:
                if not wanted():
                    raise Unwanted
                room.take(len(piece))
                size += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    if opened is not None and opened.size != size:
        raise Unavailable(f"{taken.words} didn't come wholly.", retry_after=60)


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


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while piece := stream.read(_CHUNK):
            yield piece
