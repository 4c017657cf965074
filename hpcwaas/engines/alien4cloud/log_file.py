"""The lines of an execution's log, and beside them a file with Alien4Cloud's time and id of each line, by which a line
that is read twice is known again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.engines.alien4cloud.mapper import Line
from hpcwaas.engines.alien4cloud.references import parse_reference
from hpcwaas.engines.log_index import LogIndex
from hpcwaas.engines.orchestrated import log_file

IDS = ".ids"
"""Suffix of the files beside the lines."""


class LogFile(log_file.LogFile):
    """The log of one execution.

    Args:
        directory: of all logs.
        execution: Alien4Cloud's id.
    """

    def __init__(self, directory: Path, execution: str) -> None:
        super().__init__(directory, execution)
        self._ids = self.path.with_suffix(IDS)
        self._reset()

    def _reset(self) -> None:
        self._index = LogIndex(self._read)
        self._recent: dict[str, int] = {}
        self._taken = 0
        self._count = 0
        self._mended = False
        self.newest = -1
        """The latest of Alien4Cloud's times of a line, in milliseconds; -1 without lines."""

    @contextlib.contextmanager
    def writing(self) -> Iterator[float | None]:
        """While inside, no other process adds lines. What others have added is known.

        Yields:
            seconds since some process has read Alien4Cloud's log the last time; None when another one does just now.
        """
        if not self._ids.exists():
            self._ids.touch(0o600)
            os.utime(self._ids, (0, 0))  # nobody has read anything
        with self._ids.open("r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._index.extend()
                yield None
                return
            self._take_in(file.fileno())
            self._mend(file.fileno())
            yield time.time() - os.fstat(file.fileno()).st_mtime

    def add(self, lines: Sequence[Line]) -> None:
        """Appends those lines that aren't there yet. Only while writing."""
        new = {line.id: line for line in lines if line.id not in self._recent}
        if new:
            content = "".join(_encode(line) for line in new.values()).encode(errors="replace")
            with self.path.open("ab", buffering=0) as file:
                file.write(content)
            ids = "".join(f"{line.search_time} {line.id}\n" for line in new.values()).encode()
            with self._ids.open("ab", buffering=0) as file:
                file.write(ids)
            self._taken += len(ids)
            self._count += len(new)
            for line in new.values():
                self._remember(line.id, line.search_time)
            self._index.extend()

    def touched(self) -> float:
        """When some process read Alien4Cloud's log the last time, by this machine's clock; 0 if none has."""
        try:
            return self._ids.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def touch(self) -> None:
        """Notes that Alien4Cloud's log was read just now. Only while writing."""
        os.utime(self._ids)

    def forget_before(self, milliseconds: int) -> None:
        """Keeps only the ids of later lines in memory."""
        if len(self._recent) > 1000 or milliseconds > self.newest:
            self._recent = {name: at for name, at in self._recent.items() if at >= milliseconds}

    def remember_all(self) -> None:
        """Takes the ids of all lines into memory again. Only while writing."""
        self._recent.clear()
        self._taken = self._count = 0
        with self._ids.open("rb") as file:
            self._take_in(file.fileno())

    def _take_in(self, descriptor: int) -> None:
        """Takes in what other processes have written."""
        size = os.fstat(descriptor).st_size
        if size < self._taken:  # another process has begun anew
            self._reset()
        self._index.extend()
        while self._taken < size:
            chunk = os.pread(descriptor, 1 << 20, self._taken)
            whole = chunk[: chunk.rfind(b"\n") + 1]
            if not whole:
                break
            items = whole.decode().splitlines()
            for item in items:
                stamp, _, name = item.partition(" ")
                self._remember(name, int(stamp))
            self._taken += len(whole)
            self._count += len(items)

    def _mend(self, descriptor: int) -> None:
        """Begins anew where a process was killed while it wrote: the lines are all still in Alien4Cloud."""
        if self._mended:
            return
        torn = self.path.exists() and self.path.stat().st_size and self._read(self.path.stat().st_size - 1, 1) != b"\n"
        if torn or self._count != len(self._index) or self._taken != os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, 0)
            os.utime(self._ids, (0, 0))
            self.path.unlink(missing_ok=True)
            self._reset()
        self._mended = True

    def _remember(self, name: str, at: int) -> None:
        self._recent[name] = at
        self.newest = max(self.newest, at)


def _encode(line: Line) -> str:
    seconds, rest = divmod(line.time, 1_000_000_000)
    stamp = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return f'[{int(line.level)},"{stamp.isoformat()}",{json.dumps(line.content, ensure_ascii=False)}]\n'


def kept(data_dir: Path, reference: str) -> Mapping[str, Path]:
    """What lies here of an execution; see `EngineEntry.kept`."""
    path = log_file.LogFile(data_dir / "alien4cloud" / "logs", parse_reference(reference).execution).path
    return {"log.jsonl": path} if path.exists() else {}
