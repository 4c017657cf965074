"""What the engine needs of a connection to a site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from hpcwaas.common.metrics import Counter, Gauge, Histogram
from hpcwaas.core.site_models import Placement
from hpcwaas.errors import Unavailable

_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONNECTIONS = Gauge("site_connections", "Accounts that are signed in to a site.", site=None)
SIGN_INS = Counter(
    "site_sign_ins",
    "Tries to sign in to a site. refused: it doesn't let the account in until somebody does something; failed: else.",
    site=None,
    result=("ok", "refused", "failed"),
)
SIGN_IN_SECONDS = Histogram("site_sign_in_seconds", "How long signing in to a site took.", _BOUNDS, site=None)
COMMANDS = Counter(
    "site_commands",
    "Commands on a site. failed: it gave no answer in time, or the connection broke.",
    site=None,
    result=("ok", "failed"),
)
COMMAND_SECONDS = Histogram(
    "site_command_seconds",
    "How long commands on a site took, with the wait for a session of the connection.",
    _BOUNDS,
    site=None,
)


class SiteFailed(Unavailable):
    """A site can't be used. The words are for the user: what happened, at which site, what to do.

    Attributes:
        lasting: whether it lasts until somebody does something, so that trying again soon is of no use: the host key
            changed, the key is refused, the account is locked.
    """

    def __init__(self, detail: str, *, lasting: bool = False) -> None:
        super().__init__(detail, retry_after=60)
        self.lasting = lasting


class NotSignedIn(SiteFailed):
    """An account can't be opened.

    Attributes:
        point: of the check, at which it failed: `name`, `port`, `host_key` or `sign_in`.
        found: what happened.
        advice: what to do.
    """

    def __init__(self, point: str, found: str, advice: str, *, lasting: bool = False) -> None:
        super().__init__(f"{found} {advice}", lasting=lasting)
        self.point = point
        self.found = found
        self.advice = advice


class RemoteFileError(Exception):
    """A file of the site can't be read or written: it is gone, may not be touched, or has no room.

    Args:
        kind: `missing`, `denied`, `full` (disk or quota), `read-only` or `failed`.
        path: on the site.
    """

    def __init__(self, kind: str, path: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.path = path
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Result:
    """How a command on a site ended."""

    status: int
    stdout: bytes
    stderr: bytes


class Ended(Exception):
    """A command is over.

    Args:
        result: how it ended, with the last of what it wrote to its standard error.
    """

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


class Talk(Protocol):
    """A command that goes on. Both methods may raise `SiteFailed`."""

    @property
    def wanted(self) -> bool:
        """Whether others wait for a session of the connection."""

    def send(self, content: bytes) -> None:
        """Writes to its standard input."""

    def receive(self) -> bytes:
        """What it has written to its standard output. Waits for a moment, after which it is nothing.

        Raises:
            Ended: the command is over.
        """


class Connection(Protocol):
    """A signed-in connection to an account. Every method may raise `SiteFailed`; those of files `RemoteFileError`."""

    def run(self, command: str, stdin: bytes = b"", timeout: float = 60.0) -> Result:
        """Runs a command by the account's login shell, whichever that is, and waits for its end."""

    def stream(self, command: str, stdin: bytes = b"") -> Iterator[bytes]:
        """What a command writes to its standard output, as it comes. Raises `SiteFailed` when it ends badly."""

    def talk(self, command: str) -> AbstractContextManager[Talk]:
        """Runs a command that is spoken with, for as long as the context lasts."""

    def put(self, source: Path, target: str, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Copies a file to the site. What an earlier attempt left of it there is gone on with.

        Args:
            wanted: whether to go on. It is asked again and again.

        Returns:
            whether it is there.
        """

    def write(self, target: str, content: bytes) -> None:
        """Writes a small file, in place of one that is there."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None when there is none."""

    def open(self, path: str) -> BinaryIO:
        """A file for reading, that can be sought in. Whoever takes it closes it."""


class Connections(Protocol):
    """The connections of a process: one for each site and account, signed in when it is needed."""

    def of(self, placement: Placement, purpose: str) -> AbstractContextManager[Connection]:
        """The connection of an account, for as long as the context lasts. Opens one session of it at a time.

        Raises:
            SiteFailed: there is none now. Meanwhile others aren't tried: after a failure it waits longer and longer.
            NotFound, Unavailable, UpstreamFailed, UpstreamTimeout: as `Credentials.credential`.
        """

    def fresh(
        self, placement: Placement, purpose: str, reached: Callable[[str], None]
    ) -> AbstractContextManager[Connection]:
        """A connection of its own, for a check: it is made whatever failed before, and that it works is remembered.

        Args:
            reached: told what has been passed: `name`, `port`, `host_key`, `sign_in`.

        Raises:
            NotSignedIn: the account can't be opened.
            NotFound, Unavailable, UpstreamFailed, UpstreamTimeout: as `Credentials.credential`.
        """

    def due(self, placement: Placement) -> float:
        """Seconds until an account is tried again that couldn't be opened; 0 when it is at once."""

    def retry(self, placement: Placement) -> None:
        """Has an account tried at once that couldn't be opened: it can be used again."""

    def ready(self, placement: Placement) -> None:
        """Makes sure that an account is signed in, or that the vault could give what opens it. Asks no site.

        Raises:
            Unavailable, UpstreamFailed, UpstreamTimeout: as `Credentials.ready`.
        """

    def close(self) -> None:
        """Closes all."""
