"""Landlock: a process gives up access to files, and no process that comes from it gets it back (Linux 5.13 and later).

The kernel's three system calls, as far as they are needed here; `man 7 landlock` describes them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
from collections.abc import Iterable
from pathlib import Path

from hpcwaas.common import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
_DEVICES = 1 << 6 | 1 << 11  # making character and block devices: nobody may
_FIRST = (1 << 13) - 1  # what the first version knows
REFER = 1 << 13  # version 2
TRUNCATE = 1 << 14  # version 3
IOCTL_DEV = 1 << 15  # version 5
_LATER = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))

READ = EXECUTE | READ_FILE | READ_DIR
USE = READ | WRITE_FILE | TRUNCATE | IOCTL_DEV
"""For devices: nothing is made or removed."""
WRITE = (_FIRST | REFER | TRUNCATE) & ~_DEVICES

_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_SCOPES = 1 << 0 | 1 << 1  # abstract Unix sockets, signals
SIGNALS_SINCE = 6
"""The version that keeps signals and abstract Unix sockets inside."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of Landlock that this kernel has; 0 for none."""
    if not kernel.LINUX or platform.machine() == "alpha":  # where the numbers are others
        return 0
    try:
        return kernel.call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0  # not built in, turned off, or hidden by a container


def restrict(rules: Iterable[tuple[Path, int]]) -> None:
    """Leaves this thread, and what it starts, no access to files but that of the rules; and where the kernel can do
    that, no signals and abstract sockets to processes without these restrictions. `ptrace` and what `/proc` keeps like
    it are refused in any case.

    Needs `kernel.gain_no_privileges`.

    Args:
        rules: (file or directory with all below it, rights). What isn't there is left out.

    Raises:
        OSError: the kernel has no Landlock or refuses.
    """
    known = version()
    handled = _FIRST
    for since, right in _LATER:
        if known >= since:
            handled |= right
    attributes = _Ruleset(handled, 0, _SCOPES if known >= SIGNALS_SINCE else 0)
    ruleset = kernel.call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    try:
        for path, access in rules:
            _allow(ruleset, path, access & handled)
        kernel.call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            access &= _OF_FILES
        rule = _PathBeneath(access, parent)
        kernel.call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)
