"""What `waas login` keeps: tokens by the address that they were made for, in a file that nobody else can read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .api import answers
from .errors import MALFORMED, UsageError, WaasError

SCOPES: tuple[answers.Scope, ...] = ("workflows:read", "executions:read", "executions:write", "keys:write", "admin")
"""What a personal access token can allow."""


@dataclass(frozen=True, slots=True)
class Login:
    """A sign-in.

    Attributes:
        expires_at: when the access token ends, in seconds of the epoch by this machine's clock.
        refresh_token: what it is renewed with; None for a personal access token, which can't be renewed.
    """

    access_token: str = field(repr=False)
    expires_at: float
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Content:
    """What the file holds: the sign-ins by address, and the address of the latest."""

    logins: dict[str, Login]
    default: str | None


class Credentials:
    """The sign-ins of this user on this machine, shared by all commands that run at once.

    Args:
        directory: it is made when the first one is kept.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "credentials.json"

    def default(self) -> str | None:
        """The address of the latest sign-in.

        Raises:
            UsageError: others can read the file, or it is damaged.
        """
        return self._read().default

    def find(self, api_url: str) -> Login | None:
        """The sign-in at an address. Raises as `default`."""
        return self._read().logins.get(api_url)

    def update(
        self, api_url: str, change: Callable[[Login | None], Login | None], *, default: bool = False
    ) -> Login | None:
        """Replaces the sign-in at an address; one such change at a time on this machine.

        Args:
            change: gets what is kept now and gives what is to be kept, None for nothing. When it raises, all stays.
            default: whether this address is to be the default.

        Returns:
            what `change` gave.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.chmod(0o700)
        with self._locked():
            content = self._read()
            before = content.logins.get(api_url)
            after = change(before)
            if after == before and not default:
                return after
            if after:
                content.logins[api_url] = after
            else:
                content.logins.pop(api_url, None)
            if default:
                content.default = api_url
            elif not after and content.default == api_url:
                content.default = None
            self._write(content)
            return after

    @contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl

        # Not the file itself, which is replaced. Opened for writing, as NFS wants it for an exclusive lock.
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Some file systems of clusters have no locks. Then one of two commands that renew at once may fail.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _read(self) -> _Content:
        try:
            with self.path.open(encoding="utf-8") as stream:
                if os.fstat(stream.fileno()).st_mode & 0o077:
                    raise UsageError(
                        f"Others can read {self.path}, which holds your tokens.",
                        hint=f"Run: chmod 600 {self.path}\n"
                        "Then run waas logout and waas login: others may have seen the tokens.",
                    )
                content = json.load(stream)
            logins = {str(api_url): _login(members) for api_url, members in content["logins"].items()}
            default = content["default"]
            return _Content(logins, None if default is None else str(default))
        except FileNotFoundError:
            return _Content({}, None)
        except OSError as error:
            raise UsageError(f"Can't read {self.path}: {error.strerror}.") from None
        except MALFORMED:
            raise UsageError(f"{self.path} is damaged.", hint="Delete it and sign in again: waas login") from None

    def _write(self, content: _Content) -> None:
        from tempfile import NamedTemporaryFile

        logins = {api_url: asdict(login) for api_url, login in content.logins.items()}
        written: Path | None = None
        try:
            # Made with mode 0600.
            with NamedTemporaryFile("w", dir=self.path.parent, encoding="utf-8", delete=False) as stream:
                written = Path(stream.name)
                json.dump({"default": content.default, "logins": logins}, stream, indent=2)
                stream.flush()
                os.fsync(stream.fileno())
            written.replace(self.path)
        except OSError as error:
            if written:
                written.unlink(missing_ok=True)
            raise WaasError(
                f"Can't keep your sign-in in {self.path}: {error.strerror}.",
                hint="When you have solved this, sign in again: waas login",
            ) from None


def _login(members: Any) -> Login:
    """A sign-in as the file holds it. Raises `MALFORMED` for anything else."""
    access_token, refresh_token = members["access_token"], members["refresh_token"]
    if not (isinstance(access_token, str) and isinstance(refresh_token, str | None)):
        raise TypeError
    return Login(access_token, float(members["expires_at"]), refresh_token)
