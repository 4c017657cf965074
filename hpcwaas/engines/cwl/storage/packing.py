"""Packs a directory while the archive is read, holding no more than a chunk of it in memory."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcwaas.engines.cwl.storage.outputs import OutsideError, open_inside, real
from hpcwaas.engines.cwl.storage.trees import DEPTH_LIMIT

MEDIA_TYPES = {"zip": "application/zip", "tar": "application/x-tar"}

_CHUNK = 1 << 18
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LATEST = (2107, 12, 31, 23, 59, 58)


@dataclass(frozen=True, slots=True)
class Member:
    """A file (with its open descriptor) or directory (without) to be packed."""

    name: str
    status: os.stat_result
    descriptor: int | None


def pack(root: Path, path: str, kind: str) -> Iterator[bytes]:
    """The bytes of an archive of a directory.

    Links to files that stay inside the directory are packed as these files; what `left_out` names isn't packed.

    Args:
        root: beyond which nothing is read.
        path: of the directory, relative to `root`.
        kind: `zip` or `tar`.
    """
    found = members(real(root / path))
    return _zip(found) if kind == "zip" else _tar(found)


def left_out(directory: Path) -> list[tuple[str, str]]:
    """What of a directory `pack` leaves out, each with the reason: links that lead elsewhere or to directories, what is
    neither file nor directory or can't be read, and what lies deeper than `DEPTH_LIMIT` levels."""
    found: list[tuple[str, str]] = []
    for _ in members(real(directory), lambda name, reason: found.append((shown(name), reason))):
        pass
    return found


def shown(name: str) -> str:
    """A name as it can stand in a line of text."""
    return name if name.isprintable() else ascii(name)


def members(directory: Path, leave_out: Callable[[str, str], object] = lambda name, reason: None) -> Iterator[Member]:
    """The files and directories below a directory that `pack` packs, each directory before what is in it.

    Args:
        leave_out: takes the name of what isn't among them, and the reason.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            descriptor = open_inside(directory, folder)
        except OutsideError:
            continue
        try:
            entries = sorted(os.listdir(descriptor))  # noqa: PTH208  (pathlib knows no descriptors)
        finally:
            os.close(descriptor)
        for entry in entries:
            name = f"{folder}/{entry}" if folder else entry
            try:
                descriptor = open_inside(directory, name)
            except OutsideError:
                leave_out(name, _why_not(directory / name))
                continue
            try:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode):
                    yield Member(_encodable(name), status, descriptor)
                elif (directory / name).is_symlink():  # it may lead round in circles
                    leave_out(name, "it is a link to a directory")
                else:
                    yield Member(_encodable(name), status, None)
                    if name.count("/") < DEPTH_LIMIT - 1:
                        pending.append(name)
                    elif os.listdir(descriptor):  # noqa: PTH208  (as above)
                        leave_out(name, f"what is in it lies deeper than {DEPTH_LIMIT} levels of directories")
            finally:
                os.close(descriptor)


def _why_not(path: Path) -> str:
    """Why something in a directory can't be opened."""
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    if stat.S_ISLNK(mode):
        return "it is a link that leads nowhere, in a circle, out of the directory, or to no file"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return "it can't be read"
    return "it is neither a file nor a directory"


def _encodable(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")


def _read(descriptor: int) -> Iterator[bytes]:
    while chunk := os.read(descriptor, _CHUNK):
        yield chunk


class _Sink(io.RawIOBase):
    """A file without a position to which `zipfile` writes, and from which the bytes are taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _zip(members: Iterator[Member]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            # Cut to what `localtime` takes, then to what a zip can say.
            seconds = min(max(member.status.st_mtime, 0), 1 << 33)
            moment = min(max(_EARLIEST, time.localtime(seconds)[:6]), _LATEST)
            if member.descriptor is None:
                info = zipfile.ZipInfo(member.name + "/", moment)
                info.external_attr = (member.status.st_mode & 0xFFFF) << 16 | 0x10
                archive.writestr(info, b"")
            else:
                info = zipfile.ZipInfo(member.name, moment)
                info.external_attr = (member.status.st_mode & 0xFFFF) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as entry:
                    for chunk in _read(member.descriptor):
                        entry.write(chunk)
                        yield sink.take()
            yield sink.take()
    yield sink.take()


def _tar(members: Iterator[Member]) -> Iterator[bytes]:
    for member in members:
        info = tarfile.TarInfo(member.name)
        info.mode = stat.S_IMODE(member.status.st_mode)
        info.mtime = int(member.status.st_mtime)
        if member.descriptor is None:
            info.type = tarfile.DIRTYPE
            yield info.tobuf(tarfile.PAX_FORMAT)
            continue
        info.size = member.status.st_size
        yield info.tobuf(tarfile.PAX_FORMAT)
        left = info.size  # the header has promised so many
        for chunk in _read(member.descriptor):
            yield chunk[:left]
            left -= len(chunk[:left])
        yield bytes(left + -info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
