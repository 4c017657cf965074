"""Walks, measures, copies and removes what tools made: trees of any depth, with any rights, changing meanwhile."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil

DEPTH_LIMIT = 100
"""Levels of directories or of values below which nothing of an output is kept or packed."""

_BLOCK = 4096
_COPY_CHUNK = 1 << 24
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def walk(top: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Looks at everything below a directory, without following links.

    It goes from one directory to the next with a single open one and no path, so that neither the limit of open files
    nor that of the length of a path hides anything. What is removed, moved or closed to us meanwhile is left out.

    Returns:
        (level, status) of each file and directory; what is in the directory itself has the level 1.
    """
    try:
        current = os.open(top, _DIRECTORY)
    except OSError:
        return
    # On the way down from the top: who each directory is, and which directories in it are still to be seen.
    way: list[tuple[tuple[int, int], list[str]]] = []
    try:
        while True:
            statuses, names = _look(current)
            way.append((_identity(current), names))
            for status in statuses:
                yield len(way), status
            while (inner := _enter(current, way[-1][1])) is None:
                way.pop()
                if not way:
                    return
                outer = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=current)
                os.close(current)
                current = outer
                if _identity(current) != way[-1][0]:
                    return  # somebody moved the tree while we were in it: up leads elsewhere
            os.close(current)
            current = inner
    except OSError:
        return  # the way up was closed
    finally:
        os.close(current)


def _look(directory: int) -> tuple[list[os.stat_result], list[str]]:
    statuses, names = [], []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                statuses.append(status)
                if stat.S_ISDIR(status.st_mode):
                    names.append(entry.name)
    return statuses, names


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


def _enter(current: int, names: list[str]) -> int | None:
    """Opens the next of these directories that can be entered and left again."""
    while names:
        with contextlib.suppress(OSError):
            inner = os.open(names.pop(), _DIRECTORY, dir_fd=current)
            if os.access("..", os.F_OK, dir_fd=inner):
                return inner
            os.close(inner)
    return None


def remove_tree(path: Path) -> None:
    """Removes a directory with all that is in it, whatever rights a tool took away from its parts.

    Directories are moved to the top before they are emptied: none is too deep for a path, a stack or the limit of open
    files. What can't be removed, because it isn't ours, is left behind.
    """
    try:
        top = _open_for_removal(str(path), None)
    except FileNotFoundError:
        return
    except OSError:  # a tool put a link or a file in its place
        with contextlib.suppress(OSError):
            path.unlink()
        return
    fresh = (f".{secrets.token_hex(8)}.{number}" for number in itertools.count())
    try:
        pending = _clear(top)
        while pending:
            name = pending.pop()
            with contextlib.suppress(OSError):
                inner = _open_for_removal(name, top)
                try:
                    for child in _clear(inner):
                        with contextlib.suppress(OSError):
                            moved = next(fresh)
                            # A directory that changes its place has to be writable itself.
                            os.chmod(child, stat.S_IRWXU, dir_fd=inner)
                            os.rename(child, moved, src_dir_fd=inner, dst_dir_fd=top)
                            pending.append(moved)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    with contextlib.suppress(OSError):
        path.rmdir()


def _open_for_removal(name: str, parent: int | None) -> int:
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        with contextlib.suppress(OSError):
            os.chmod(name, stat.S_IRWXU, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _clear(directory: int) -> list[str]:
    """Removes the files of a directory, and returns the names of the directories in it."""
    folders = []
    with os.scandir(directory) as entries:
        for entry in list(entries):
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    os.unlink(entry.name, dir_fd=directory)
    return folders


def disk_use(directories: Sequence[Path], processes: Iterable[psutil.Process] = ()) -> int:
    """Bytes that files occupy on the disk. Hard links count once, and each file as a block at least, for its inode.

    Args:
        directories: in which they are, with all that is below.
        processes: whose open files count that have been removed, if they are on the same file systems.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    devices = set()
    for directory in directories:
        for _, status in walk(directory):
            devices.add(status.st_dev)
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += max(_BLOCK, status.st_blocks * 512)
    for status in _open_files(processes):
        if status.st_nlink == 0 and status.st_dev in devices and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            total += max(_BLOCK, status.st_blocks * 512)
    return total


def _open_files(processes: Iterable[psutil.Process]) -> Iterator[os.stat_result]:
    """Statuses of the regular files that processes have open (Linux)."""
    for process in processes:
        try:
            with os.scandir(f"/proc/{process.pid}/fd") as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):  # closed meanwhile
                        status = entry.stat()
                        if stat.S_ISREG(status.st_mode):
                            yield status
        except OSError:
            continue  # it ended meanwhile


def copy_file(source: Path, target: Path) -> None:
    """Copies a file inside the kernel, and only by reference where the file system can do that."""
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), _COPY_CHUNK):
                pass
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            shutil.copyfileobj(reader, writer, _COPY_CHUNK)
