"""Unpacks archives of people who aren't trusted: zip, and tar plain or compressed with gzip, bzip2 or xz."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

from hpcwaas.common.names import unusable_name
from hpcwaas.engines.cwl.inputs.tars import BLOCK, ArchiveError, Member, Tar, is_header, shown

__all__ = ["ArchiveError", "look", "may_be_archive", "unpack"]

MEMBER_LIMIT = 100_000
"""Most files and directories that an archive makes."""

DEPTH_LIMIT = 100
"""Levels of directories in an archive."""

LOOK_LIMIT = 16 * 2**20
"""How far `look` reads into a tar, in unpacked bytes: the way to its names leads through its content."""

_PATH_LIMIT = 2000
_DIRECTORY_LIMIT = 16 * 2**20
"""Bytes of the directory at a zip's end."""

_CHUNK = 2**18
_COMPRESSIONS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, ValueError, struct.error)
_UNICODE_PATH = 0x7075
_UTF8_FLAG = 0x800
_ZIP_ENTRY = b"PK\1\2"
_ZIP_HEADER = 30
_TOO_MUCH_MEMORY = "unpacking it takes more memory than is allowed"


class _Bounded:
    """A stream of a zip that refuses to hold a huge directory in memory: its end says how large it is."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell
        self.close = stream.close
        self.seekable = stream.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _DIRECTORY_LIMIT:
            raise ArchiveError("its directory is unreasonably large")
        data = self._stream.read(_DIRECTORY_LIMIT if size < 0 else size)
        if data.count(_ZIP_ENTRY) > MEMBER_LIMIT:
            raise _too_many()
        return data


def may_be_archive(source: IO[bytes]) -> bool:
    """Whether a file may be an archive, by a glance at its first and last bytes."""
    source.seek(0)
    start = source.read(BLOCK)
    if any(start.startswith(magic) for magic, _ in _COMPRESSIONS) or _may_be_tar(start):
        return True
    return zipfile.is_zipfile(source)


def _kind(source: IO[bytes]) -> str | None:
    try:
        with _decompressed(source) as stream:
            if _may_be_tar(stream.read(BLOCK)):
                return "tar"
    except (*_DAMAGE, OSError):
        return None
    except MemoryError as error:  # xz says how much it needs
        raise ArchiveError(_TOO_MUCH_MEMORY) from error
    try:
        return "zip" if zipfile.is_zipfile(source) else None
    except _DAMAGE:
        return None


def _may_be_tar(start: bytes) -> bool:
    # An empty one begins with its end.
    return is_header(start) or start == bytes(BLOCK)


def look(source: IO[bytes], max_bytes: int) -> str:
    """Checks an archive as far as its listing can be read at little cost, and unpacks nothing.

    Args:
        max_bytes: of all content together.

    Returns:
        its kind, `zip` or `tar`.

    Raises:
        ArchiveError: `unpack` would refuse it, or it is no archive.
    """
    kind = _kind(source)
    if kind is None:
        raise ArchiveError("it is neither zip nor tar (plain, gz, bz2 or xz)")
    left = max_bytes
    with _members(source, kind) as members:
        for member in _checked(members):
            left -= member.size
            if left < 0:
                raise _too_much(max_bytes)
            if member.end > LOOK_LIMIT:
                break
    return kind


def unpack(source: Path, target: Path, kind: str, max_bytes: int) -> None:
    """Unpacks an archive into a new directory, completely or not at all.

    Only plain files and directories come out, with ordinary permissions: of those in the archive the owner's right to
    execute a file is kept.

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
        with source.open("rb") as stream, _members(stream, kind) as members:
            left = max_bytes
            for member in _checked(members):
                path = temporary / member.name
                if member.directory:
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _write(path, member, left, max_bytes)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, member: Member, left: int, max_bytes: int) -> int:
    """Writes a file and returns its size. A file with holes counts with them: who copies it fills them."""
    size = 0
    mode = 0o777 if member.executable else 0o666
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        for position, chunk in member.content():
            if position != size:
                stream.seek(position)
            size = position + len(chunk)
            if size > left:
                raise _too_much(max_bytes)
            stream.write(chunk)
        if member.size > left:
            raise _too_much(max_bytes)
        if member.size > size:
            stream.truncate(member.size)
    return max(size, member.size)


def _too_much(max_bytes: int) -> ArchiveError:
    return ArchiveError(f"it holds more than {max_bytes} bytes")


def _too_many() -> ArchiveError:
    return ArchiveError(f"it has more than {MEMBER_LIMIT} members")


@contextmanager
def _members(source: IO[bytes], kind: str) -> Iterator[Iterator[Member]]:
    """Opens an archive, and turns what a damaged one raises into `ArchiveError`."""
    try:
        with ExitStack() as stack:
            source.seek(0)
            if kind == "zip":
                archive = stack.enter_context(zipfile.ZipFile(cast(IO[bytes], _Bounded(source))))
                yield _zip_members(archive)
            else:
                yield iter(Tar(stack.enter_context(_decompressed(source))))
    except _DAMAGE as error:
        raise ArchiveError(f"it is damaged: {error}") from error
    except RuntimeError as error:  # zipfile's word for what is encrypted, or compressed by a module that isn't there
        raise ArchiveError(f"it uses a feature that is not supported: {error}") from error
    except (MemoryError, OverflowError, RecursionError) as error:
        raise ArchiveError(_TOO_MUCH_MEMORY) from error
    except OSError as error:
        # bz2 says so when its data are invalid; real failures of the system have a number.
        if error.errno is not None:
            raise
        raise ArchiveError(f"it is damaged: {error}") from error


def _decompressed(source: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    source.seek(0)
    magic = source.read(6)
    source.seek(0)
    opener = next((opener for start, opener in _COMPRESSIONS if magic.startswith(start)), None)
    if opener:
        return cast(AbstractContextManager[IO[bytes]], opener(source))
    return nullcontext(source)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    infos = archive.infolist()
    _refuse_overlaps(infos)
    for info in infos:
        name = _zip_name(info)
        mode = info.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if kind and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ArchiveError(f"{shown(name)} is a link or a device")
        if info.flag_bits & 1:
            raise ArchiveError("it is encrypted")
        yield Member(
            name=name,
            directory=name.endswith("/"),
            executable=bool(mode & 0o100),
            size=info.file_size,
            end=0,
            content=lambda info=info: _zip_content(archive, info),  # type: ignore[misc]
        )


def _zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[tuple[int, bytes]]:
    position = 0
    with archive.open(info) as stream:
        while chunk := stream.read(_CHUNK):
            yield position, chunk
            position += len(chunk)


def _refuse_overlaps(infos: list[zipfile.ZipInfo]) -> None:
    """Content that many members share is how a small zip becomes a huge one."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise ArchiveError("its members share the same bytes")
        end = info.header_offset + _ZIP_HEADER + info.compress_size


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name of a member. One without the flag that says UTF-8 is in the DOS character set by the standard, but UTF-8
    all the same when a program on Linux or macOS wrote it; some programs add it as UTF-8 beside the other one."""
    name = info.orig_filename
    if info.flag_bits & _UTF8_FLAG:
        return name
    try:
        plain = name.encode("cp437")
    except UnicodeEncodeError:  # a newer Python has found the name beside it by itself
        return name
    rest = info.extra
    while len(rest) > 4:  # the head of a field
        tag, size = struct.unpack_from("<HH", rest)
        field, rest = rest[4 : 4 + size], rest[4 + size :]
        if tag == _UNICODE_PATH and field[:1] == b"\1" and field[1:5] == struct.pack("<L", zlib.crc32(plain)):
            plain = field[5:]
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return name


def _path(name: str) -> str:
    if len(name) > _PATH_LIMIT or len(name.encode(errors="replace")) > _PATH_LIMIT:
        raise ArchiveError(f"{shown(name)} is too long a path")
    if name.startswith(("/", "\\")) or "\\" in name:
        raise ArchiveError(f"{shown(name)} is an absolute path or holds a backslash")
    parts = [part for part in name.rstrip("/").split("/") if part != "."]
    for part in parts:
        if part == "..":
            raise ArchiveError(f"{shown(name)} climbs out of the directory")
        if reason := unusable_name(part):
            raise ArchiveError(f"{shown(name)} can't be the name of a file: {reason}")
    if len(parts) > DEPTH_LIMIT:
        raise ArchiveError(f"{shown(name)} lies deeper than {DEPTH_LIMIT} directories")
    return "/".join(parts)


def _checked(members: Iterator[Member]) -> Iterator[Member]:
    """Refuses too many members, and names that can't be used or stand for two things; gives each its path."""
    files: set[str] = set()
    directories = {""}
    for number, unchecked in enumerate(members):
        member = replace(unchecked, name=_path(unchecked.name))
        above = member.name if member.directory else member.name.rpartition("/")[0]
        while above not in directories:
            if above in files:
                raise ArchiveError(f"{shown(member.name)} lies inside a file")
            directories.add(above)
            above = above.rpartition("/")[0]
        if not member.directory:
            if member.name in files or member.name in directories:
                raise ArchiveError(f"{shown(member.name)} is in it twice")
            files.add(member.name)
        if number >= MEMBER_LIMIT or len(files) + len(directories) > MEMBER_LIMIT + 1:
            raise _too_many()
        yield member
