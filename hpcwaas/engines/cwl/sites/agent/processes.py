"""The processes of an execution on this machine."""

import contextlib
import os
import signal
import time
from typing import Dict, Iterable, List, Optional


def boot_id() -> str:
    """What is another one after a restart of the machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _stat_fields(pid: int) -> Optional[List[bytes]]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            content = file.read()
    except OSError:
        return None
    fields = content[content.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else fields


def process_start(pid: int) -> Optional[int]:
    """When a process began, which tells it from a later one of the same number; None when there is none."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def _pids() -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(*ancestors: int) -> List[int]:
    """All living descendants of processes."""
    children: Dict[int, List[int]] = {}
    for pid in _pids():
        fields = _stat_fields(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found: List[int] = []
    waiting = list(ancestors)
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def strays(identifier: str, directory: str) -> List[int]:
    """The processes on this machine that an execution's supervisor left, by their environment, and their descendants;
    not those of the scheduler's jobs, which it ends itself."""
    mark = f"HPCWAAS_EXECUTION={identifier}".encode()
    places = tuple(os.fsencode(f"{name}={directory}/") for name in ("HOME", "TMPDIR"))
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            words = file.read().split(b"\0")
            own = any(word == mark or word.startswith(places) for word in words)
            if own and not any(word.startswith(b"SLURM_JOB_ID=") for word in words) and pid != os.getpid():
                found.append(pid)
    return found + descendants(*found)


def kill_strays(identifier: str, directory: str) -> None:
    """Kills what an execution's supervisor left."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        left = strays(identifier, directory)
        if not left:
            return
        send(left, signal.SIGKILL)
        time.sleep(0.01)


def send(pids: Iterable[int], number: int) -> None:
    """Sends a signal to those that still live."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)
