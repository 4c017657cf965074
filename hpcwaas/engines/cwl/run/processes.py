"""The processes of an execution: which they are, what they use, and how to end all of them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

import psutil

from hpcwaas.common import kernel


def note_exception() -> None:
    """Writes the present exception to standard error, which may be a file on a full disk: no reason to die."""
    with contextlib.suppress(OSError):
        traceback.print_exc()
        sys.stderr.flush()


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose parent dies, so that none escapes (Linux)."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)


def die_with_reader(pipe: int) -> None:
    """Lets the kernel kill this process when its parent dies (Linux).

    Args:
        pipe: that the parent alone reads from: it shows whether the parent died before the call.
    """
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    watch = select.poll()
    watch.register(pipe, 0)
    if watch.poll(0):
        os._exit(1)


def descendants() -> list[psutil.Process]:
    """All living descendants of this process."""
    return [process for process in psutil.Process().children(recursive=True) if _alive(process)]


def strays(directory: Path) -> list[psutil.Process]:
    """Processes of an execution whose supervisor died: those whose HOME or TMPDIR lies in its directory, those without
    a terminal that work there, and the descendants of both."""
    inside = f"{directory}{os.sep}"
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.pid in found or not _belongs(process, inside):
                continue
            found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except psutil.Error:
            continue  # it ended meanwhile, or it is somebody else's
    return [process for process in found.values() if _alive(process)]


def _belongs(process: psutil.Process, inside: str) -> bool:
    environment = process.environ()
    if any(f"{environment.get(name, '')}{os.sep}".startswith(inside) for name in ("HOME", "TMPDIR")):
        return True
    # A terminal means an operator who looks around.
    return f"{process.cwd()}{os.sep}".startswith(inside) and process.terminal() is None


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Sends a signal to all of them that still live."""
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue


def kill_strays(directory: Path, timeout: float = 5) -> None:
    """Kills the processes of an execution without a supervisor, and those that they start meanwhile."""
    deadline = time.monotonic() + timeout
    while (left := strays(directory)) and time.monotonic() < deadline:
        send(left, signal.SIGKILL)
        time.sleep(0.01)


def tasks(processes: Iterable[psutil.Process]) -> int:
    """How many processes and threads these are."""
    number = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            number += process.num_threads()
    return number


def memory_above(processes: Iterable[psutil.Process], limit: int) -> bool:
    """Whether processes use more memory than `limit` bytes together, shared pages counted once."""
    resident: dict[psutil.Process, int] = {}
    for process in processes:
        try:
            resident[process] = process.memory_info().rss
        except psutil.Error:
            continue
    # The proportional share is exact but dear: it is asked for only when the cheap upper bound is above the limit.
    return sum(resident.values()) > limit and sum(_share(process, rss) for process, rss in resident.items()) > limit


def _share(process: psutil.Process, resident: int) -> int:
    try:
        return int(getattr(process.memory_full_info(), "pss", resident))
    except psutil.AccessDenied:
        return resident
    except psutil.Error:
        return 0
