"""Commands that run in sessions of a connection."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import NoReturn, cast

import paramiko

from hpcwaas.engines.cwl.sites.connection import Ended, Result, SiteFailed
from hpcwaas.engines.cwl.sites.pool import Pool, bounded
from hpcwaas.engines.cwl.sites.transport import Transport

PIECE = 2**18
STDERR_KEPT = 2000
_TICK = 0.5
"""Seconds after which somebody who waits for output looks at what else there may be."""
_MOMENT = 0.1
"""The same where it is spoken with."""
_SILENT = 20.0
"""Seconds without output after which the server is asked for a sign of life."""
_LINGERING = 2.0
"""Seconds that output may come after a command's end: what it left behind may hold its outputs open for ever."""


class Run:
    """A command that runs in a session.

    Args:
        stdin: all of its input; None when more is to come by `write`.

    Attributes:
        stderr: what it has written there.
    """

    def __init__(self, pool: Pool, channel: paramiko.Channel, command: str, stdin: bytes | None = None) -> None:
        self._pool = pool
        self._channel = channel
        self._transport = cast(Transport, channel.get_transport())
        self._more = stdin is None
        self._stdin = stdin or b""
        self._sent = 0
        self.stderr = bytearray()
        channel.settimeout(_MOMENT if self._more else _TICK)
        try:
            with bounded(self._transport):
                channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError):
            if self._transport.is_active():
                raise SiteFailed(
                    f"The site {pool.site} refuses to run commands for the account.", lasting=True
                ) from None
            self._cut()
        self._send()

    def output(self, until: float | None) -> Iterator[bytes]:
        """What it writes to its standard output, as it comes, and to its end. A tick without is an empty piece."""
        heard = time.monotonic()
        while True:
            self._send()
            try:
                piece = self._channel.recv(PIECE)
                if not piece:
                    break
                heard = time.monotonic()
            except TimeoutError:
                piece = b""
                if self._channel.exit_status_ready() and time.monotonic() - heard > _LINGERING:
                    break
            if self._errors():
                heard = time.monotonic()
            yield piece
            now = time.monotonic()
            if until is not None and now > until:
                self._too_long()
            if now - heard > _SILENT:
                if not self._pool.alive(self._transport):
                    self._cut()
                heard = now
        self._errors()

    def status(self, until: float | None) -> int:
        """Its exit status, which is waited for; -1 when it was killed."""
        while not self._channel.status_event.wait(_TICK):
            if until is not None and time.monotonic() > until:
                self._too_long()
            if not self._pool.alive(self._transport):
                break
        self._errors()
        if not self._transport.is_active():
            self._cut()
        return self._channel.exit_status

    def write(self, content: bytes) -> None:
        """Sends more input, if there is to be more."""
        self._stdin, self._sent = self._stdin[self._sent :] + content, 0
        self._send()

    def _send(self) -> None:
        """Sends as much of the input as is taken at once."""
        with contextlib.suppress(OSError):  # it doesn't read any more
            while self._sent < len(self._stdin) and self._channel.send_ready():
                piece = self._stdin[self._sent : self._sent + PIECE]
                with self._transport.sending():
                    self._sent += self._channel.send(piece) or len(self._stdin)
            if self._sent >= len(self._stdin) and not self._channel.eof_sent and not self._more:
                with self._transport.sending():
                    self._channel.shutdown_write()

    def _errors(self) -> bool:
        before = len(self.stderr)
        while self._channel.recv_stderr_ready():
            self.stderr += self._channel.recv_stderr(PIECE)
        return len(self.stderr) > before

    def _too_long(self) -> NoReturn:
        if not self._pool.alive(self._transport):
            self._cut()
        raise SiteFailed(f"A command on the site {self._pool.site} takes too long; it was given up.")

    def _cut(self) -> NoReturn:
        raise SiteFailed(f"The connection to the site {self._pool.site} was cut. Try again.")


class Talking:
    """Obeys `Talk`."""

    def __init__(self, pool: Pool, run: Run) -> None:
        self._pool = pool
        self._run = run
        self._pieces = run.output(None)

    @property
    def wanted(self) -> bool:
        return self._pool.wanted

    def send(self, content: bytes) -> None:
        self._run.write(content)

    def receive(self) -> bytes:
        piece = next(self._pieces, None)
        del self._run.stderr[:-STDERR_KEPT]
        if piece is None:
            raise Ended(Result(self._run.status(None), b"", bytes(self._run.stderr)))
        return piece
