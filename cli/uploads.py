"""Sending local files and directories to the service."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .client import Client
from .errors import UsageError, WaasError
from .progress import Progress
from .urls import path

_ANSWER_SECONDS = 600.0
_QUIET = 1_000_000
"""Bytes from which sending takes a while by itself."""


class _Body:
    """A file as the body of a request: streamed, counted and hashed on its way."""

    def __init__(self, stream: BinaryIO, length: int, progress: Progress) -> None:
        self._stream = stream
        self._length = length
        self._progress = progress
        self.digest = hashlib.sha256()

    def __len__(self) -> int:
        return self._length

    def read(self, amount: int = -1) -> bytes:
        chunk = self._stream.read(amount)
        self.digest.update(chunk)
        self._progress.advance(len(chunk))
        return chunk

    def rewind(self) -> None:
        """Begins anew, for another try."""
        self._progress.advance(-self._stream.tell())
        self._stream.seek(0)
        self.digest = hashlib.sha256()


class Uploader:
    """Uploads files, and remembers those of this run so that they can be taken back.

    Attributes:
        made: ids of the uploads.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.made: list[str] = []

    def upload(self, local: Path) -> dict[str, Any]:
        """Uploads a file, or a directory as an archive.

        Returns:
            the service's description of the upload.

        Raises:
            UsageError: it can't be read.
            WaasError: the service refused it, or got something else.
        """
        if local.is_dir():
            with _packed(local) as stream:
                return self._send(stream, f"{_name(local)}.tar.gz")
        if local.exists() and not local.is_file():
            # A pipe would seem to be empty.
            raise UsageError(f"{local} is neither a file nor a directory.")
        try:
            with local.open("rb") as stream:
                return self._send(stream, _name(local))
        except OSError as error:
            raise UsageError(f"Can't read {local}: {error.strerror}.") from None

    def as_input(self, local: Path, kind: str) -> dict[str, Any]:
        """Uploads a file or directory.

        Args:
            kind: `File`, or `Directory`, which a file may hold packed.

        Returns:
            the CWL object that stands for it as an input.
        """
        value = {"class": kind, "location": self.upload(local)["id"]}
        if kind == "Directory" and not local.is_dir():
            return value  # the service knows how it is called without the archive's suffix
        return {**value, "basename": _name(local)}

    def take_back(self) -> None:
        """Deletes what was uploaded, as far as the service lets us; for starts that were refused."""
        for made in self.made:
            try:
                self._client.request("DELETE", path("files", made))
            except WaasError:
                # The user is told the real failure. An upload that is left does no harm.
                return
        self.made.clear()

    def _send(self, stream: BinaryIO, name: str) -> dict[str, Any]:
        length = os.fstat(stream.fileno()).st_size
        kind, encoding = mimetypes.guess_type(name)
        with Progress(f"Uploading {name}", length) as progress:
            body = _Body(stream, length, progress)
            response = self._client.request(
                "POST",
                "/files",
                params={"name": name},
                # An empty body must be said to be empty: requests would send a stream of length 0 in chunks.
                data=body if length else b"",
                headers={"Content-Type": "application/octet-stream" if encoding or not kind else kind},
                timeout=_ANSWER_SECONDS,
                quiet=length > _QUIET,
            )
        made: dict[str, Any] = self._client.decode(response)
        self.made.append(made["id"])
        if made.get("sha256") not in (None, body.digest.hexdigest()):
            raise WaasError(f"{name} arrived damaged at the service: the checksums differ. Upload it again.")
        return made


def _name(local: Path) -> str:
    """The name of a file or directory, also of `.`."""
    name = local.name or local.resolve().name or "directory"
    return os.fsencode(name).decode(errors="replace")


@contextmanager
def _packed(directory: Path) -> Iterator[BinaryIO]:
    """The content of a directory as a tar file, open at its start. Symbolic links become what they lead to."""
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w:gz", dereference=True, compresslevel=6) as packed:
            for top, directories, files in os.walk(directory):
                directories.sort()
                for name in sorted([*directories, *files]):
                    found = Path(top, name)
                    _check(found)
                    packed.add(found, arcname=str(found.relative_to(directory)), recursive=False, filter=_anonymous)
        archive.seek(0)
        yield archive


def _check(found: Path) -> None:
    """Refuses what an archive can't hold, and links that could lead in a circle."""
    if found.is_symlink() and found.is_dir():
        raise UsageError(f"{found} is a symbolic link to a directory. Directories with such links can't be uploaded.")
    try:
        mode = found.stat().st_mode
    except OSError as error:
        raise UsageError(f"Can't read {found}: {error.strerror}.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UsageError(f"{found} is neither a file nor a directory.")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leaves out who owns the file here; hard links become files of their own."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
