"""Accounts of the machine that are made for a while."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from examples.slurm.daemons import PATH, CannotStartError, kill, processes, until

_MADE_BY = "hpcwaas one node of process"


@dataclass(frozen=True)
class Login:
    """An account of the machine, made for this."""

    name: str
    uid: int
    home: Path

    @property
    def authorized_keys(self) -> Path:
        """The file of the keys that open it."""
        return self.home / ".ssh" / "authorized_keys"

    def authorize(self, *lines: str) -> None:
        """Lets exactly these keys in."""
        self.write(".ssh/authorized_keys", "".join(f"{line.strip()}\n" for line in lines))

    def write(self, name: str, text: str) -> Path:
        """Writes a file of the account's own into its home."""
        path = self.home / name
        if not path.parent.exists():
            path.parent.mkdir(0o700)
            os.chown(path.parent, self.uid, self.uid)
        if not path.exists():
            path.touch(0o600)
            os.chown(path, self.uid, self.uid)
        path.write_text(text, encoding="utf-8")
        return path


def make(name: str, home: Path) -> Login:
    """Makes an account; signing in takes a key."""
    # A password of `*` fits nothing; without one an account counts as locked.
    command = ("useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/bash", "--password", "*")
    _patiently(*command, "--comment", f"{_MADE_BY} {os.getpid()}", name)
    home.mkdir(0o700)
    entry = pwd.getpwnam(name)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    return Login(name, entry.pw_uid, home)


def remove(name: str) -> None:
    """Removes one, but for its files."""
    _patiently("userdel", "--force", name)  # even if somebody has yet to bury a dead process of it


def remove_what_died() -> None:
    """Removes accounts that were made by processes which have been killed, with what still runs for them."""
    for entry in pwd.getpwall():
        if entry.pw_gecos.startswith(_MADE_BY) and not Path("/proc", entry.pw_gecos.rpartition(" ")[2]).exists():
            for number, _ in processes(owners={entry.pw_uid}):
                kill(number)
            remove(entry.pw_name)


def _patiently(*command: str | Path) -> None:
    """Runs a command that changes accounts, one of which may at the same time."""
    answer = ""

    def done() -> bool:
        nonlocal answer
        ran = subprocess.run(command, env={"PATH": PATH, "LC_ALL": "C"}, capture_output=True, text=True, check=False)
        answer = ran.stderr
        return ran.returncode == 0

    try:
        until(done, "", 20)
    except CannotStartError:
        raise CannotStartError(f"{command[0]} failed: {answer}") from None
