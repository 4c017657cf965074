"""One pipe for two things in their true order: the lines that tools write to standard error, and the runner's own
messages. The latter stand in frames that begin with a random token, which no tool can guess. In frames come, too, the
counts of scattered steps, which are no part of the log."""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import re
import secrets
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from hpcwaas.core.models import JSON, Level
from hpcwaas.core.step_models import Scatter
from hpcwaas.engines.log_text import MAX_LINE

PATIENCE = 1.0
"""Seconds after which a line without an end is given, and between two states of one that overwrites itself."""

_OPEN_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*)?\Z")
_MORE = b"+"
_LAST = b"."


@dataclass(frozen=True, slots=True)
class Line:
    """Something to be logged.

    Attributes:
        message: True for a message of the runner itself, False for a line of a tool.
    """

    level: Level
    text: str
    message: bool


def new_token() -> bytes:
    """A token that introduces the frames of one execution."""
    return b"\0" + secrets.token_hex(16).encode()


class FrameHandler(logging.Handler):
    """Writes log records as frames.

    Args:
        descriptor: the pipe. What fits into PIPE_BUF is written at once, whatever tools write at the same time.
    """

    def __init__(self, descriptor: int, token: bytes) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._token = token

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, without the stack trace that may go with it."""
        level = {logging.DEBUG: Level.DEBUG, logging.INFO: Level.INFO, logging.WARNING: Level.WARN}
        self._write([level.get(record.levelno, Level.ERROR), record.getMessage()])

    def count(self, step: str, scatter: Scatter) -> None:
        """Writes how far a scattered step has come."""
        with self.lock or contextlib.nullcontext():
            self._write({"step": step, "scatter": asdict(scatter)})

    def _write(self, value: JSON) -> None:
        payload = json.dumps(value).encode()
        room = select.PIPE_BUF - len(self._token) - 2
        for start in range(0, len(payload), room):
            kind = _LAST if start + room >= len(payload) else _MORE
            os.write(self._descriptor, self._token + kind + payload[start : start + room] + b"\n")


class Demultiplexer:
    """Turns what comes out of the pipe into lines again. A line that waits for its end, or overwrites itself, is given
    as far as it has come once in a while.

    Args:
        count: takes how far a scattered step has come.
        clock: seconds since some moment.
    """

    def __init__(
        self, token: bytes, count: Callable[[str, Scatter], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._clock = clock
        self._given_at = -PATIENCE
        self._waits_since: float | None = None
        self._begun = False
        self._token = token
        self._pattern = re.compile(re.escape(token) + rb"([+.])([^\n]*)\n|\n")
        self._buffer = b""
        self._line = bytearray()
        self._payload = bytearray()

    def feed(self, data: bytes) -> Iterator[Line]:
        """Takes bytes as they come, and yields the lines that are complete."""
        self._buffer += data
        end = 0
        for match in self._pattern.finditer(self._buffer):
            self._line += self._buffer[end : match.start()]
            end = match.end()
            if match[1] is None:
                yield from self._split()
                if self._line or not self._begun:
                    yield self._raw(bytes(self._line))
                self._line.clear()
                self._begun, self._waits_since = False, None
                continue
            self._payload += match[2]
            if match[1] == _LAST:
                yield from self._message()
        # What is left may be the beginning of a frame; anything else belongs to the line.
        start = self._buffer.find(self._token[:1], end)
        if start < 0 or len(self._buffer) - start > 2 * select.PIPE_BUF:
            start = len(self._buffer)
        self._line += self._buffer[end:start]
        self._buffer = self._buffer[start:]
        yield from self._split()
        yield from self.unfinished()

    def unfinished(self) -> Iterator[Line]:
        """Yields what there is of a line whose end doesn't come; to be called now and then."""
        if not self._line:
            self._waits_since = None
            return
        now = self._clock()
        if self._waits_since is None:
            self._waits_since = now
        overwritten = b"\r" in self._line[:-1]  # at its end it may be the first half of a line's end
        if now - (self._given_at if overwritten else self._waits_since) < PATIENCE:
            return
        whole = _OPEN_ESCAPE.sub(b"", bytes(self._line))
        text, size = codecs.utf_8_decode(whole, "replace", False)
        if text:
            yield Line(Level.INFO, text, message=False)
            del self._line[:size]
            self._begun, self._given_at, self._waits_since = True, now, None

    def end(self) -> Iterator[Line]:
        """Yields what came without a line's end."""
        self._line += self._buffer
        self._buffer = b""
        yield from self._split()
        if self._line.strip(b"\r") or (self._line and not self._begun):
            yield self._raw(bytes(self._line))
            self._line.clear()

    def _message(self) -> Iterator[Line]:
        value = json.loads(bytes(self._payload))
        self._payload.clear()
        if isinstance(value, dict):
            self._count(value["step"], Scatter(**value["scatter"]))
            return
        level, text = value
        yield Line(Level(level), text, message=True)

    def _split(self) -> Iterator[Line]:
        # What was overwritten is gone.
        if (start := self._line.rfind(b"\r", 0, max(0, len(self._line) - 1))) > 0:
            del self._line[:start]
        while len(self._line) > MAX_LINE:
            end = MAX_LINE
            while end > MAX_LINE - 4 and self._line[end] & 0xC0 == 0x80:  # not inside a character
                end -= 1
            yield self._raw(bytes(self._line[:end]))
            del self._line[:end]

    @staticmethod
    def _raw(line: bytes) -> Line:
        return Line(Level.INFO, line.decode(errors="replace"), message=False)


_WORDS = {
    "D": Level.DEBUG,
    "DEBUG": Level.DEBUG,
    "I": Level.INFO,
    "INFO": Level.INFO,
    "W": Level.WARN,
    "WARN": Level.WARN,
    "WARNING": Level.WARN,
    "E": Level.ERROR,
    "ERROR": Level.ERROR,
    "C": Level.ERROR,
    "CRITICAL": Level.ERROR,
}
_PLAIN = re.compile(r"(DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL):? (?P<text>.*)", re.DOTALL)
_BRACKETS = re.compile(r"\t?\[[^\]]*\] (?:\[[^\]]*\] )?\[([DIWEC])\] (?P<text>.*)", re.DOTALL)


def interpret(line: Line) -> Line:
    """Reads a line of a runner that runs as a program of its own: `INFO …`, or Toil's `[time] [thread] [I] …`,
    which stands behind a tab in what a worker of Toil's leaves."""
    match = None if line.message else _PLAIN.fullmatch(line.text) or _BRACKETS.fullmatch(line.text)
    return Line(_WORDS[match[1]], match["text"], message=True) if match else line
