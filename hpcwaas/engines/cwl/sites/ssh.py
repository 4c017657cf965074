"""Connections to sites by SSH."""

from __future__ import annotations

import contextlib
import io
import logging
import secrets
import threading
import time
from collections import Counter as Counting
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from hpcwaas.common import tracing
from hpcwaas.core.ports.sites import Credential, Credentials
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.sites.connection import (
    COMMAND_SECONDS,
    COMMANDS,
    CONNECTIONS,
    Connection,
    RemoteFileError,
    Result,
    SiteFailed,
)
from hpcwaas.engines.cwl.sites.pool import Pool
from hpcwaas.engines.cwl.sites.remote_files import Files, RemoteFile
from hpcwaas.engines.cwl.sites.running import PIECE, STDERR_KEPT, Run, Talking
from hpcwaas.engines.cwl.sites.signing_in import sign_in
from hpcwaas.engines.cwl.sites.transport import Transport
from hpcwaas.engines.site_settings import SiteSettings

_MOST_OUTPUT = 64 * 2**20
_MOST_NOISE = 2**20
_SHARE = 64 * 2**20
"""Bytes of a file after which others may have the session."""
_IDLE, _LOOK = 60.0, 15.0
"""Seconds after which an unused connection is closed, and between looks for them."""


class SSHConnections:
    """Obeys `Connections`.

    Args:
        sites: their settings by their ids.
        credentials: opens accounts.
    """

    def __init__(self, sites: Mapping[str, SiteSettings], credentials: Credentials) -> None:
        self._sites = sites
        self._credentials = credentials
        self._pools: dict[Placement, Pool] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None
        # What goes wrong is told by exceptions. Paramiko writes tracebacks besides, into the log of the service.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)

    @contextlib.contextmanager
    def of(self, placement: Placement, purpose: str) -> Iterator[Connection]:
        pool = self._pool(placement)
        if not pool.active:
            pool.connected(purpose)
            self._count()
        with contextlib.closing(SSHConnection(pool, purpose)) as connection:
            yield connection

    @contextlib.contextmanager
    def fresh(self, placement: Placement, purpose: str, reached: Callable[[str], None]) -> Iterator[Connection]:
        settings = self._settings(placement)
        pool = Pool(placement.site, settings.limits.sessions, self._opener(placement, settings, reached))
        try:
            pool.connected(purpose)
            self.retry(placement)
            with contextlib.closing(SSHConnection(pool, purpose)) as connection:
                yield connection
        finally:
            pool.close()

    def due(self, placement: Placement) -> float:
        with self._lock:
            pool = self._pools.get(placement)
        return pool.backoff.due() if pool else 0.0

    def retry(self, placement: Placement) -> None:
        self._pool(placement).backoff.succeeded()

    def ready(self, placement: Placement) -> None:
        pool = self._pools.get(placement)
        if pool is None or not pool.active:
            self._credentials.ready(placement)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
            sweeper = self._sweeper
        for pool in pools:
            pool.close()
        self._count()
        if sweeper is not None:
            sweeper.join()

    def _pool(self, placement: Placement) -> Pool:
        settings = self._settings(placement)
        with self._lock:
            if self._closed.is_set():
                raise SiteFailed("The service is being stopped.")
            if placement not in self._pools:
                opener = self._opener(placement, settings)
                self._pools[placement] = Pool(placement.site, settings.limits.sessions, opener)
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep, name="ssh sweeper", daemon=True)
                self._sweeper.start()
            return self._pools[placement]

    def _settings(self, placement: Placement) -> SiteSettings:
        settings = self._sites.get(placement.site)
        if settings is None:
            raise SiteFailed(
                f"The site {placement.site} has been removed from the settings of the service, so that nothing there "
                "can be reached. Ask an operator of the service.",
                lasting=True,
            )
        return settings

    def _opener(
        self, placement: Placement, settings: SiteSettings, reached: Callable[[str], None] = lambda _: None
    ) -> Callable[[str], Transport]:
        user = placement.user
        if user is None:
            raise SiteFailed(f"There is no account on the site {placement.site}.", lasting=True)

        def opened(purpose: str) -> Transport:
            def credential() -> Credential:
                return self._credentials.credential(placement, purpose)

            return sign_in(placement.site, settings, user, credential, reached)

        return opened

    def _sweep(self) -> None:
        while not self._closed.wait(_LOOK):
            with self._lock:
                pools = list(self._pools.values())
            for pool in pools:
                if pool.idle() > _IDLE:
                    pool.drop()
            self._count()

    def _count(self) -> None:
        with self._lock:
            active = Counting(pool.site for pool in self._pools.values() if pool.active)
        for site in self._sites:
            CONNECTIONS.put(active[site], site)


class SSHConnection:
    """Obeys `Connection`. To be used by one thread at a time."""

    def __init__(self, pool: Pool, purpose: str) -> None:
        self._pool = pool
        self._purpose = purpose
        self._files: Files | None = None
        self._keeping = contextlib.ExitStack()

    def run(self, command: str, stdin: bytes = b"", timeout: float = 60.0) -> Result:
        self.close()  # one session at a time
        began, result = time.monotonic(), "failed"
        try:
            with tracing.span("command on a site", {"hpcwaas.site": self._pool.site}, "client"):
                done = self._run(command, stdin, timeout)
            result = "ok"
            return done
        finally:
            COMMANDS.add(self._pool.site, result)
            COMMAND_SECONDS.observe(time.monotonic() - began, self._pool.site)

    def _run(self, command: str, stdin: bytes, timeout: float) -> Result:
        with self._pool.session(self._purpose) as channel:
            run = Run(self._pool, channel, command, stdin)
            until = time.monotonic() + timeout
            out = bytearray()
            for piece in run.output(until):
                out += piece
                if len(out) + len(run.stderr) > _MOST_OUTPUT:
                    raise SiteFailed(
                        f"A command on the site {self._pool.site} wrote more than {_MOST_OUTPUT >> 20} MiB; it was "
                        "given up."
                    )
            return Result(run.status(until), bytes(out), bytes(run.stderr))

    def stream(self, command: str, stdin: bytes = b"") -> Generator[bytes]:
        self.close()
        with self._pool.session(self._purpose, spare=1) as channel:
            run = Run(self._pool, channel, command, stdin)
            for piece in run.output(None):
                del run.stderr[:-STDERR_KEPT]
                yield piece
            if status := run.status(None):
                said = run.stderr[-STDERR_KEPT:].decode(errors="replace").strip()
                raise SiteFailed(
                    f"A command on the site {self._pool.site} ended with status {status}{': ' + said if said else ''}."
                )

    @contextlib.contextmanager
    def talk(self, command: str) -> Iterator[Talking]:
        self.close()
        with self._pool.session(self._purpose) as channel:
            yield Talking(self._pool, Run(self._pool, channel, command))

    def put(self, source: Path, target: str, wanted: Callable[[], bool] = lambda: True) -> bool:
        while wanted():
            with self._explained(target):
                if self._sftp().put(source, target, _SHARE, wanted):
                    return True
            if self._pool.wanted:
                self.close()  # others come first, and then it is gone on with
        return False

    def write(self, target: str, content: bytes) -> None:
        with self._explained(target):
            self._sftp().write(target, content)

    def size(self, path: str) -> int | None:
        return self._sftp().size(path)

    def open(self, path: str) -> BinaryIO:
        size = self._sftp().readable(path)
        self.close()  # else it might wait for itself
        # Read by a command: SFTP gives pieces on request, and is slower. The file may be used longer than this.
        reader = SSHConnection(self._pool, self._purpose)
        return io.BufferedReader(RemoteFile(size, lambda start: reader.content(path, start)), PIECE)

    def content(self, path: str, start: int) -> Generator[bytes]:
        """A file from an offset on, to its end or until others want the session. What profile files write before it is
        left out. One session is left to others if there is more than one: who reads may be slow."""
        mark = secrets.token_hex(16)
        begun, before, given = f"\n{mark}\n".encode(), b"", 0
        with contextlib.closing(self.stream(_from(start, mark), path.encode())) as pieces:
            for piece in pieces:
                before += piece
                if (at := before.find(begun)) >= 0:
                    yield before[at + len(begun) :]
                    break
                if len(before) > _MOST_NOISE:
                    return
            for piece in pieces:
                yield piece
                given += len(piece)
                if given > _SHARE and self._pool.wanted:
                    return

    def close(self) -> None:
        """Ends the session for files, if there is one."""
        self._files = None
        self._keeping.close()

    def _sftp(self) -> Files:
        if self._files is None:
            self._files = Files(self._pool, self._keeping.enter_context(self._pool.session(self._purpose)))
        return self._files

    @contextlib.contextmanager
    def _explained(self, target: str) -> Iterator[None]:
        """SFTP tells of most failures only that they are some: a small file that is written by a command tells more."""
        try:
            yield
        except RemoteFileError as error:
            if error.kind == "failed":
                self._explain(target)
            raise

    def _explain(self, target: str) -> None:
        tried = self.run(_TRY, target.encode())
        said = tried.stderr.decode(errors="replace")
        if tried.status and (kind := next((kind for words, kind in _WORDS.items() if words in said), None)):
            raise RemoteFileError(kind, target, f"{target}: {_DETAILS[kind]}")


_TRY = (
    "'sh' '-c' 'p=$(cat; echo .); p=${p%.}.probe; LC_ALL=C dd if=/dev/zero of=\"$p\" bs=65536 count=16; "
    's=$?; rm -f "$p"; exit $s\''
)
"""Writes a mebibyte beside the file whose path is read. Every shell takes the line; no shell ever sees the path."""


def _from(start: int, mark: str) -> str:
    """Writes the file whose path is read, from an offset on, after a line with a mark."""
    script = r'p=$(cat; echo .); printf "\n%s\n" "$1"; exec tail -c +"$0" -- "${p%.}"'
    return f"'sh' '-c' '{script}' '{start + 1}' '{mark}'"


_WORDS = {
    "No space left": "full",
    "quota exceeded": "full",
    "Read-only file system": "read-only",
    "Permission denied": "denied",
    "No such file": "missing",
}
_DETAILS = {
    "full": "there is no room left on the file system or in the account's quota",
    "read-only": "the file system can't be written to",
    "denied": "the account may not write there",
    "missing": "its directory doesn't exist",
}
