"""A machine whose first process is systemd: in namespaces of its own, above the files of this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Self

import psutil

from tests.e2e.processes import eventually

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "hpcwaas.service"
_COMMAND = """\
#!/opt/hpcwaas/bin/python
from hpcwaas.command.main import main
main()
"""

_SETUP = """\
set -e
mount --make-rprivate /
for name in etc opt var; do
  mkdir "$HOME/$name" "$HOME/$name.work"
  mount -t overlay overlay -o "lowerdir=/$name,upperdir=$HOME/$name,workdir=$HOME/$name.work" "/$name"
done
# The service in /opt/hpcwaas: what is installed for these tests, with a Python that everybody may start.
mkdir /opt/python
mount --bind "$PYTHON" /opt/python
echo /opt/python/lib > /etc/ld.so.conf.d/00-python.conf
PATH="$PATH:/sbin" ldconfig
"/opt/python/bin/$PYTHON_NAME" -m venv --without-pip /opt/hpcwaas
mount --bind "$PACKAGES" "/opt/hpcwaas/lib/$PYTHON_NAME/site-packages"
mount -o remount,bind,ro "/opt/hpcwaas/lib/$PYTHON_NAME/site-packages"
cp "$HOME/command" /opt/hpcwaas/bin/hpcwaas-api
chmod 755 /opt/hpcwaas/bin/hpcwaas-api
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/units "$HOME/tmp"
chmod 1777 "$HOME/tmp"
mkdir /opt/source
mount --bind "$SOURCE" /opt/source
mount --bind "$HOME/tmp" /tmp
mkdir -p "$SOURCE"
mountpoint -q "$SOURCE" || mount --bind /opt/source "$SOURCE"  # which may lie in /tmp
cd /
for target in sysinit basic shutdown multi-user network-online; do
  printf '[Unit]\\nDefaultDependencies=no\\n' > "/run/units/$target.target"
done
# Of the units that this machine has, none is known.
rm -rf /etc/systemd/system && mkdir -p /etc/systemd/system
export container=tests SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units SYSTEMD_LOG_TARGET=null
exec /lib/systemd/systemd --system --unit=basic.target --show-status=no
"""


class Machine:
    """The machine; runs inside a `with` block.

    Args:
        home: a new directory, for all that is written on the machine; on a file system that overlays can have above.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._groups = _cgroups() / f"hpcwaas-tests-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "only root makes namespaces in which systemd can be the first process"
        self._groups.mkdir()
        (self.home / "setup").write_text(_SETUP)
        (self.home / "command").write_text(_COMMAND)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHON": sys.base_prefix}
        environment |= {"PYTHON_NAME": f"python{sys.version_info.major}.{sys.version_info.minor}"}
        environment |= {"SOURCE": str(ROOT), "PACKAGES": sysconfig.get_path("purelib")}
        enter = f"echo $$ > {self._groups}/cgroup.procs && exec unshare --cgroup bash $HOME/setup"
        self._process = subprocess.Popen(
            [
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount",
                "--mount-proc",
                "--uts",
                "--ipc",
                "sh",
                "-c",
                enter,
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        try:
            eventually(self._started)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()  # and with it all that runs there
        self._process.wait(60)
        for directory in sorted(self._groups.rglob("*"), reverse=True):
            if directory.is_dir():
                eventually(lambda directory=directory: _removed(directory))  # type: ignore[misc]
        eventually(lambda: _removed(self._groups))

    def _started(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the machine didn't start: see above"
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children()
            self._first = children[0].pid if children else 0
        return bool(self._first) and self.done("systemctl", "is-active", "basic.target").returncode == 0

    def run(self, *command: str | Path) -> str:
        """Runs a command on the machine, as root; gives what it printed."""
        done = self.done(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def done(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """A command that was run, and may have failed."""
        inside = ["nsenter", "--target", str(self._first), "--mount", "--pid", "--cgroup", "--uts", "--ipc"]
        return subprocess.run([*inside, *command], capture_output=True, text=True, check=False, timeout=120)


def _cgroups() -> Path:
    """Where this machine has the second version of control groups."""
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = mount.split()
        if kind == "cgroup2":
            return Path(place)
    raise AssertionError("this machine has no control groups of version 2")


def _removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
