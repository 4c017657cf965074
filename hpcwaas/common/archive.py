"""An archive that says of itself whether it is whole: a tar file that begins with a head and ends with a manifest.

It is written and read in one go, with as much memory as one member needs. The manifest holds the digest of all that
comes before it: names, kinds, modes, times and contents. So what was broken off, changed or put together by something
else is found by reading it once.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import lzma
import os
import posixpath
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

HEAD = "backup.json"
_MANIFEST = "manifest.json"
_MOST_JSON = 64 << 20
"""Bytes of a member that is read as a whole."""

_CHUNK = 1 << 20
_KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE)


class Readable(Protocol):
    """The content of a member."""

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes, fewer only at the end; by default all of them."""


class Writable(Protocol):
    """Where an archive goes."""

    def write(self, content: bytes, /) -> int:
        """Writes all of it."""


class Broken(Exception):
    """Why an archive can't be used, as the end of a sentence."""


class ArchiveWriter:
    """Writes an archive.

    Args:
        stream: is written to from its present position, and not closed.
        head: what the archive is, for whoever reads it.
        compressed: by gzip.
    """

    def __init__(self, stream: IO[bytes], head: Mapping[str, Any], *, compressed: bool) -> None:
        # Both are closed by `finish`; without that it isn't whole anyway.
        self._out = _Counted(stream)
        self._packed = gzip.GzipFile(fileobj=self._out, mode="wb", compresslevel=3) if compressed else None
        inner = self._out if self._packed is None else _Counted(self._packed)
        self._tar = tarfile.open(fileobj=inner, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - `finish` closes it
        self._sums = _Sums()
        self._linked: dict[tuple[int, int], str] = {}
        self.put(HEAD, head)

    @property
    def size(self) -> int:
        """Of the contents that were written."""
        return self._sums.bytes

    @property
    def written(self) -> int:
        """Bytes of the archive so far."""
        return self._out.tell()

    def put(self, name: str, content: Any) -> None:
        """Adds a member: bytes, or what JSON can hold."""
        written = content if isinstance(content, bytes) else json.dumps(content).encode()
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(written), 0o600
        self._add(info, io.BytesIO(written))

    def add(self, path: Path, name: str) -> str | None:
        """Adds a file with as many bytes as it has now, another name of a file that was added before, a symbolic link,
        or a directory without what is in it. Things that are none of these are passed over.

        Returns:
            why it wasn't added, if it should have been; an empty text if it is gone.

        Raises:
            OSError: the archive can't be written, or a file not be read to its end.
        """
        info = tarfile.TarInfo(name)
        descriptor = None
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return error.strerror or str(error)
        info.mode, info.mtime = stat.S_IMODE(status.st_mode) & 0o777, int(status.st_mtime)
        if descriptor is not None:
            with os.fdopen(descriptor, "rb") as file:
                self._add_open(file, info)
        elif stat.S_ISDIR(status.st_mode):
            info.type = tarfile.DIRTYPE
            self._add(info, io.BytesIO())
        elif info.type == tarfile.SYMTYPE:
            if leads_out(name, info.linkname):
                return "it is a link that leads elsewhere"
            self._add(info, io.BytesIO())
        return None

    def finish(self, told: Mapping[str, Any]) -> None:
        """Adds the manifest, with what was found while the archive was written."""
        sums = self._sums
        about = {"members": sums.members, "bytes": sums.bytes, "sha256": sums.digest(), "told": told}
        self.put(_MANIFEST, about)
        self._tar.close()
        if self._packed is not None:
            self._packed.close()

    def _add_open(self, file: IO[bytes], info: tarfile.TarInfo) -> None:
        status = os.fstat(file.fileno())
        place = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and (first := self._linked.get(place)):
            info.type, info.linkname = tarfile.LNKTYPE, first
            self._add(info, io.BytesIO())
            return
        info.size = status.st_size
        self._add(info, _Exactly(file, info.size))
        if status.st_nlink > 1:
            self._linked[place] = info.name

    def _add(self, info: tarfile.TarInfo, content: Readable) -> None:
        noted = _Noted(content)
        self._tar.addfile(info, noted)
        self._sums.note(info, noted)
        self._tar.members.clear()  # type: ignore[attr-defined] # it would keep all


class ArchiveReader:
    """Reads an archive from its beginning to its end, and finds out whether it is whole.

    Args:
        stream: at its beginning.

    Attributes:
        head: what it is.
        told: what was found while it was written; there when all members were read.
        size: of the contents in bytes, likewise.

    Raises:
        Broken: it doesn't begin with a head.
        OSError: it can't be read.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.told: Mapping[str, Any] = {}
        self._sums = _Sums()
        self._files: set[str] = set()
        self._others: dict[str, bytes] = {}
        with _damage():
            self._tar = tarfile.open(fileobj=stream, mode="r|*")  # noqa: SIM115 # the stream isn't ours to close
            info = self._tar.next()
            if info is None or info.name != HEAD:
                raise Broken("it isn't a backup of this service")
            self.head: Mapping[str, Any] = self._json(info)

    @property
    def size(self) -> int:
        """Of the contents that were read."""
        return self._sums.bytes

    @property
    def digest(self) -> str:
        """Of all that was read, the manifest as well when it was."""
        return self._sums.digest()

    def members(self) -> Iterator[tuple[tarfile.TarInfo, Readable]]:
        """Members, with their contents; what isn't read of these is read when the next one is asked for. Their names
        are relative, plain and different from each other; links lead to members before them, symbolic ones to
        somewhere below the same first folder; nothing is below something else than a folder.

        Raises:
            Broken: it isn't whole, or has other members. So all of it is to be read before anything is believed.
            OSError: it can't be read.
        """
        with _damage():
            while (info := self._tar.next()) is not None:
                self._tar.members.clear()  # type: ignore[attr-defined] # it would keep all
                if info.name == _MANIFEST:
                    self._end(info)
                    return
                self._check(info)
                noted = _Noted(self._tar.extractfile(info) if info.isreg() else None)
                yield info, noted
                while noted.read(_CHUNK):
                    pass
                self._sums.note(info, noted)
        raise Broken("its end is missing: it was broken off while it was written or copied")

    def _end(self, info: tarfile.TarInfo) -> None:
        members, size, digest = self._sums.members, self._sums.bytes, self._sums.digest()
        about = self._json(info)
        if (about.get("members"), about.get("bytes"), about.get("sha256")) != (members, size, digest):
            raise Broken("its contents aren't those that its manifest names: it was changed or damaged")
        if self._tar.next() is not None:
            raise Broken("something was added behind its end")
        self.told = about.get("told") or {}

    def _json(self, info: tarfile.TarInfo) -> Mapping[str, Any]:
        file = self._tar.extractfile(info) if info.isreg() and info.size <= _MOST_JSON else None
        if file is None:
            raise Broken(f"{info.name} isn't what it should be")
        noted = _Noted(file)
        content = json.loads(noted.read())
        if not isinstance(content, dict):
            raise Broken(f"{info.name} isn't what it should be")
        self._sums.note(info, noted)
        return content

    def _check(self, info: tarfile.TarInfo) -> None:
        name, parts = info.name, info.name.split("/")
        wrong = None
        if info.type not in _KINDS or info.sparse is not None:
            wrong = "is neither a file nor a folder nor a link"
        elif name.startswith("/") or not {"", ".", ".."}.isdisjoint(parts) or "\0" in name:
            wrong = "has a name that leads elsewhere"
        elif name in self._files or name in self._others:
            wrong = "is there twice"
        elif any(
            above in self._files or self._others.get(above, tarfile.DIRTYPE) != tarfile.DIRTYPE
            for above in ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        ):
            wrong = "is below something that is no folder"
        elif info.type == tarfile.LNKTYPE and info.linkname not in self._files:
            wrong = "is a link to something that isn't there"
        elif info.type == tarfile.SYMTYPE and leads_out(name, info.linkname):
            wrong = "is a link that leads elsewhere"
        if wrong:
            raise Broken(f"its member {name!r} {wrong}")
        if info.type in (tarfile.REGTYPE, tarfile.LNKTYPE):
            self._files.add(name)
        else:
            self._others[name] = info.type


def leads_out(name: str, target: str) -> bool:
    """Whether a symbolic link leads out of the first folder of its name."""
    top = name.split("/")[0]
    led = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return target.startswith("/") or "\0" in target or not led.startswith(f"{top}/")


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Says in our words that what is read is no archive, or no whole one."""
    try:
        yield
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        lzma.LZMAError,
        ValueError,
        RecursionError,
    ) as error:
        raise Broken(f"it is damaged, or was broken off while it was written or copied ({error})") from error


class _Counted(io.RawIOBase):
    """A stream that tells how much was written to it, as a pipe can't."""

    def __init__(self, stream: Writable) -> None:
        self._stream, self._size = stream, 0

    def write(self, content: Any) -> int:
        self._stream.write(content)
        self._size += len(content)
        return len(content)

    def tell(self) -> int:
        return self._size


class _Exactly:
    """So many bytes of a file that others may write to. What it has lost meanwhile is made up by zeros."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        found = self._file.read(wanted)
        self._left -= wanted
        return found + bytes(wanted - len(found))


class _Noted:
    """A content, perhaps none, whose digest is known when it was read."""

    def __init__(self, content: Readable | None) -> None:
        self._content = content
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = self._content.read(size) if self._content is not None else b""
        self.sha256.update(found)
        return found


class _Sums:
    """Counts of members and bytes, and the digest of all of them."""

    def __init__(self) -> None:
        self.members = self.bytes = 0
        self._sha256 = hashlib.sha256()

    def note(self, info: tarfile.TarInfo, content: _Noted) -> None:
        about = [info.name, info.type.decode(), info.mode, int(info.mtime), info.size, info.linkname]
        self._sha256.update(json.dumps(about).encode() + content.sha256.digest())
        self.members += 1
        self.bytes += info.size

    def digest(self) -> str:
        return self._sha256.hexdigest()
