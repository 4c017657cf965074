"""A file of JSON objects, one a line, each of which holds the digest of the line before it.

So whoever changes, removes or adds a line breaks the chain, which `verify` finds. What it can't find is that lines are
missing at the end, or that everything from some line on was written anew: for that, keep the digest of a late line
elsewhere, or the lines themselves.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PREVIOUS = "previous"
"""The member that holds the digest of the line before; null in the very first line."""

_PATIENCE = 1.0
"""Seconds to wait for another process that writes. It needs much less than a millisecond, unless it was stopped."""
_BLOCK = 4096
_MOST_FAULTS = 20


class ChainedFile:
    """Appends lines. Any number of processes of any number of machines may append to the same file.

    It is opened anew when something else stands under its name: logrotate works like that. The first line of the new
    file holds the digest of the last one of the old.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._before: str | None = None

    def check(self) -> None:
        """Finds out whether it can be written, and makes it.

        Raises:
            OSError: it can't.
        """
        os.close(self._open())

    def append(self, members: Mapping[str, object]) -> bytes:
        """Appends a line by a single system call, which other processes can't interrupt.

        Returns:
            the line.

        Raises:
            OSError: it can't.
        """
        with self._lock, self._current() as descriptor:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                last = _last_line(descriptor)
                digest = _digest(last) if last is not None else self._before or self._moved()
                members = {**members, PREVIOUS: digest}
            # All but ASCII is escaped: no text can begin a line or steer the terminal that shows it.
            line = json.dumps(members).encode() + b"\n"
            # A crash of the machine may have left half a line; the next one begins at the left all the same.
            whole = b"\n" + line if _is_torn(descriptor, status) else line
            if os.write(descriptor, whole) != len(whole):
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, status.st_size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return line

    def close(self) -> None:
        """Closes it."""
        with self._lock:
            self._release()

    @contextlib.contextmanager
    def _current(self) -> Iterator[int]:
        """The file that stands under the name, with nobody else writing to it."""
        while True:
            if self._descriptor is None:
                self._descriptor = self._open()
            descriptor = self._descriptor
            _take(descriptor)
            try:
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(self.path.stat(), os.fstat(descriptor)):
                        yield descriptor
                        return
                # It was moved. Nobody writes to it any more: whoever has it open finds out under this lock.
                last = _last_line(descriptor)
                self._before = _digest(last) if last is not None else self._before
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._release()

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _moved(self) -> str | None:
        """The digest of the last line of the file that stood here before this process began, where one is found."""
        others = [path for path in self.path.parent.glob(f"{self.path.name}?*") if path.suffix != ".gz"]
        with contextlib.suppress(OSError, ValueError):
            newest = max(others, key=lambda path: path.stat().st_mtime)
            descriptor = os.open(newest, os.O_RDONLY | os.O_CLOEXEC)
            try:
                last = _last_line(descriptor)
                return _digest(last) if last is not None else None
            finally:
                os.close(descriptor)
        return None


def _take(descriptor: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                return  # a record that may break the chain is better than none
            time.sleep(0.001)
        except OSError:
            return  # a file system without locks


def _last_line(descriptor: int) -> bytes | None:
    """The last line without its end; None when there is none."""
    begin = os.fstat(descriptor).st_size
    tail = b""
    while begin > 0:
        size = min(_BLOCK, begin)
        begin -= size
        tail = os.pread(descriptor, size, begin) + tail
        _, newline, last = tail.removesuffix(b"\n").rpartition(b"\n")
        if newline:
            return last
    return tail.removesuffix(b"\n") if tail else None


def _is_torn(descriptor: int, status: os.stat_result) -> bool:
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return False
    return os.pread(descriptor, 1, status.st_size - 1) != b"\n"


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


@dataclass
class Finding:
    """What `verify` found.

    Attributes:
        records: how many lines there are.
        unchained: how many of them, all at the beginning, are older than the chain.
        continues: whether the first line follows one of a file that wasn't given.
        last: digest of the last line.
        contains: whether a line has the digest that was asked for.
        faults: where the chain is broken, a sentence each; the first ones.
    """

    records: int = 0
    unchained: int = 0
    continues: bool = False
    last: str | None = None
    contains: bool = False
    faults: list[str] = field(default_factory=list)


def verify(paths: Sequence[Path], wanted: str | None = None) -> Finding:
    """Follows the chain through files.

    Args:
        paths: the oldest first; those that end in `.gz` are compressed.
        wanted: digest to look for.

    Raises:
        OSError: a file can't be read.
    """
    found = Finding()
    chained = False
    for path in paths:
        for number, line in enumerate(_lines(path), 1):
            members = _members(line)
            if PREVIOUS not in members and not chained:
                found.unchained += 1
            else:
                problem = _fault(members, found)
                if problem and len(found.faults) < _MOST_FAULTS:
                    found.faults.append(f"{path}, line {number}: {problem}")
                found.continues = found.continues or (found.records == 0 and members.get(PREVIOUS) is not None)
                chained = True
            found.records += 1
            found.last = _digest(line)
            found.contains = found.contains or found.last == wanted
    return found


def _fault(members: Mapping[str, object], found: Finding) -> str | None:
    if PREVIOUS not in members:
        return "it isn't a record of the chain: somebody added or changed it, or a crash of the machine cut it off."
    previous = members[PREVIOUS]
    if not found.records or previous == found.last:
        return None
    if previous is None:
        return "a new chain begins here: earlier records were removed, or moved where the service didn't find them."
    return "the line before it was changed or removed, or one was added there."


def _members(line: bytes) -> Mapping[str, object]:
    try:
        members = json.loads(line)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield line.removesuffix(b"\n")
