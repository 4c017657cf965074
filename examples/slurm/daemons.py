"""Servers as plain processes, and other processes of the machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 60.0
"""Seconds in which a server starts or stops, at most. A busy machine is slow."""


class CannotStartError(Exception):
    """It can't be started here. The words are for people: what is missing, and what to do."""


@dataclass
class Daemon:
    """One of the servers, in the foreground, with its output in a file.

    Attributes:
        ready: whether it answers.
    """

    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command],  # it doesn't outlive whoever started it
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd="/",
            )
        until(lambda: self._died() or self.ready(), f"{self.name} doesn't answer; see {self.log}")
        if self._died():
            raise CannotStartError(f"{self.name} ended at once:\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """Ends it, frozen or not; kills it when it doesn't listen."""
        if self.process is None:
            return
        self._send(signal.SIGTERM)
        self.thaw()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def freeze(self) -> None:
        """It answers no more, but its port does."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._send(signal.SIGCONT)

    def _send(self, request: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(request)

    def _died(self) -> bool:
        return self.process is None or self.process.poll() is not None


def until(condition: Callable[[], object], complaint: str, seconds: float = PATIENCE) -> None:
    """Waits for something to become true.

    Raises:
        CannotStartError: it didn't.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise CannotStartError(complaint)
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, outside of those that the system gives to connections meanwhile."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            port = 20_000 + secrets.randbelow(12_000)
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    return found


def listens(port: int) -> bool:
    """Whether a server takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def processes(parent: int | None = None, owners: set[int] | None = None) -> Iterator[tuple[int, str]]:
    """Processes with their command lines: all, or those of a parent, or those of some users."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state, above = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state in "ZX" or (parent is not None and int(above) != parent):
                    continue
                if owners is None or entry.stat().st_uid in owners:
                    yield (
                        int(entry.name),
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"),
                    )


def kill(number: int) -> None:
    """Kills a process, if there still is one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
