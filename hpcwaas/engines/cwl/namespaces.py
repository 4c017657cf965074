"""Namespaces: processes that see no others, and a file system of which they can change but a part.

They need no privileges where the kernel lets ordinary users make them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from hpcwaas import kernel
from hpcwaas.engines.cwl.processes import die_with_parent

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 1 << 19
_RDONLY = 1
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_TREE_FLAGS = 1 | _AT_RECURSIVE  # a clone

TMP = Path("/tmp")  # noqa: S108  (made new)
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (made new)
_BARE = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "etc", "dev", "proc", "sys")
"""What stays visible at the top; what of it may be read is up to Landlock."""

_STATUS = struct.Struct("i")


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "users"))


def enter(writable: Sequence[Path], kept: Sequence[Path], temporary: Path, shared_memory: int) -> None:
    """Goes on in namespaces of its own, in another process: this one waits for that and ends as it does.

    There, processes see only each other, in `/proc` too. Of the file system they see the system's directories and what
    is kept; no data in there can be written, and no mode, owner or time, but in the writable directories. `/dev/shm` is
    new and empty, and `/tmp` is `temporary`, unless something there is kept.

    Args:
        writable: directories.
        kept: files and directories that stay where they are.
        temporary: in one of the writable ones.
        shared_memory: bytes.

    Raises:
        OSError: this machine doesn't allow it. Raised in this process or in the other one.
    """
    user, group, parent = os.getuid(), os.getgid(), os.getppid()
    shown = kernel.command_line()
    kernel.function("unshare", _NEWUSER | _NEWNS | _NEWPID | _NEWIPC)
    die_with_parent(parent)  # which new credentials may have undone
    # A map of more than oneself would need privileges.
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(content, encoding="ascii")
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(writer)
        kernel.be_called("hpcwaas: waits for an execution", shown)
        _wait_outside(first, reader)
    os.close(reader)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    # Who waits may have died before that, which `getppid` can't tell in here; the pipe can.
    watch = select.poll()
    watch.register(writer, 0)
    if watch.poll(0):
        os._exit(1)
    _mount(writable, kept, temporary, shared_memory)
    kernel.drop_capabilities()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    runner = os.fork()
    if runner:
        kernel.be_called("hpcwaas: init of an execution", shown)
        _wait_inside(runner, writer)
    os.close(writer)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _wait_outside(first: int, reader: int) -> NoReturn:
    """Ends as the runner does, when all processes in the namespaces are gone."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a cancelled runner has some time to end
    _close_all_but(reader)
    status = os.read(reader, _STATUS.size)
    ended = os.waitpid(first, 0)[1]
    code = os.waitstatus_to_exitcode(_STATUS.unpack(status)[0] if len(status) == _STATUS.size else ended)
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(max(code, 0))


def _wait_inside(runner: int, writer: int) -> NoReturn:
    """Is the parent of all orphans. When the runner ends, so does this process, and the kernel kills what is left."""
    _close_all_but(writer)
    while True:
        pid, status = os.wait()
        if pid == runner:
            os.write(writer, _STATUS.pack(status))
            os._exit(0)


def _close_all_but(descriptor: int) -> None:
    """Whoever reads from the runner shall learn that it has closed its end."""
    os.closerange(0, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _mount(writable: Sequence[Path], kept: Sequence[Path], temporary: Path, shared_memory: int) -> None:
    _call_mount("none", Path("/"), None, _MS_REC | _MS_SLAVE)
    for directory in writable:
        _call_mount(str(directory), directory, None, _MS_BIND | _MS_REC)
    _set(Path("/"), _AT_RECURSIVE, _MountAttributes(set=_RDONLY))
    for directory in writable:
        _set(directory, _AT_RECURSIVE, _MountAttributes(clear=_RDONLY))
    needed = [path for path in _outermost(map(_real, (*kept, *writable))) if path.exists()]
    covered = [path for path in Path("/").iterdir() if _coverable(path, needed)]
    inside = [path for path in needed if path.parts[1:2] and Path("/", path.parts[1]) in covered]
    # Taken before they are covered.
    trees = [(path, kernel.call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _TREE_FLAGS)) for path in inside]
    own = _real(temporary)
    tree = kernel.call(_OPEN_TREE, _AT_FDCWD, os.fsencode(own), _TREE_FLAGS)
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


def _coverable(path: Path, needed: Sequence[Path]) -> bool:
    """Whether a directory at the top holds nothing that everybody needs."""
    return path.name not in _BARE and path.is_dir() and not path.is_symlink() and path not in needed


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that lie in no other one."""
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
