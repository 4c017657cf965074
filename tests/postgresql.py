"""A PostgreSQL server of Debian's packages for tests, on a port and with data of its own, gone at the end.

`python tests/postgresql.py COMMAND …` runs a command with `HPCWAAS_TEST_DATABASE` set to its address.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

if __name__ == "__main__":  # a script finds its own folder only
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.ports import free_port

VARIABLE = "HPCWAAS_TEST_DATABASE"
_ACCOUNTS = ("postgres", "nobody")
"""As whom it runs when we are root, which PostgreSQL refuses to be."""

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "300",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "deadlock_timeout": "200ms",
    "log_min_messages": "fatal",
}


class PostgreSQL:
    """A server; runs inside a `with` block.

    Attributes:
        url: SQLAlchemy URL of its maintenance database, with the password.
        log: what it wrote.
    """

    def __init__(self) -> None:
        self._binaries = _binaries()
        # Not below pytest's directories, which no other account may enter.
        self._directory = Path(tempfile.mkdtemp(prefix="hpcwaas-postgresql-"))
        self._data = self._directory / "data"
        self.log = self._directory / "log"
        self.password = secrets.token_hex(8)
        self.port = free_port()
        self.url = f"postgresql+psycopg://hpcwaas:{self.password}@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgreSQL:
        password = self._directory / "password"
        password.write_text(self.password)
        if os.getuid() == 0:
            for path in (self._directory, password):
                shutil.chown(path, _account().pw_uid)
        try:
            self._run(
                *("initdb", "--pgdata", self._data, "--username", "hpcwaas", "--pwfile", password),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
            )
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Starts the server and waits until it serves."""
        options = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                **self._as(),
            )
        deadline = time.monotonic() + 90
        while True:
            try:
                psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=10).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.05)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Ends the server; by default at once, with all its connections."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(90)
            self._process = None

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments], capture_output=True, text=True, check=False, **self._as()
        )
        if done.returncode:
            raise RuntimeError(done.stderr)

    def _as(self) -> dict[str, Any]:
        if os.getuid() != 0:
            return {"cwd": self._directory}
        account = _account()
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": self._directory}


def _binaries() -> Path:
    """Where `initdb` and `postgres` are; Debian has them on nobody's PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not versions:
        raise RuntimeError("There is no PostgreSQL here. Debian, Ubuntu: apt-get install postgresql")
    return versions[-1].parent


def _account() -> pwd.struct_passwd:
    known = {each.pw_name: each for each in pwd.getpwall()}
    return next(known[name] for name in _ACCOUNTS if name in known)


def main(command: list[str]) -> int:
    """Runs a command while a server runs; gives its exit code."""
    with PostgreSQL() as server:
        return subprocess.run(command, env=os.environ | {VARIABLE: server.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
