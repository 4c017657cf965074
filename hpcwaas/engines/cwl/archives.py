"""Unpacks archives of people who aren't trusted: zip, and tar plain or compressed with gzip, bzip2 or xz."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from hpcwaas.engines.cwl.names import unusable_name

MEMBER_LIMIT = 100_000
"""Most members of an archive."""

LOOK_LIMIT = 64 * 2**20
"""How far `look` reads into a tar, in unpacked bytes: the way to its names leads through its content."""

_READ_LIMIT = 16 * 2**20
_CHUNK = 2**18
_COMPRESSIONS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)


class ArchiveError(Exception):
    """The archive can't or must not be unpacked; says why."""


@dataclass(frozen=True, slots=True)
class _Member:
    path: tuple[str, ...]
    directory: bool
    size: int
    content: zipfile.ZipInfo | tarfile.TarInfo


class _Reader:
    """A stream that refuses single huge reads: the formats' headers say how much of them to hold in memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell
        self.close = stream.close
        self.seekable = stream.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _READ_LIMIT:
            raise ArchiveError("its headers are unreasonably large")
        return self._stream.read(_READ_LIMIT if size < 0 else size)


def kind_of(source: Path) -> str | None:
    """`zip` or `tar` by the content of a file; None when it is neither."""
    try:
        with _tar(source):
            return "tar"
    except ArchiveError:
        return "zip" if zipfile.is_zipfile(source) else None


def look(source: Path) -> str:
    """Checks an archive as far as its listing can be read at little cost, and unpacks nothing.

    Returns:
        its kind, `zip` or `tar`.

    Raises:
        ArchiveError: `unpack` would refuse it, or it is no archive.
    """
    kind = kind_of(source)
    if kind is None:
        raise ArchiveError("it is neither zip nor tar (plain, gz, bz2 or xz)")
    with _members(source, kind) as (_, members):
        for member in _checked(members):
            tar = member.content if isinstance(member.content, tarfile.TarInfo) else None
            if tar and tar.offset_data + tar.size > LOOK_LIMIT:
                break
    return kind


def unpack(source: Path, target: Path, kind: str, max_bytes: int) -> None:
    """Unpacks an archive into a new directory, completely or not at all.

    Only plain files and directories come out, with ordinary permissions.

    Args:
        target: the directory to make; its parent exists.
        kind: `zip` or `tar`.
        max_bytes: of all content together, counted while it is written.

    Raises:
        ArchiveError: the archive is damaged, too large, or holds what it must not.
        OSError: the target can't be written.
    """
    temporary = target.with_name(f".{target.name[:100]}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with _members(source, kind) as (archive, members):
            left = max_bytes
            for member in _checked(members):
                path = temporary.joinpath(*member.path)
                if member.directory:
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with _open(archive, member) as content, path.open("xb") as stream:
                    while chunk := content.read(min(_CHUNK, left + 1)):
                        left -= len(chunk)
                        if left < 0:
                            raise ArchiveError(f"it holds more than {max_bytes} bytes")
                        stream.write(chunk)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open(archive: zipfile.ZipFile | tarfile.TarFile, member: _Member) -> IO[bytes]:
    if isinstance(archive, zipfile.ZipFile):
        return archive.open(cast(zipfile.ZipInfo, member.content))
    # A plain file has content; links and devices were refused.
    return cast(IO[bytes], archive.extractfile(cast(tarfile.TarInfo, member.content)))


@contextmanager
def _members(source: Path, kind: str) -> Iterator[tuple[zipfile.ZipFile | tarfile.TarFile, Iterable[_Member]]]:
    """Opens an archive, and turns what a damaged one raises into `ArchiveError`."""
    try:
        if kind == "zip":
            with source.open("rb") as stream, zipfile.ZipFile(cast(IO[bytes], _Reader(stream))) as archive:
                yield archive, map(_zip_member, archive.infolist())
        else:
            with _tar(source) as tar:
                yield tar, map(_tar_member, tar)
    except _DAMAGE as error:
        raise ArchiveError(f"it is damaged: {error}") from error
    except (NotImplementedError, UnicodeError) as error:
        raise ArchiveError(f"it uses what is not supported: {error}") from error
    except OSError as error:
        # bz2 says so when its data are invalid; real failures of the system have a number.
        if error.errno is not None:
            raise
        raise ArchiveError(f"it is damaged: {error}") from error


@contextmanager
def _tar(source: Path) -> Iterator[tarfile.TarFile]:
    with source.open("rb") as raw:
        magic = raw.read(6)
        raw.seek(0)
        opener = next((opener for start, opener in _COMPRESSIONS if magic.startswith(start)), None)
        stream = cast(IO[bytes], opener(raw)) if opener else raw
        try:
            archive = tarfile.TarFile(fileobj=cast(IO[bytes], _Reader(stream)))
        except (*_DAMAGE, OSError) as error:
            raise ArchiveError(f"it is no tar archive: {error}") from error
        with archive:
            yield archive


def _zip_member(info: zipfile.ZipInfo) -> _Member:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ArchiveError(f"{_shown(info.filename)} is a link or a device")
    if info.flag_bits & 1:
        raise ArchiveError("it is encrypted")
    return _Member(_path(info.filename), info.is_dir(), info.file_size, info)


def _tar_member(info: tarfile.TarInfo) -> _Member:
    if not (info.isfile() or info.isdir()):
        raise ArchiveError(f"{_shown(info.name)} is a link or a device")
    return _Member(_path(info.name), info.isdir(), info.size, info)


def _path(name: str) -> tuple[str, ...]:
    if name.startswith(("/", "\\")) or "\\" in name:
        raise ArchiveError(f"{_shown(name)} is an absolute path or holds a backslash")
    parts = tuple(part for part in name.rstrip("/").split("/") if part != ".")
    for part in parts:
        if part == "..":
            raise ArchiveError(f"{_shown(name)} climbs out of the directory")
        if reason := unusable_name(part):
            raise ArchiveError(f"{_shown(name)} can't be the name of a file: {reason}")
    if len(name.encode(errors="replace")) > 2000:
        raise ArchiveError(f"{_shown(name)} is too long a path")
    return parts


def _checked(members: Iterable[_Member]) -> Iterator[_Member]:
    """Refuses too many members, and names that stand for two things."""
    files: set[tuple[str, ...]] = set()
    directories: set[tuple[str, ...]] = {()}
    for number, member in enumerate(members):
        if number >= MEMBER_LIMIT:
            raise ArchiveError(f"it has more than {MEMBER_LIMIT} members")
        directories.update(member.path[:length] for length in range(1, len(member.path)))
        if member.directory:
            directories.add(member.path)
        elif member.path in files or member.path in directories:
            raise ArchiveError(f"{_shown('/'.join(member.path))} stands in it twice")
        else:
            files.add(member.path)
        if any(member.path[:length] in files for length in range(1, len(member.path) + member.directory)):
            raise ArchiveError(f"{_shown('/'.join(member.path))} lies inside a file")
        yield member


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 100 else f"{name[:100]}...")
