"""A supercomputer for a laptop or a test: Slurm of one node behind an SSH server, as plain processes in one directory.

There is no systemd and no cgroup in it, nothing outside of the directory is changed but for accounts that are made for
it and removed with it, and when it is stopped nothing is left. It needs root, and these packages of Debian: munge,
slurmctld, slurmd, slurm-client, openssh-server; with accounting slurmdbd, mariadb-server-core, mariadb-client-core too.

    python -m examples.slurm.one_node [--accounting] [COMMAND [ARGUMENT...]]

starts it, runs the command (default: waits for Ctrl-C), and stops it. The command finds in its environment what
`OneNode.variables` says, and as SITE_TOIL the directory of Toil's programs, if `make demo-site` has installed it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Self

from examples.slurm import logins
from examples.slurm.daemons import PATH, CannotStartError, Daemon, free_ports, kill, listens, processes, until
from examples.slurm.logins import Login
from examples.slurm.programs import for_everybody

HERE = Path(__file__).parent
TOIL = HERE.parents[1] / ".venv-toil"
PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "sshd": "openssh-server",
}
ACCOUNTING_PROGRAMS = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server-core", "mariadb": "mariadb-client-core"}


class OneNode:
    """The whole machine; runs inside a `with` block.

    Args:
        directory: for everything; made if need be. Other users have to reach it.
        accounting: whether there is a database of jobs (slurmdbd), so that `sacct` answers and projects can be charged.
        names: of the accounts; something is added to them so that they are nobody else's.
        remembered: seconds for which the controller knows of a job that has ended.
    """

    def __init__(
        self,
        directory: Path,
        *,
        accounting: bool = False,
        names: Sequence[str] = ("alice", "bob"),
        remembered: int = 300,
        cpus: int = 16,
        memory: int = 8000,
    ) -> None:
        programs = PROGRAMS | (ACCOUNTING_PROGRAMS if accounting else {})
        missing = [package for program, package in programs.items() if not shutil.which(program, path=PATH)]
        if missing:
            raise CannotStartError(f"This needs packages of Debian: apt-get install {' '.join(missing)}")
        if os.geteuid() != 0:
            raise CannotStartError("This needs root: it makes accounts, and starts servers that run jobs for them.")
        self.directory = directory
        self.port, controller, node, database = free_ports(4)
        self.sshd_options = {"Subsystem": "sftp /usr/lib/openssh/sftp-server"}
        self.environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "SLURM_CONF": str(directory / "slurm.conf")}
        self.environment["MYSQL_UNIX_PORT"] = str(directory / "database.sock")
        self._names = names
        self.logins: list[Login] = []
        host = socket.gethostname().partition(".")[0]
        self._values = {
            "directory": str(directory),
            "host": host,
            "controller_port": str(controller),
            "node_port": str(node),
            "accounting_port": str(database),
            "remembered": str(remembered),
            "cpus": str(cpus),
            "memory": str(memory),
            # Servers that listen on this machine alone do so on the address of its name.
            "binding": "NoCtldInAddrAny,NoInAddrAny" if _is_loopback(host) else "",
            "accounting": "AccountingStorageType=accounting_storage/none",
        }
        if accounting:
            self._values["accounting"] = (
                "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
                f"AccountingStoragePort={database}\nAccountingStoragePass={directory}/munge/socket\n"
                "AccountingStoreFlags=job_comment\nAccountingStorageEnforce=associations,limits"
            )
        self.munged = self._daemon(
            "munged",
            *("munged", "-F", "--force", f"--key-file={directory}/munge/key", f"--socket={directory}/munge/socket"),
            *(f"--pid-file={directory}/munge/pid", f"--seed-file={directory}/munge/seed"),
            ready=lambda: self.answers("munge", "-n", "-S", f"{directory}/munge/socket"),
        )
        self.mariadbd = self._daemon(
            "mariadbd",
            *("mariadbd", "--no-defaults", "--user=root", "--skip-networking", f"--datadir={directory}/database"),
            *(f"--socket={directory}/database.sock", f"--pid-file={directory}/run/mariadbd.pid"),
            *("--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"),
            ready=lambda: self.answers(*self._sql("select 1")),
        )
        self.slurmdbd = self._daemon("slurmdbd", "slurmdbd", "-D", ready=lambda: listens(database))
        self.slurmctld = self._daemon(
            "slurmctld", "slurmctld", "-D", ready=lambda: "is UP" in self.said("scontrol", "ping")
        )
        self.slurmd = self._daemon("slurmd", "slurmd", "-D", ready=lambda: listens(node) and self._node_is_up())
        # Its own path has to be absolute, and that of its settings: it starts itself anew for each connection.
        sshd = shutil.which("sshd", path=PATH) or "/usr/sbin/sshd"
        self.sshd = self._daemon(
            "sshd", sshd, "-D", "-e", "-f", directory / "sshd_config", ready=lambda: listens(self.port)
        )
        self.accounting = [self.mariadbd, self.slurmdbd] if accounting else []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """`HOST:PORT` of the SSH server."""
        return f"127.0.0.1:{self.port}"

    @property
    def host_key(self) -> str:
        """Its public key, of the form `TYPE BASE64`."""
        return " ".join((self.directory / "ssh" / "host_ed25519.pub").read_text().split()[:2])

    @property
    def variables(self) -> dict[str, str]:
        """What commands need that use it: SITE_HOST, SITE_HOST_KEY, SITE_USER, SITE_HOME, and for Slurm's own commands
        SLURM_CONF.
        """
        return {
            "SITE_HOST": self.host,
            "SITE_HOST_KEY": self.host_key,
            "SITE_USER": self.logins[0].name,
            "SITE_HOME": str(self.logins[0].home),
            "SLURM_CONF": self.environment["SLURM_CONF"],
        }

    def start(self) -> None:
        """Starts everything, and waits until jobs are taken."""
        logins.remove_what_died()
        self._prepare()
        self.munged.start()
        for daemon in self.accounting:
            daemon.start()
            if daemon is self.mariadbd:
                self.said(*self._sql("create database if not exists slurm"))
        if self.accounting:
            self._associate()
        self.slurmctld.start()
        self.slurmd.start()
        self.start_sshd()

    def stop(self) -> None:
        """Stops everything, jobs and sessions first, and removes the accounts."""
        self.sshd.stop()
        self.end_processes()
        # What watches over jobs ends when they have ended, if it can tell the controller.
        with contextlib.suppress(CannotStartError):
            until(lambda: not self._watchers(), "", 5)
        for number in self._watchers():
            kill(number)
        self.slurmd.stop()
        self.slurmctld.stop()
        # A job that waited until now may have begun meanwhile.
        for number in self._watchers():
            kill(number)
        self.end_processes()
        for daemon in (*reversed(self.accounting), self.munged):
            daemon.stop()
        for login in self.logins:
            logins.remove(login.name)
        self.logins = []

    def start_sshd(self, **options: str) -> None:
        """Starts the SSH server, or does so anew, with options such as MaxSessions="1" from now on. Connections that
        there are stay.
        """
        self.sshd.stop()
        self.sshd_options.update(options)
        lines = [f"{name} {value}" for name, value in self.sshd_options.items()]
        text = (HERE / "sshd_config.in").read_text(encoding="utf-8")
        values = self._values | {"port": str(self.port), "logins": " ".join(login.name for login in self.logins)}
        # Of an option that stands there twice, the first counts.
        (self.directory / "sshd_config").write_text("\n".join([*lines, Template(text).substitute(values)]))
        self.sshd.start()

    def said(self, *command: str) -> str:
        """What a command of the machine's administrator prints, errors included."""
        return subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        ).stdout

    def answers(self, *command: str) -> bool:
        """Whether such a command succeeds."""
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        return done.returncode == 0

    def sessions(self, *logins: Login) -> list[int]:
        """The numbers of the processes that serve connections: of these accounts, or all."""
        names = tuple(f"sshd: {login.name}" for login in logins or self.logins)
        found = [number for number, line in processes() if line.startswith(names)]
        if self.sshd.process is not None and not logins:
            found += [number for number, _ in processes(parent=self.sshd.process.pid)]
        return sorted(set(found))

    def cut_connections(self, *logins: Login) -> None:
        """Ends the connections of these accounts, or all, as a network does: nobody says goodbye. What they have
        started goes on.
        """
        for number in self.sessions(*logins):
            kill(number)

    def end_processes(self) -> None:
        """Kills whatever runs for the accounts, and connections."""
        identities = {login.uid for login in self.logins}

        def gone() -> bool:
            left = [number for number, _ in processes(owners=identities)] if identities else []
            left += self.sessions() if self.sshd.process is None else []
            for number in left:
                kill(number)
            return not left

        until(gone, "Processes of the accounts don't end")

    def _prepare(self) -> None:
        for name in ("munge", "state", "spool", "run", "log", "ssh", "home"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        _open_up(self.directory)
        key = self.directory / "munge" / "key"
        if not key.exists():
            key.touch(0o400)
            key.write_bytes(secrets.token_bytes(128))
            self._make_host_key("host_ed25519")
        (self.directory / "ssh" / "authorities").touch()
        Path("/run/sshd").mkdir(exist_ok=True)
        if self.accounting and not (self.directory / "database").exists():
            self.said(
                *("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={self.directory}/database"),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
            )
        for name in ("slurm.conf", "slurmdbd.conf"):
            text = (HERE / f"{name}.in").read_text(encoding="utf-8")
            path = self.directory / name
            path.write_text(Template(text).substitute(self._values), encoding="utf-8")
            path.chmod(0o644 if name == "slurm.conf" else 0o600)
        token = secrets.token_hex(2)
        for name in self._names:
            self.logins.append(logins.make(f"{name}-{token}", self.directory / "home" / f"{name}-{token}"))

    def make_host_key(self, name: str = "host_ed25519") -> str:
        """Makes a new host key, in place of one that there is. Gives its public half."""
        for suffix in ("", ".pub"):
            (self.directory / "ssh" / f"{name}{suffix}").unlink(missing_ok=True)
        self._make_host_key(name)
        return self.host_key

    def _make_host_key(self, name: str) -> None:
        self.said("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.directory / "ssh" / name))

    def _associate(self) -> None:
        """Lets the accounts charge the project `physics`."""
        self.said("sacctmgr", "-i", "add", "cluster", "laptop")
        self.said("sacctmgr", "-i", "add", "account", "physics", "cluster=laptop")
        for login in self.logins:
            self.said("sacctmgr", "-i", "add", "user", login.name, "account=physics")

    def _daemon(self, name: str, *command: str | Path, ready: Callable[[], bool]) -> Daemon:
        return Daemon(name, command, self.directory / "log" / f"{name}.log", self.environment, ready)

    def _sql(self, statement: str) -> tuple[str, ...]:
        return ("mariadb", "--no-defaults", "-u", "root", "-S", f"{self.directory}/database.sock", "-e", statement)

    def _node_is_up(self) -> bool:
        return self.said("sinfo", "--noheader", "--format=%t", "--partition=main").strip() in ("idle", "mix", "alloc")

    def _watchers(self) -> list[int]:
        """The numbers of the processes that watch over jobs."""
        spool = f"{self.directory}/"
        found = []
        for number, line in processes():
            with contextlib.suppress(OSError):
                if line.startswith("slurmstepd") and any(
                    str(each.readlink()).startswith(spool) for each in Path(f"/proc/{number}/fd").iterdir()
                ):
                    found.append(number)
        return found


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(OSError):
        return socket.gethostbyname(host).startswith("127.")
    return False


def _open_up(directory: Path) -> None:
    """Lets other users reach what is in a directory of the system's for temporary files."""
    for each in (directory, *directory.parents):
        if each.stat().st_uid == 0 and each.stat().st_mode & 0o011 != 0o011:
            if not each.is_relative_to(tempfile.gettempdir()):
                raise CannotStartError(f"Other users can't reach {directory}: {each} is closed to them.")
            each.chmod(each.stat().st_mode | 0o011)


def main() -> int:
    """Starts it, runs a command, stops it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--accounting", action="store_true", help="with a database of jobs (slurmdbd)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run meanwhile")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="hpcwaas-one-node-"))
    try:
        with OneNode(directory, accounting=asked.accounting) as node:
            variables = node.variables
            if TOIL.is_dir():
                variables["SITE_TOIL"] = str(for_everybody(TOIL, directory / "toil"))
            if asked.command:
                return subprocess.run(asked.command, env=os.environ | variables, check=False).returncode
            print("\n".join(f"{name}={value!r}" for name, value in variables.items()), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except CannotStartError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
