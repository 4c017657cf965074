"""Namespaces: processes that see no others, and a file system of which they can change but a part.

They need no privileges where the kernel lets ordinary users make them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from hpcwaas.common import kernel

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 1 << 19
_RDONLY = 1
_OPEN_TREE, _MOVE_MOUNT, _CLONE3, _MOUNT_SETATTR = 428, 429, 435, 442
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}
"""The number of the predecessor of `clone3`, which differs."""
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_TREE_FLAGS = 1 | _AT_RECURSIVE  # a clone

TMP = Path("/tmp")  # noqa: S108  (made new)
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (made new)
_BARE = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "etc", "dev", "proc", "sys")
"""What stays visible at the top; what of it may be read is up to Landlock."""

_USER, _GROUP = os.getuid(), os.getgid()
"""Inside they are unknown until they are mapped."""


class _CloneArguments(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls")
    )


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "users"))


def fork() -> int:
    """As `os.fork`, with the child as the first process in namespaces of its own, which has to `enter` them. When it
    ends, the kernel kills all that came from it. For a process with one thread.

    Raises:
        OSError: this machine doesn't allow it.
    """
    flags = _NEWUSER | _NEWNS | _NEWPID | _NEWIPC
    arguments = _CloneArguments(flags=flags, exit_signal=signal.SIGCHLD)
    # What `os.fork` does around the system call. With one thread the C library has nothing to put right but its note of
    # that thread's number, which nobody asks for.
    ctypes.pythonapi.PyOS_BeforeFork()
    child = kernel.fork(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if child < 0 and ctypes.get_errno() == errno.ENOSYS and platform.machine() in _CLONE:
        # A filter that allows some namespaces only (`RestrictNamespaces=` of systemd, those of containers) can't see
        # what `clone3` is asked for, and leaves its predecessor.
        nothing = [ctypes.c_long(0)] * 4
        child = kernel.fork(_CLONE[platform.machine()], ctypes.c_ulong(flags | signal.SIGCHLD), *nothing)
    if child:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        return kernel.checked(child, "clone3")
    ctypes.pythonapi.PyOS_AfterFork_Child()
    return 0


def enter(writable: Sequence[Path], kept: Sequence[Path], temporary: Path, shared_memory: int) -> None:
    """Makes this process, which `fork` made, see of the file system the system's directories and what is kept, and
    other processes not even in `/proc`. No data can be written, and no mode, owner or time, but in the writable
    directories. `/dev/shm` is new and empty, and `/tmp` is `temporary`, unless something there is kept.

    Args:
        writable: directories.
        kept: files and directories that stay where they are; links, and where they lead to.
        temporary: in one of the writable ones.
        shared_memory: bytes.

    Raises:
        OSError: this machine doesn't allow it.
    """
    # A map of more than oneself would need privileges.
    maps = (("setgroups", "deny"), ("uid_map", f"{_USER} {_USER} 1"), ("gid_map", f"{_GROUP} {_GROUP} 1"))
    for name, content in maps:
        Path("/proc/self", name).write_text(content, encoding="ascii")
    _mount(writable, kept, temporary, shared_memory)
    kernel.drop_capabilities()


def stay_first() -> None:
    """Goes on in another process, for a program that doesn't know how to be the first one: this one stays, is the
    parent of all orphans, and ends as the other one does. When it is asked to end (SIGTERM) it waits for the rest, too.
    """
    shown = kernel.command_line()
    runner = os.fork()
    if not runner:
        return
    kernel.be_called("hpcwaas: init of an execution", shown)
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))  # whoever reads from the runner shall learn that it has closed its end
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    pid, status = 0, 0
    while pid != runner:
        pid, status = os.wait()
    if asked:
        wait_for_children()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def wait_for_children() -> None:
    """Waits until this process has no children any more."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def _mount(writable: Sequence[Path], kept: Sequence[Path], temporary: Path, shared_memory: int) -> None:
    _call_mount("none", Path("/"), None, _MS_REC | _MS_SLAVE)
    for directory in writable:
        _call_mount(str(directory), directory, None, _MS_BIND | _MS_REC)
    _set(Path("/"), _AT_RECURSIVE, _MountAttributes(set=_RDONLY))
    for directory in writable:
        _set(directory, _AT_RECURSIVE, _MountAttributes(clear=_RDONLY))
    needed = {*kept, *writable}
    covered = [path for path in Path("/").iterdir() if _coverable(path, needed)]
    tops = {path.name for path in covered}
    inside = outermost(path for path in needed if path.parts[1:2] and path.parts[1] in tops and path.exists())
    # Taken before they are covered.
    trees = [(path, kernel.call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _TREE_FLAGS)) for path in inside]
    tree = kernel.call(_OPEN_TREE, _AT_FDCWD, os.fsencode(temporary), _TREE_FLAGS)
    kinds = {path: path.is_dir() for path in inside}
    for path in covered:
        _call_mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for path, kept_tree in trees:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kinds[path]:
            path.mkdir(exist_ok=True)
        else:
            path.touch()
        _put(kept_tree, path)
    for path in covered:
        _set(path, 0, _MountAttributes(set=_RDONLY))
    if TMP in covered and not any(path.is_relative_to(TMP) for path in inside):
        _put(tree, TMP)
    else:
        os.close(tree)
    _call_mount("proc", Path("/proc"), "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_RDONLY)
    if SHARED_MEMORY.is_dir():
        _call_mount("tmpfs", SHARED_MEMORY, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={shared_memory}")


def _coverable(path: Path, needed: Collection[Path]) -> bool:
    """Whether a directory at the top holds nothing that everybody needs."""
    return path.name not in _BARE and path.is_dir() and not path.is_symlink() and path not in needed


def outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths that lie in no other one, sorted."""
    found: list[Path] = []
    for path in sorted(set(paths)):
        if not found or not path.is_relative_to(found[-1]):
            found.append(path)
    return found


def _put(tree: int, path: Path) -> None:
    kernel.call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(path), _MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


def _call_mount(source: str, target: Path, kind: str | None, flags: int, options: str | None = None) -> None:
    kernel.function(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )


def _set(path: Path, flags: int, attributes: _MountAttributes) -> None:
    size = ctypes.sizeof(attributes)
    kernel.call(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), flags, ctypes.byref(attributes), size)
