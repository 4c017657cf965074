"""Sending local files and directories to the service."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from .api import answers, calls
from .client import Client
from .errors import UsageError, WaasError
from .packing import packed
from .planned import Local, name_of, with_locations
from .progress import Progress

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

    Args:
        links: what becomes of symbolic links in directories: `files` sends what links to files lead to, and refuses
            links to directories; `follow` sends that of all; `skip` leaves links out.
        note: tells the user what was left out.

    Attributes:
        made: ids of the uploads.
    """

    def __init__(self, client: Client, *, links: str = "files", note: Callable[[str], None] = lambda _: None) -> None:
        self._client = client
        self._links = links
        self._note = note
        self._sent: dict[tuple[Path, str], str] = {}
        self.made: list[str] = []

    def upload(self, local: Path, companion_of: str | None = None) -> answers.File:
        """Uploads a file, or a directory as an archive.

        Args:
            companion_of: id of the upload beside which workflows are to find this one.

        Returns:
            the service's description of the upload.

        Raises:
            UsageError: it can't be read.
            WaasError: the service refused it, or got something else.
        """
        if local.is_dir():
            with packed(local, self._links, self._note) as stream:
                return self._send(stream, f"{name_of(local)}.tar.gz", companion_of)
        if local.exists() and not local.is_file():
            # A pipe would seem to be empty.
            raise UsageError(f"{local} is neither a file nor a directory.")
        try:
            with local.open("rb") as stream:
                return self._send(stream, name_of(local), companion_of)
        except OSError as error:
            raise UsageError(f"Can't read {local}: {error.strerror}.") from None

    def sent(self, value: Any) -> Any:
        """A value whose local files and directories are uploaded, each once."""
        return with_locations(value, self._location)

    def _location(self, local: Local, kind: str) -> str:
        key = (local.path.absolute(), kind)
        if key not in self._sent:
            self._sent[key] = self.upload(local.path)["id"]
        return self._sent[key]

    def take_back(self) -> None:
        """Deletes what was uploaded, as far as the service lets us; for starts that were refused."""
        for made in self.made:
            try:
                self._client.call(calls.delete_file(made))
            except WaasError:
                # The user is told the real failure. An upload that is left does no harm.
                return
        self.made.clear()

    def _send(self, stream: BinaryIO, name: str, companion_of: str | None) -> answers.File:
        length = os.fstat(stream.fileno()).st_size
        kind, encoding = mimetypes.guess_type(name)
        with Progress(f"Uploading {name}", length) as progress:
            body = _Body(stream, length, progress)
            response = self._client.request(
                "POST",
                "/files",
                params={"name": name, "companion_of": companion_of},
                # An empty body must be said to be empty: requests would send a stream of length 0 in chunks.
                data=body if length else b"",
                headers={"Content-Type": "application/octet-stream" if encoding or not kind else kind},
                timeout=_ANSWER_SECONDS,
                quiet=length > _QUIET,
            )
        made: answers.File = self._client.decode(response)
        self.made.append(made["id"])
        if made.get("companion_of") != companion_of:
            raise WaasError("The service is too old to keep files beside others. Give both files with the execution.")
        if made.get("sha256") not in (None, body.digest.hexdigest()):
            raise WaasError(f"{name} arrived damaged at the service: the checksums differ. Upload it again.")
        return made
