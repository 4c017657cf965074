"""What a test leaves behind: it is ended, so that no other test meets it, and told."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from pathlib import Path

import psutil

from hpcwaas.common import kernel
from hpcwaas.engines.cwl.run import launcher
from hpcwaas.engines.cwl.run.launcher import LAUNCHER_LOCK

_PATIENCE = 60.0
"""Seconds in which what is ending anyway may end."""


LASTING: set[int] = set()
"""Processes that stay until the last test has ended."""


class Children:
    """The processes that descend from this one, those whose parents have died included."""

    def __init__(self) -> None:
        if kernel.LINUX:
            kernel.function("prctl", kernel.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._shared: set[int] = set()

    def share(self) -> None:
        """What there is now belongs to several tests."""
        self._shared |= _children()

    def end(self, own: Path | None = None) -> list[str]:
        """Ends what doesn't belong to several tests; gives the command lines of what didn't end by itself.

        Args:
            own: the test's directory, when launchers of others stay: they are of services that tests share, and to
                start one takes a second. What a launcher has started doesn't stay.
        """
        deadline = time.monotonic() + _PATIENCE
        asked: set[int] = set()
        while (left := self._left(own)) and time.monotonic() < deadline:
            for process in left:
                if process.pid not in asked and launcher.__name__ in _line(process):
                    process.terminate()  # it would leave by itself, within a second
                asked.add(process.pid)
            time.sleep(0.01)
        told = [_line(process) for process in left]
        while left := self._left(own):
            for process in left:
                with contextlib.suppress(psutil.Error):
                    for each in (*process.children(recursive=True), process):
                        each.kill()
            time.sleep(0.01)
        return told

    def _left(self, own: Path | None) -> list[psutil.Process]:
        """The living; the dead are buried."""
        living = []
        for number in _children() - self._shared - LASTING:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(number)
                if process.status() != psutil.STATUS_ZOMBIE:
                    living += process.children() if own and _launches_elsewhere(process, own) else [process]
                    continue
            with contextlib.suppress(ChildProcessError):
                os.waitpid(number, os.WNOHANG)
        return living


def open_files(directory: Path) -> list[str]:
    """Files of a directory that this process has open, and somebody still holds."""
    if _open_files(directory):
        gc.collect()  # what nobody holds may still be part of a circle
    return _open_files(directory)


def _open_files(directory: Path) -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir() if kernel.LINUX else ():
        with contextlib.suppress(OSError):
            target = descriptor.readlink()
            if target.is_relative_to(directory):
                found.append(str(target))
    return found


def forget_failure() -> None:
    """Lets go of the frames of a failure: what they hold open is closed, and complained of, now and not in another
    test."""
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)
    gc.collect()


def restore_interrupts() -> None:
    """A shell starts what runs in its background with Ctrl-C ignored, and children inherit that: those that tests start
    are to end by it wherever the tests were started."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _children() -> set[int]:
    found: set[int] = set()
    if kernel.LINUX:
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                found.update(map(int, (thread / "children").read_text().split()))
    return found


def _launches_elsewhere(process: psutil.Process, directory: Path) -> bool:
    """Whether it is a launcher of a directory that isn't inside this one."""
    if launcher.__name__ not in _line(process):
        return False
    places = [Path(file.path) for file in process.open_files()]
    return any(place.name == LAUNCHER_LOCK and not place.is_relative_to(directory) for place in places)


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return str(process)
