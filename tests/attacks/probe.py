"""What a hostile tool tries. Runs inside of an execution, with the text of a JSON object in the file that its argument
names; prints a JSON object that says of each try how it ended: `open`, or the error that closed it."""

import contextlib
import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
found: dict[str, Any] = {}


def attempt(name: Any, act: Any) -> Any:
    """Notes how a try ends."""
    try:
        result = act()
        found[name] = "open" if result is None else result
    except BaseException as error:
        found[name] = type(error).__name__


def called(result: Any) -> Any:
    """What a function of C answers."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path: Any) -> Any:
    with open(path, "r+b"):
        pass


def connect(address: Any) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.connect(address)


def put(path: Any) -> Any:
    """Puts an entry into a directory that already has one of this name, or a new one."""
    with open(path, "xb"):
        pass


def main() -> Any:
    targets = json.loads(Path(sys.argv[1]).read_text())
    work = Path.cwd()
    for name, path in targets["files"].items():
        attempt(f"read {name}", lambda p=path: open(p, "rb").close())
        attempt(f"write {name}", lambda p=path: write(p))
        attempt(f"truncate {name}", lambda p=path: os.truncate(p, os.stat(p).st_size))
        attempt(f"mode of {name}", lambda p=path: os.chmod(p, stat.S_IMODE(os.stat(p).st_mode)))
        attempt(f"times of {name}", lambda p=path: os.utime(p, ns=(os.stat(p).st_atime_ns, os.stat(p).st_mtime_ns)))
        attempt(f"owner of {name}", lambda p=path: os.chown(p, -1, os.stat(p).st_gid))
        attempt(f"attributes of {name}", lambda p=path: os.setxattr(p, "user.probe", b"x"))
        attempt(f"hard link to {name}", lambda p=path, n=name: os.link(p, work / f"hard {n.replace('/', '_')}"))
        attempt(f"read by link {name}", lambda p=path, n=name: by_link(work / f"soft {n.replace('/', '_')}", p))
        attempt(f"removal of {name}", lambda p=path: os.rename(p, work / "taken"))
    for name, path in targets["directories"].items():
        attempt(f"list {name}", lambda p=path: os.listdir(p) and None)
        attempt(f"new file in {name}", lambda p=path: put(os.path.join(p, "planted")))
        attempt(f"new directory in {name}", lambda p=path: os.mkdir(os.path.join(p, "planted directory")))
        attempt(f"new link in {name}", lambda p=path: os.symlink("/", os.path.join(p, "planted link")))
        attempt(f"mode of {name}", lambda p=path: os.chmod(p, stat.S_IMODE(os.stat(p).st_mode)))
    for name, number in targets["processes"].items():
        process(name, number)
    attempt("processes seen", lambda: sorted(int(each) for each in os.listdir("/proc") if each.isdigit()))
    attempt("own /proc/self/maps", lambda: open("/proc/self/maps").close())
    attempt("abstract socket", lambda: connect("\0" + targets["abstract"]))
    attempt("socket with a path", lambda: connect(targets["socket"]))
    attempt("descriptors", lambda: [os.readlink(f"/proc/self/fd/{each}") for each in descriptors()])
    attempt("variables", lambda: sorted(os.environ))
    attempt("terminal", lambda: os.close(os.open("/dev/tty", os.O_RDWR)))
    attempt("shared memory", lambda: put("/dev/shm/" + targets["abstract"]))
    attempt("shared memory seen", lambda: os.listdir("/dev/shm"))
    attempt("temporary file", lambda: put("/tmp/" + targets["abstract"]))
    attempt("core dumps", lambda: resource.getrlimit(resource.RLIMIT_CORE)[1])
    attempt(
        "new privileges", lambda: next(x for x in open("/proc/self/status") if x.startswith("NoNewPrivs")).split()[1]
    )
    attempt("user namespace", lambda: called(libc.unshare(0x10000000 | 0x20000)))
    attempt("mount in it", lambda: called(libc.mount(b"none", b"/", None, ctypes.c_ulong((1 << 18) | 16384), None)))
    attempt("writable mount", lambda: writable_mount(targets["files"]["vault.key"]))
    attempt("key in memory", lambda: mmap.mmap(-1, 4096).close())
    print(json.dumps(found))


def by_link(link: Any, path: Any) -> Any:
    os.symlink(path, link)
    open(link, "rb").close()


def descriptors() -> Any:
    return [each for each in range(3, 1024) if is_open(each)]


def is_open(descriptor: Any) -> Any:
    with contextlib.suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


def writable_mount(path: Any) -> Any:
    """Tries to take back that a mount is read-only."""
    attributes = (ctypes.c_uint64 * 4)(0, 1, 0, 0)
    called(libc.syscall(442, -100, b"/", 0x8000, attributes, 32))
    os.chmod(path, 0o600)


def process(name: Any, number: Any) -> Any:
    for file in ("environ", "cmdline", "maps", "mem", "status", "stat", "auxv", "io", "limits"):
        attempt(f"{file} of {name}", lambda f=file: open(f"/proc/{number}/{f}", "rb").read(1) and None)
    attempt(f"descriptors of {name}", lambda: os.listdir(f"/proc/{number}/fd") and None)
    for link in ("cwd", "root", "exe"):
        attempt(f"{link} of {name}", lambda x=link: os.readlink(f"/proc/{number}/{x}") and None)
        attempt(f"into {link} of {name}", lambda x=link: os.stat(f"/proc/{number}/{x}/") and None)
    attempt(f"signal to {name}", lambda: os.kill(number, 0))
    attempt(f"stop of {name}", lambda: os.kill(number, signal.SIGCONT))
    attempt(f"signal by descriptor to {name}", lambda: signal.pidfd_send_signal(os.pidfd_open(number), 0))
    attempt(f"trace of {name}", lambda: called(libc.ptrace(16, number, None, None)))
    attempt(f"memory of {name}", lambda: memory(number))
    attempt(f"limits for {name}", lambda: resource.prlimit(number, resource.RLIMIT_NOFILE, (1024, 1024)) and None)
    attempt(f"priority of {name}", lambda: os.setpriority(os.PRIO_PROCESS, number, 19))
    attempt(f"cores of {name}", lambda: os.sched_setaffinity(number, {0}))


def memory(number: Any) -> Any:
    class Part(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    here = ctypes.create_string_buffer(8)
    local, remote = Part(ctypes.addressof(here), 8), Part(0x400000, 8)
    called(libc.process_vm_readv(number, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))


main()
