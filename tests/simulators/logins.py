"""Login nodes on this machine: accounts are directories, commands run by a shell of their own, and everything that goes
wrong on the way to a real one can be switched on."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NoReturn

from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.sites.connection import Connection, Ended, RemoteFileError, Result, SiteFailed

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvwm0n2l2O0bqUwbOeA0B3n9uGmY6wQ3K3m9dVQq1zH"
"""What settings of a site need."""

_CHUNK = 1 << 16
_KINDS = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read-only",
}


class Logins:
    """Connections to accounts, each of which has a home in a directory.

    Args:
        directory: of the homes; made when missing.
        variables: of the accounts' environment besides HOME, USER and PATH (that of this process, with its Python).
        shell: that runs the commands.

    Attributes:
        failure: what the sites can't be reached for; None when they can.
        pause: seconds for which nobody tries again then.
        refusals: how often somebody tried all the same.
        cut_upload_after: bytes of the next upload after which the connection is cut; None for never.
        lose_answer: says of a command whether its answer is lost after it ran. It is asked once for each.
        lose_before: the same, of commands that are lost before they run.
        answering: cleared, commands get no answer, until their time is up.
        disk_full: whether nothing can be written by SFTP.
        noise: what profile files print before a command.
        commands: all that ran, in order.
        uploads: paths that `put` wrote to.
        signed_in: how often a connection was made.
    """

    def __init__(self, directory: Path, variables: Mapping[str, str] | None = None, shell: str = "/bin/sh") -> None:
        self._directory = directory
        self._variables = dict(variables or {})
        self._shell = shell
        self._connected: set[Placement] = set()
        self._lock = threading.Lock()
        self.failure: Exception | None = None
        self.pause = 0.0
        self.refusals = 0
        self.cut_upload_after: int | None = None
        self.lose_answer: Callable[[str], bool] = lambda _command: False
        self.lose_before: Callable[[str], bool] = lambda _command: False
        self.answering = threading.Event()
        self.answering.set()
        self.disk_full = False
        self.noise = b""
        self.commands: list[str] = []
        self.uploads: list[str] = []
        self.signed_in = 0
        self.closed = False

    def home(self, placement: Placement) -> Path:
        """The home directory of an account, made when missing."""
        path = self._directory / (placement.user or "nobody")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def of(self, placement: Placement, purpose: str) -> Iterator[Connection]:
        """The connection of an account."""
        assert purpose
        self.check(placement)
        with self._lock:
            if placement not in self._connected:
                self._connected.add(placement)
                self.signed_in += 1
        yield _Login(self, placement)

    @contextlib.contextmanager
    def fresh(self, placement: Placement, purpose: str, reached: Callable[[str], None]) -> Iterator[Connection]:
        """A connection of its own."""
        with self.of(placement, purpose) as connection:
            for point in ("name", "port", "host_key", "sign_in"):
                reached(point)
            yield connection

    def ready(self, placement: Placement) -> None:
        """Whether the vault could open an account; it always could."""

    def check(self, placement: Placement) -> None:
        """Raises what the site can't be reached for."""
        if self.failure:
            self.refusals += 1
            self.cut(placement)
            raise self.failure

    def cut(self, placement: Placement) -> None:
        """Forgets the connection of an account."""
        with self._lock:
            self._connected.discard(placement)

    def due(self, placement: Placement) -> float:
        """Seconds until an account is tried again."""
        return self.pause

    def retry(self, placement: Placement) -> None:
        """Has an account tried at once."""
        self.pause = 0.0

    def close(self) -> None:
        """Closes all."""
        self._connected.clear()
        self.closed = True

    def environment(self, placement: Placement) -> dict[str, str]:
        """What commands of an account find."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        home = str(self.home(placement))
        return {"HOME": home, "USER": placement.user or "nobody", "PATH": path, "LANG": "C.UTF-8", **self._variables}

    def start(self, placement: Placement, command: str) -> subprocess.Popen[bytes]:
        """Begins a command."""
        with self._lock:
            self.commands.append(command)
        return subprocess.Popen(
            [self._shell, "-c", command],
            cwd=self.home(placement),
            env=self.environment(placement),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


class _Login:
    """A connection that is signed in."""

    def __init__(self, logins: Logins, placement: Placement) -> None:
        self._logins = logins
        self._placement = placement

    def run(self, command: str, stdin: bytes = b"", timeout: float = 60.0) -> Result:
        self._logins.check(self._placement)
        if not self._logins.answering.wait(timeout):
            self._cut(f"The login node has not answered for {timeout:g} seconds.")
        if self._logins.lose_before(command):
            self._cut()
        process = self._logins.start(self._placement, command)
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            self._cut(f"The login node has not answered for {timeout:g} seconds.")
        if self._logins.lose_answer(command):
            self._cut()
        self._logins.check(self._placement)
        return Result(process.returncode, self._logins.noise + stdout, stderr)

    def stream(self, command: str, stdin: bytes = b"") -> Iterator[bytes]:
        self._logins.check(self._placement)
        process = self._logins.start(self._placement, command)
        assert process.stdin
        assert process.stdout
        assert process.stderr
        try:
            process.stdin.write(stdin)
            process.stdin.close()
            if self._logins.noise:
                yield self._logins.noise
            while chunk := process.stdout.read1(_CHUNK):  # type: ignore[attr-defined]
                self._logins.check(self._placement)
                yield chunk
            if process.wait():
                raise SiteFailed(f"The command ended with status {process.returncode}.")
        finally:
            _kill(process)
            process.stdout.close()
            process.stderr.close()

    @contextlib.contextmanager
    def talk(self, command: str) -> Iterator[_Talk]:
        self._logins.check(self._placement)
        process = self._logins.start(self._placement, command)
        try:
            yield _Talk(self._logins, self._placement, process)
        finally:
            _kill(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def put(self, source: Path, target: str, wanted: Callable[[], bool] = lambda: True) -> bool:
        self._logins.check(self._placement)
        with self._logins._lock:
            self._logins.uploads.append(target)
        cut, self._logins.cut_upload_after = self._logins.cut_upload_after, None
        path = self._path(target)
        with _told(target), source.open("rb") as reader, path.open("ab") as writer:
            self._room(target)
            reader.seek(writer.tell())
            while wanted() and (chunk := reader.read(_CHUNK)):
                if cut is not None and writer.tell() + len(chunk) > cut:
                    writer.write(chunk[: max(0, cut - writer.tell())])
                    self._cut()
                writer.write(chunk)
            return reader.tell() == source.stat().st_size

    def write(self, target: str, content: bytes) -> None:
        self._logins.check(self._placement)
        path = self._path(target)
        draft = path.with_name(path.name + ".new")
        with _told(target):
            self._room(target)
            draft.write_bytes(content)
            draft.replace(path)

    def size(self, path: str) -> int | None:
        self._logins.check(self._placement)
        try:
            with _told(path):
                return self._path(path).stat().st_size
        except RemoteFileError as error:
            if error.kind == "missing":
                return None
            raise

    def open(self, path: str) -> BinaryIO:
        self._logins.check(self._placement)
        with _told(path):
            return self._path(path).open("rb")

    def _path(self, path: str) -> Path:
        return self._logins.home(self._placement) / path

    def _room(self, path: str) -> None:
        if self._logins.disk_full:
            raise RemoteFileError("full", path, "No space left on device")

    def _cut(self, detail: str = "The connection to the login node was cut.") -> NoReturn:
        self._logins.cut(self._placement)
        raise SiteFailed(detail)


class _Talk:
    """A command that goes on. Each of its answers may be lost as that of a command `look`."""

    wanted = False

    def __init__(self, logins: Logins, placement: Placement, process: subprocess.Popen[bytes]) -> None:
        self._logins = logins
        self._placement = placement
        self._process = process
        self._asked = False

    def send(self, content: bytes) -> None:
        self._logins.check(self._placement)
        if len(content) > len(b"0\n"):
            self._asked = True
            if self._logins.lose_before("'look'"):
                self._cut()
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def receive(self) -> bytes:
        self._logins.check(self._placement)
        assert self._process.stdout
        if not self._logins.answering.wait(0.1) or not select.select([self._process.stdout], [], [], 0.1)[0]:
            return b""
        if not (piece := os.read(self._process.stdout.fileno(), _CHUNK)):
            assert self._process.stderr
            raise Ended(Result(self._process.wait(), b"", self._process.stderr.read()))
        if self._asked and self._logins.lose_answer("'look'"):
            self._cut()
        self._asked = False
        return self._logins.noise + piece

    def _cut(self) -> NoReturn:
        self._logins.cut(self._placement)
        raise SiteFailed("The connection to the login node was cut.")


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, "failed")
        raise RemoteFileError(kind, path, error.strerror or str(error)) from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
