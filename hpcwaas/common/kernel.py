"""System calls of Linux that Python has no functions for. On other systems there are none of them."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES = 64
_CAPABILITY_VERSION_3 = 0x20080522

LINUX = sys.platform == "linux"
_libc: Any = ctypes.CDLL(None, use_errno=True) if LINUX else None
_locked_libc: Any = ctypes.PyDLL(None, use_errno=True) if LINUX else None
"""Keeps Python's lock during a call: a new process must find it taken."""


def checked(result: int, what: str) -> int:
    """The result of a call.

    Raises:
        OSError: it failed.
    """
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def call(number: int, *arguments: Any) -> int:
    """Makes a system call by its number; whole numbers are passed as such, bytes and structures as what they are.

    Raises:
        OSError: it failed; `filename` holds the number.
    """
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return checked(_libc.syscall(ctypes.c_long(number), *words), f"system call {number}")


def fork(number: int, *arguments: Any) -> int:
    """Makes a system call that makes a process.

    Returns:
        what the call does; below 0 when it failed.
    """
    return int(_locked_libc.syscall(ctypes.c_long(number), *arguments))


def function(name: str, *arguments: Any) -> int:
    """Calls a function of the C library that sets `errno`.

    Raises:
        OSError: it failed; `filename` holds the name.
    """
    return checked(getattr(_libc, name)(*arguments), name)


def prctl(option: int, value: int) -> None:
    """Sets something of this process (Linux).

    Raises:
        OSError: the kernel refuses.
    """
    if LINUX:
        checked(_libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3), f"prctl {option}")


def be_private() -> None:
    """Closes this process to others of the same account, and leaves no core dump: its memory and environment hold
    secrets. A program that it starts has to do the same for itself."""
    prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def be_visible() -> None:
    """Takes back `be_private` in a forked process that holds no secrets, so that it can be looked after."""
    prctl(_PR_SET_DUMPABLE, 1)


def command_line() -> tuple[int, int]:
    """Where in its memory this process, and one forked from it, has its command line: address and size."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # zeros in a process that is private
    return begin, end - begin


def be_called(name: str, place: tuple[int, int]) -> None:
    """Changes what process lists show in place of the command line, as far as there is room.

    Args:
        place: as `command_line` says.
    """
    address, size = place
    ctypes.memmove(address, name.encode().ljust(size, b"\0")[:size], size)


def gain_no_privileges() -> None:
    """From here on no program that is started gets more rights than it has: not as setuid, not by capabilities."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def drop_capabilities() -> None:
    """Gives up all capabilities, for good.

    Raises:
        OSError: the kernel refuses.
    """
    for number in range(_CAPABILITIES):
        try:
            prctl(_PR_CAPBSET_DROP, number)
        except OSError:
            break  # there are no more of them
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    function("capset", ctypes.byref(header), (ctypes.c_uint32 * 6)())
