"""Files of a site, by SFTP."""

from __future__ import annotations

import contextlib
import errno
import io
import stat
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import paramiko
from paramiko.sftp import CMD_INIT, CMD_VERSION, SFTPError

from hpcwaas.engines.cwl.sites.connection import RemoteFileError, SiteFailed
from hpcwaas.engines.cwl.sites.pool import Pool, bounded

_SILENT = 60.0
_PIECE = 32768
"""Bytes that every SFTP server takes at once."""
_VERSION = 3
_ANSWER = bytes([CMD_VERSION]) + _VERSION.to_bytes(4, "big")
_MOST_NOISE = 2**16
_KINDS = {errno.ENOENT: "missing", errno.EACCES: "denied"}
"""What SFTP tells; anything else is `failed`."""


class _Client(paramiko.SFTPClient):
    """Passes over what profile files print before the server of SFTP begins, where a shell starts it."""

    def _send_version(self) -> int:
        channel = self.get_channel()
        if channel is None:
            raise EOFError
        channel.sendall(len(_ANSWER).to_bytes(4, "big") + bytes([CMD_INIT]) + _ANSWER[1:])
        seen = bytearray()
        while not seen.endswith(_ANSWER) or len(seen) < len(_ANSWER) + 4:
            seen += _exactly(channel, 1)
            if len(seen) > _MOST_NOISE:
                raise SFTPError("no answer of an SFTP server")
        length = int.from_bytes(seen[-len(_ANSWER) - 4 : -len(_ANSWER)], "big")
        _exactly(channel, length - len(_ANSWER))  # its extensions
        return _VERSION


def _exactly(channel: paramiko.Channel, number: int) -> bytes:
    content = b""
    while len(content) < number:
        piece = channel.recv(number - len(content))
        if not piece:
            raise EOFError
        content += piece
    return content


class Files:
    """The files of an account. To be used by one thread at a time.

    Args:
        channel: a new session.
    """

    def __init__(self, pool: Pool, channel: paramiko.Channel) -> None:
        self._pool = pool
        self._channel = channel
        channel.settimeout(_SILENT)
        try:
            with bounded(channel.get_transport()):
                channel.invoke_subsystem("sftp")
                self.client = _Client(channel)
        except (paramiko.SSHException, SFTPError, EOFError, OSError):
            if channel.get_transport().is_active():
                raise SiteFailed(f"The site {pool.site} offers no file transfer (SFTP).", lasting=True) from None
            self._cut()

    def size(self, path: str) -> int | None:
        """Bytes of a file; None when there is none."""
        try:
            with self.told(path):
                return self.client.stat(path).st_size or 0
        except RemoteFileError as error:
            if error.kind == "missing":
                return None
            raise

    def readable(self, path: str) -> int:
        """Bytes of a file that can be read."""
        with self.told(path), self.client.open(path, "rb", 0) as file:
            found = file.stat()
        if not stat.S_ISREG(found.st_mode or stat.S_IFREG):
            raise RemoteFileError("failed", path, f"{path}: it is no file")
        return found.st_size or 0

    def put(self, source: Path, target: str, most: int, wanted: Callable[[], bool]) -> bool:
        """Copies a file there, from where an earlier attempt got to.

        Args:
            most: bytes that are copied now.
            wanted: whether to go on.

        Returns:
            whether it is complete.
        """
        size = source.stat().st_size
        there = self.size(target)
        with source.open("rb") as content, self.told(target):
            start = 0 if there is None or there > size else there
            end = min(start + most, size)
            with self.client.open(target, "r+b" if start else "wb", 0) as file:
                file.set_pipelined(True)
                file.seek(start)
                content.seek(start)
                while wanted() and (piece := content.read(min(_PIECE, end - content.tell()))):
                    file.write(piece)
            # Failures of the last pieces aren't told when they are sent ahead of the answers.
            if self.client.stat(target).st_size != content.tell():
                raise RemoteFileError("failed", target, f"{target}: it wasn't written wholly")
            return content.tell() == size

    def write(self, target: str, content: bytes) -> None:
        """Writes a small file, in place of one that is there."""
        new = f"{target}.new"
        with self.told(target):
            with self.client.open(new, "wb") as file:
                file.write(content)
            self.client.posix_rename(new, target)

    @contextlib.contextmanager
    def told(self, path: str) -> Iterator[None]:
        """Around calls of Paramiko: tells what their errors mean."""
        try:
            yield
        except TimeoutError:
            self._pool.alive(self._channel.get_transport())
            raise SiteFailed(
                f"The site {self._pool.site} hasn't gone on with the file {path} for {_SILENT:g} seconds."
            ) from None
        except (paramiko.SSHException, SFTPError, EOFError):
            self._cut()
        except OSError as error:
            if not self._channel.get_transport().is_active() or self._channel.closed:
                self._cut()
            raise RemoteFileError(_KINDS.get(error.errno or 0, "failed"), path, f"{path}: {_words(error)}") from None

    def _cut(self) -> NoReturn:
        raise SiteFailed(f"The connection to the site {self._pool.site} was cut. Try again.")


def _words(error: OSError) -> str:
    return {errno.ENOENT: "there is no such file", errno.EACCES: "the account may not do that"}.get(
        error.errno or 0, "the site's file system refuses it"
    )


class RemoteFile(io.RawIOBase):
    """A file of a site that is read as a stream, which is begun anew wherever it is read from next.

    Args:
        size: in bytes.
        read: its content from an offset on.
    """

    def __init__(self, size: int, read: Callable[[int], Generator[bytes]]) -> None:
        self._size = size
        self._read = read
        self._position = self._begun = 0
        self._pieces: Generator[bytes] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset != self._position:
            self._end()
            self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # of all buffers, these
        if self._position >= self._size:
            return 0
        while not self._rest:
            if self._pieces is None:
                self._pieces, self._begun = self._read(self._position), self._position
            if (piece := next(self._pieces, None)) is None:
                self._pieces = None
                if self._position == self._begun:  # it has become shorter
                    return 0
                continue  # it made way for others
            self._rest = memoryview(piece)
        taken = self._rest[: min(len(buffer), self._size - self._position)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        self._position += len(taken)
        return len(taken)

    def close(self) -> None:
        if not self.closed:
            self._end()
            super().close()

    def _end(self) -> None:
        pieces, self._pieces, self._rest = self._pieces, None, memoryview(b"")
        if pieces is not None:
            pieces.close()
