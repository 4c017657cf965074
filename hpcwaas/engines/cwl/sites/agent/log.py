"""Writes an execution's log, in the form of the service's own, and reads the lines of runners."""

import json
import os
import re
from typing import Iterable, Tuple

from hpcwaas.engines.cwl.sites.agent.files import descriptor_of, now

INFO, WARN, ERROR = 2, 4, 8
MAX_LINE = 16 * 1024
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_LEVELS = {"D": 1, "I": INFO, "W": WARN, "E": ERROR, "C": ERROR}
_PLAIN = re.compile(r"(DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL):? (?P<text>.*)", re.DOTALL)
_BRACKETS = re.compile(r"\t?\[[^\]]*\] (?:\[[^\]]*\] )?\[([DIWEC])\] (?P<text>.*)", re.DOTALL)


def clean(text: str) -> str:
    """A line as a terminal would leave it standing."""
    if text.isprintable():
        return text
    return _CONTROLS.sub("", _ESCAPES.sub("", text.rstrip("\r")).rpartition("\r")[2])


def interpret(line: str) -> Tuple[int, str, bool]:
    """The level of a line, its text, and whether it is a message of the runner: `INFO …`, or Toil's `[time] [thread]
    [I] …`, which stands behind a tab where a worker said so."""
    match = _PLAIN.fullmatch(line) or _BRACKETS.fullmatch(line)
    return (_LEVELS[match.group(1)[0]], match.group("text"), True) if match else (INFO, line, False)


class Log:
    """Appends to a log.

    Args:
        limit: bytes after which nothing more is kept.
    """

    def __init__(self, path: str, limit: int) -> None:
        descriptor = descriptor_of(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._file = open(descriptor, "ab+", buffering=0)  # noqa: SIM115  (open as long as its process runs)
        self.limit = limit
        self._size = self._cut()
        self.full = False

    def _cut(self) -> int:
        """Cuts off a last line that a killed writer left half-written."""
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - 8 * MAX_LINE)
        self._file.seek(start)
        tail = self._file.read()
        end = start + tail.rfind(b"\n") + 1
        if end != size:
            self._file.truncate(end)
        return end

    def write(self, entries: Iterable[Tuple[int, str]]) -> None:
        """Appends entries. What doesn't fit any more is dropped, and `full` is set."""
        moment = json.dumps(now())
        for level, content in entries:
            line = f"[{level},{moment},{json.dumps(content, ensure_ascii=False)}]\n".encode(errors="replace")
            if self.full or self._size + len(line) > self.limit:
                self.full = True
                return
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            self._size += len(line)

    def end(self, level: int, content: str) -> None:
        """Appends a last entry, which always fits."""
        self.limit += 4 * MAX_LINE
        self.full = False
        self.write([(level, content)])
        os.fsync(self._file.fileno())
        self._file.close()
