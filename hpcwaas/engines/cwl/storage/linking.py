"""Takes what an execution left as it is, without its bytes: links to files that nobody changes any more."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from hpcwaas.engines.cwl.storage.outputs import OutsideError, open_inside
from hpcwaas.engines.cwl.storage.packing import members

_CHUNK = 1 << 24
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES, errno.ENOENT)


def link_output(root: Path, path: str, kind: str, target: Path, take: Callable[[int], object]) -> None:
    """Makes a link to an output file, or a directory with links to the files of an output directory.

    Args:
        root: beyond which nothing is taken.
        path: relative to `root`.
        kind: `File` or `Directory`.
        target: doesn't exist; its parent does.
        take: called before each file with its bytes; what it raises ends all.

    Raises:
        OutsideError: there is no such file or directory, or not any more.
        OSError: the disk is full or broken.
    """
    descriptor = open_inside(root, path)
    try:
        directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if directory != (kind == "Directory"):
            raise OutsideError(path)
        if not directory:
            take(os.fstat(descriptor).st_size)
            _link(descriptor, target)
            return
    finally:
        os.close(descriptor)
    target.mkdir()
    for member in members(Path(os.path.realpath(root / path))):
        place = target / member.name
        if member.descriptor is None:
            place.mkdir(exist_ok=True)
        else:
            take(member.status.st_size)
            _link(member.descriptor, place)
    os.close(open_inside(root, path))  # had it been removed meanwhile, some of it would be missing


def _link(descriptor: int, target: Path) -> None:
    """Links what is open, whatever its path means by now; copies it where that can't be."""
    try:
        os.link(f"/proc/self/fd/{descriptor}", target, follow_symlinks=True)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        with target.open("xb") as copy:
            while chunk := os.read(descriptor, _CHUNK):
                copy.write(chunk)
            os.fsync(copy.fileno())
