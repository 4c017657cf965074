"""Files that come from a site: one by one, or in one stream, one behind the other."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from hpcwaas.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_DIGITS = 20


class Given:
    """What the agent's command `give` writes.

    Args:
        pieces: of it, as they come.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def number(self) -> int:
        """The number of bytes of the next file.

        Raises:
            Unavailable: what comes isn't what the agent writes, or it breaks off.
        """
        while b"\n" not in self._rest and len(self._rest) <= _DIGITS:
            self._rest += self._more()
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            return int(line[: _DIGITS + 1])
        except ValueError:
            raise Unavailable("The site's answer can't be understood.", retry_after=60) from None

    def content(self, size: int) -> Iterator[bytes]:
        """The content of the file. Raises as `number`."""
        while size:
            piece = self._rest or self._more()
            piece, self._rest = piece[:size], piece[size:]
            size -= len(piece)
            yield piece

    def _more(self) -> bytes:
        for piece in self._pieces:
            if piece:
                return piece
        raise Unavailable("The files didn't come wholly from the site.", retry_after=60)

    def close(self) -> None:
        """Ends the stream."""
        if close := getattr(self._pieces, "close", None):
            close()


class KeptFile(io.RawIOBase, BinaryIO):
    """A file of a site together with its connection."""

    def __init__(self, stream: BinaryIO, stack: contextlib.ExitStack) -> None:
        super().__init__()
        self._stream = stream
        self._stack = stack

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        content = self._stream.read(memoryview(buffer).nbytes)
        memoryview(buffer).cast("B")[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.close()
            self._stack.close()


def rest(first: bytes, pieces: Iterator[bytes], stack: contextlib.ExitStack) -> Iterator[bytes]:
    """Bytes as they come, together with their connection."""
    with stack:
        yield first
        yield from pieces
