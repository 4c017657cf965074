"""The lines of all executions on this machine's disk, and up to where Yorc's log has been read.

A batch of entries is written down as a whole before its lines go where they belong, with the place of each. So whoever
is killed in between leaves what the next process completes: no line is lost, and none is there twice.

Beside the lines of an execution stand empty files that any process may make and remove: that it is an execution of this
service (`.ours`, which holds its reference), that everything is there up to where the log was read (`.whole`), and that
its end is asked for (`.cancel`). `.done` holds the size of the lines when all of them were there.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from hpcwaas.common import durable
from hpcwaas.engines.orchestrated import log_file
from hpcwaas.engines.yorc.documents import Line
from hpcwaas.engines.yorc.lines import STAMP, encode, is_last
from hpcwaas.engines.yorc.references import Reference, parse_reference
from hpcwaas.errors import NotFound, Unavailable

_PATIENCE = 20.0
"""Seconds to wait for another process that writes. It needs milliseconds, unless it was stopped."""

_NOBODYS = 24 * 3600
"""Seconds after which lines are removed that turn out to be of nobody's execution."""

_KEPT = 4096
_MARKS = (".ours", ".whole", ".done", ".cancel")


class KeptLog(log_file.LogFile):
    """The log of one execution, for those who read it, and its marks.

    Args:
        directory: of all logs.
    """

    def __init__(self, directory: Path, reference: Reference) -> None:
        super().__init__(directory, name(reference.deployment, reference.task))
        self.reference = reference
        self._done = self.path.with_suffix(".done")

    def claim(self, *, whole: bool) -> None:
        """Notes that it is an execution of this service; harmless when repeated.

        Args:
            whole: it begins after what has been read.
        """
        mark = self.path.with_suffix(".ours")
        if not mark.exists():
            _put(mark, str(self.reference))
            self.whole = whole

    def use(self) -> None:
        """Notes that somebody wants it to be kept."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path.with_suffix(".ours"))

    @property
    def whole(self) -> bool:
        """Whether everything is here up to where Yorc's log was read."""
        return self.path.with_suffix(".whole").exists()

    @whole.setter
    def whole(self, whole: bool) -> None:
        self._mark(".whole", whole)

    @property
    def cancelling(self) -> bool:
        """Whether some process has asked for its end."""
        return self.path.with_suffix(".cancel").exists()

    @cancelling.setter
    def cancelling(self, cancelling: bool) -> None:
        self._mark(".cancel", cancelling)

    @property
    def complete(self) -> bool:
        """Whether all its lines are here and have been taken in."""
        if not self._done.exists():  # each page asks, and for most of the time it isn't
            return False
        try:
            return int(self._done.read_text()) == self.size
        except (FileNotFoundError, ValueError):
            return False

    def done(self) -> None:
        """Notes that all lines are here."""
        _put(self._done, str(self.size))

    def go_on(self) -> None:
        """Notes that more will come."""
        for suffix in (".done", ".cancel"):
            self._mark(suffix, wanted=False)

    @property
    def ended(self) -> bool:
        """Whether what Yorc writes last of all is here."""
        start = max(0, self.size - 2**16)
        return is_last(self._read(start, self.size - start).rstrip(b"\n").rpartition(b"\n")[2])

    def _mark(self, suffix: str, wanted: bool) -> None:
        mark = self.path.with_suffix(suffix)
        if wanted:
            mark.touch(0o600)
        else:
            mark.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to where Yorc's log has been read.

    Attributes:
        guessed: it may be higher than the log's own index.
    """

    index: int
    guessed: bool = False


class KeptLogs:
    """Writes the logs of all executions. Any number of processes may do so.

    Args:
        directory: for all of them; made when missing.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self._journal = directory / "journal"
        self._lock = threading.Lock()
        self._cursor: Cursor | None = None
        self._seen: tuple[int, ...] | None = None
        self._newest: LRUCache[str, tuple[int, bytes]] = LRUCache(_KEPT)

    def cursor(self) -> Cursor | None:
        """Up to where all entries are in the files; None when nothing was read yet.

        Raises:
            Unavailable: another process doesn't let the files go.
        """
        with self._writing():
            return self._cursor

    def begun(self) -> bool:
        """Whether something was read already."""
        return self._journal.exists()

    def ours(self, entry: Line) -> bool:
        """Whether an entry is of an execution of this service."""
        file = log_file.LogFile(self.directory, name(entry.deployment, entry.execution or ""))
        return file.path.with_suffix(".ours").exists()

    def add(self, entries: Iterable[Line], cursor: Cursor | None = None) -> None:
        """Adds those entries that aren't there yet.

        Args:
            cursor: up to where the log was read by that; None when it tells nothing of it.

        Raises:
            Unavailable: another process doesn't let the files go.
        """
        groups: dict[str, list[Line]] = {}
        for entry in entries:
            if entry.execution is not None:
                path = log_file.LogFile(self.directory, name(entry.deployment, entry.execution)).path
                groups.setdefault(path.name, []).append(entry)
        with self._writing():
            appends = [it for file, group in groups.items() if (it := self._new(file, group))[2]]
            cursor = cursor or self._cursor
            if appends or cursor != self._cursor:
                self._write_down(cursor, appends)

    def unfinished(self) -> list[KeptLog]:
        """The logs of this service's executions that aren't complete."""
        found = []
        for mark in self.directory.glob("*.ours"):
            if not mark.with_suffix(".done").exists():
                with contextlib.suppress(FileNotFoundError, NotFound):  # removed, or left half-written
                    found.append(KeptLog(self.directory, parse_reference(mark.read_text())))
        return found

    def remove_old(self) -> None:
        """Removes what nobody has read for long, and soon what is of nobody's execution."""
        now = time.time()
        marked = (mark.with_suffix(".log") for mark in self.directory.glob("*.ours"))
        for path in {*self.directory.glob("*.log"), *marked}:
            with contextlib.suppress(FileNotFoundError):  # another process does the same
                ours = path.with_suffix(".ours")
                used, kept = (ours, log_file.KEPT) if ours.exists() else (path, _NOBODYS)
                if now - used.stat().st_mtime > kept:
                    for suffix in (".log", *_MARKS):
                        path.with_suffix(suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """While inside, nobody else writes, and everything that was written down is where it belongs."""
        with self._lock:
            descriptor = durable.lock(self.directory / "lock", _PATIENCE)
            if descriptor is None:
                raise Unavailable("Another process of this service holds the files of logs. Tell an operator.", 30)
            try:
                self._recover()
                yield
            finally:
                os.close(descriptor)

    def _recover(self) -> None:
        try:
            status = self._journal.stat()
        except FileNotFoundError:
            return
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            document = json.loads(self._journal.read_bytes())
            cursor = document["cursor"]
            self._put_in_place(document["appends"])
            self._cursor, self._seen = cursor and Cursor(*cursor), seen

    def _write_down(self, cursor: Cursor | None, appends: Sequence[tuple[str, int, str]]) -> None:
        document = {"cursor": cursor and [cursor.index, cursor.guessed], "appends": appends}
        durable.replace(self._journal, json.dumps(document).encode())
        status = self._journal.stat()
        self._put_in_place(appends)
        self._cursor, self._seen = cursor, (status.st_ino, status.st_mtime_ns, status.st_size)

    def _put_in_place(self, appends: Sequence[tuple[str, int, str]]) -> None:
        """Writes lines where they belong; harmless when repeated, for these stand there already then."""
        for file, offset, text in appends:
            path = self.directory / file
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if (size := os.fstat(descriptor).st_size) < offset:  # a loss of power has taken what was before
                    path.with_suffix(".whole").unlink(missing_ok=True)
                    offset = size
                content = text.encode()
                while content:
                    written = os.pwrite(descriptor, content, offset)
                    content, offset = content[written:], offset + written
            finally:
                os.close(descriptor)

    def _new(self, file: str, entries: list[Line]) -> tuple[str, int, str]:
        """What is to be added to a file, and where."""
        path = self.directory / file
        size, newest = self._newest.get(file, (-1, b""))
        content = b""
        if size != _size(path):
            content = _whole_lines(path)
            size, newest = len(content), max((line[STAMP] for line in content.split(b"\n")), default=b"")
        encoded = [encode(entry) for entry in sorted(entries, key=lambda entry: entry.at)]
        there: set[bytes] = set()
        if encoded[0][0][STAMP] <= newest:  # it may be there already: look for it
            there.update((content or _whole_lines(path)).split(b"\n"))
        new: list[bytes] = []
        for lines in encoded:
            if not there.issuperset(lines):
                new += lines
                there.update(lines)
        text = b"".join(line + b"\n" for line in new)
        self._newest[file] = size + len(text), max(newest, encoded[-1][0][STAMP])
        return file, size, text.decode()


def name(deployment: str, task: str) -> str:
    """By which an execution's files are found."""
    return f"{deployment}@{task}"


def kept(data_dir: Path, reference: str) -> Mapping[str, Path]:
    """What lies here of an execution; see `EngineEntry.kept`."""
    path = KeptLog(data_dir / "yorc" / "logs", parse_reference(reference)).path
    return {"log.jsonl": path} if path.exists() else {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _whole_lines(path: Path) -> bytes:
    """The lines of a file. A last one that a loss of power has left half-written is cut off."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) != len(content):
        os.truncate(path, len(whole))
        path.with_suffix(".whole").unlink(missing_ok=True)
    return whole


def _put(path: Path, text: str) -> None:
    """Writes a small file at once: whoever reads it finds all of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    draft.write_text(text)
    draft.replace(path)
