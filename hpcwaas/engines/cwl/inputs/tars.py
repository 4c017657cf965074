"""Reads tar archives of people who aren't trusted: in one pass, with bounds on everything that a header can claim.

Python's own module reads more kinds of them, and leaves to its caller what their headers cost in time and memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

BLOCK = 512

_HEADER_LIMIT = 1 << 20
"""Bytes of the extended headers before one member."""

_HEADERS_LIMIT = 64 << 20
"""Bytes of all extended headers of an archive."""

_PART_LIMIT = 10_000
"""Parts that a file with holes consists of."""

_CHUNK = 1 << 18
_LARGEST = 1 << 62
_EMPTY = bytes(BLOCK)

_FILES, _DIRECTORY, _SPARSE = b"0\x007", b"5", b"S"
_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_LINK, _LABEL = b"xX", b"g", b"L", b"K", b"V"
_LINKS_AND_DEVICES = b"12346"


class ArchiveError(Exception):
    """The archive can't or must not be unpacked; says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or directory in an archive.

    Attributes:
        name: as it stands in the archive.
        size: of the file, with its holes.
        end: bytes of the unpacked archive up to the end of its content; 0 when nothing has to be read to get there.
        content: gives (position in the file, bytes) of what is no hole.
    """

    name: str
    directory: bool
    executable: bool
    size: int
    end: int
    content: Callable[[], Iterator[tuple[int, bytes]]]


class Tar:
    """A tar archive.

    Args:
        stream: unpacked, read from here on to the end of the archive.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0
        self._left = 0
        self._headers = 0
        self._defaults: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Member]:
        """The members in their order. The content of one is read before the next, or passed over.

        Raises:
            ArchiveError: the archive isn't sound, or holds what isn't supported.
        """
        own: dict[bytes, bytes] = {}
        points: list[tuple[int, int]] = []
        name: bytes | None = None
        spent = 0
        while (header := self._next_header()) is not None:
            kind, size = header[156:157], _number(header[124:136])
            if kind in _EXTENDED + _GLOBAL + _LONG_NAME + _LONG_LINK:
                spent += size
                self._headers += size
                if spent > _HEADER_LIMIT or self._headers > _HEADERS_LIMIT:
                    raise ArchiveError("its headers are unreasonably large")
                content = self._read(size)
                self._read(-size % BLOCK)
                if kind in _EXTENDED:
                    own, points = _records(content)
                elif kind == _GLOBAL:
                    self._defaults |= _records(content)[0]
                elif kind == _LONG_NAME:
                    name = content.partition(b"\0")[0]
                continue
            yield from self._member(header, kind, size, self._defaults | own, points, name)
            own, points, name, spent = {}, [], None, 0

    def _member(
        self,
        header: bytes,
        kind: bytes,
        size: int,
        words: Mapping[bytes, bytes],
        points: Sequence[tuple[int, int]],
        long_name: bytes | None,
    ) -> Iterator[Member]:
        name = _name(header, words, long_name)
        if kind in _LINKS_AND_DEVICES:
            raise ArchiveError(f"{shown(name)} is a link or a device")
        if kind == _LABEL:
            return
        if kind not in _FILES + _DIRECTORY + _SPARSE:
            raise ArchiveError(f"{shown(name)} is of a kind that is not supported")
        if b"size" in words:
            size = _decimal(words[b"size"])
        self._left = 0 if kind == _DIRECTORY else size + -size % BLOCK
        if kind == _DIRECTORY or name.endswith("/"):
            yield Member(name, True, False, 0, self._position + self._left, lambda: self._content(()))
            self._skip()
            return
        full, parts = self._parts(header, kind, size, words, points)
        executable = bool(_number(header[100:108]) & 0o100)
        yield Member(name, False, executable, full, self._position + self._left, lambda: self._content(parts))
        self._skip()

    def _parts(
        self, header: bytes, kind: bytes, size: int, words: Mapping[bytes, bytes], points: Sequence[tuple[int, int]]
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Size of a file, and where in it the bytes of the archive belong."""
        stored = size
        if kind == _SPARSE:
            left = self._left
            full, parts = _number(header[483:495]), self._old_map(header)
            self._left = left
        elif words.get(b"GNU.sparse.major") == b"1":
            full = _decimal(words.get(b"GNU.sparse.realsize", b""))
            before = self._left
            parts = self._inner_map()
            stored -= before - self._left
        elif b"GNU.sparse.map" in words:
            full = _decimal(words.get(b"GNU.sparse.size", b""))
            numbers = words[b"GNU.sparse.map"].split(b",", 2 * _PART_LIMIT + 1)
            parts = _pairs([_decimal(number) for number in numbers])
        elif b"GNU.sparse.size" in words:
            full, parts = _decimal(words[b"GNU.sparse.size"]), list(points)
        else:
            return size, ((0, size),)
        end = 0
        for start, length in parts:
            if start < end:
                raise ArchiveError("the map of a file with holes is damaged")
            end = start + length
        if end > full or sum(length for _, length in parts) != stored or len(parts) > _PART_LIMIT:
            raise ArchiveError("the map of a file with holes is damaged")
        return full, tuple(parts)

    def _old_map(self, header: bytes) -> list[tuple[int, int]]:
        """The map of a file with holes as GNU tar wrote it first: in the header, and in blocks behind it."""
        numbers = [_number(header[place : place + 12]) for place in range(386, 386 + 8 * 12, 12)]
        more = header[482]
        while more:
            if len(numbers) > 2 * _PART_LIMIT:
                raise ArchiveError("a file in it has too many holes")
            block = self._read(BLOCK)
            numbers += [_number(block[place : place + 12]) for place in range(0, 42 * 12, 12)]
            more = block[504]
        return [part for part in _pairs(numbers) if part != (0, 0)]

    def _inner_map(self) -> list[tuple[int, int]]:
        """The map that stands before the content, a decimal number a line, and fills whole blocks."""
        numbers: list[int] = []
        rest = b""
        wanted = 1
        while len(numbers) < wanted:
            if self._left < BLOCK:
                raise ArchiveError("the map of a file with holes is damaged")
            self._left -= BLOCK
            *lines, rest = (rest + self._read(BLOCK)).split(b"\n")
            if len(rest) > BLOCK:
                raise ArchiveError("the map of a file with holes is damaged")
            for line in lines:
                numbers.append(_decimal(line))
                if len(numbers) == 1:
                    wanted = 1 + 2 * numbers[0]
                if len(numbers) == wanted:
                    break
            if len(numbers) > 2 * _PART_LIMIT:
                raise ArchiveError("a file in it has too many holes")
        return _pairs(numbers[1:])

    def _content(self, parts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        """The content of the member that came last."""
        for start, length in parts:
            place, left = start, length
            while left:
                chunk = self._read(min(left, _CHUNK))
                self._left -= len(chunk)
                yield place, chunk
                place += len(chunk)
                left -= len(chunk)

    def _skip(self) -> None:
        while self._left:
            self._left -= len(self._read(min(self._left, _CHUNK)))

    def _next_header(self) -> bytes | None:
        header = self._stream.read(BLOCK)
        self._position += len(header)
        if not header or header == _EMPTY:
            return None
        if not is_header(header):
            raise ArchiveError("it is damaged: a member does not begin with a valid header")
        return header

    def _read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        parts = []
        while size:
            part = self._stream.read(size)
            if not part:
                raise ArchiveError("it is damaged: it ends too early")
            size -= len(part)
            self._position += len(part)
            parts.append(part)
        return b"".join(parts)


def is_header(block: bytes) -> bool:
    """Whether a block may begin a member: its sum is right, with bytes taken as the standard says or as some did."""
    if len(block) < BLOCK or block == _EMPTY:
        return False
    try:
        expected = _number(block[148:156])
    except ArchiveError:
        return False
    blank = block[:148] + b" " * 8 + block[156:]
    total = sum(blank)
    return total == expected or total - 256 * sum(byte > 127 for byte in blank) == expected


def shown(name: str) -> str:
    """A name for a message."""
    return ascii(name if len(name) <= 100 else f"{name[:100]}...")


def _name(header: bytes, words: Mapping[bytes, bytes], long_name: bytes | None) -> str:
    name = words.get(b"GNU.sparse.name") or words.get(b"path") or long_name
    if name is None:
        name = header[:100].partition(b"\0")[0]
        prefix = header[345:500].partition(b"\0")[0]
        if prefix and header[257:263] == b"ustar\0":
            name = prefix + b"/" + name
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise ArchiveError(
            f"the name {shown(name.decode(errors='backslashreplace'))} isn't UTF-8; pack it where names are UTF-8"
        ) from None


def _records(content: bytes) -> tuple[dict[bytes, bytes], list[tuple[int, int]]]:
    """The records of an extended header, and those that stand in it again and again."""
    words: dict[bytes, bytes] = {}
    starts: list[int] = []
    sizes: list[int] = []
    place = 0
    while place < len(content) and content[place]:
        blank = content.find(b" ", place, place + 20)
        length = _decimal(content[place:blank]) if blank > 0 else 0
        record = content[blank + 1 : place + length]
        word, equals, value = record.partition(b"=")
        if not equals or not record.endswith(b"\n") or place + length > len(content):
            raise ArchiveError("it is damaged: an extended header can't be read")
        place += length
        value = value[:-1]
        if word == b"GNU.sparse.offset":
            starts.append(_decimal(value))
        elif word == b"GNU.sparse.numbytes":
            sizes.append(_decimal(value))
        elif word in (b"path", b"size") or word.startswith(b"GNU.sparse."):
            words[word] = value
    if len(starts) != len(sizes) or len(starts) > _PART_LIMIT:
        raise ArchiveError("the map of a file with holes is damaged")
    return words, list(zip(starts, sizes, strict=True))


def _pairs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or len(numbers) > 2 * _PART_LIMIT + 100:
        raise ArchiveError("the map of a file with holes is damaged")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _number(field: bytes) -> int:
    """A number of a header: octal digits, or binary when the first bit says so."""
    if field[0] & 0x80:
        number = int.from_bytes(field[1:], "big") | (field[0] & 0x7F) << 8 * (len(field) - 1)
    else:
        digits = field.partition(b"\0")[0].strip(b" ")
        if digits.strip(b"01234567"):
            raise ArchiveError("it is damaged: a field of a header that should hold a number doesn't")
        number = int(digits or b"0", 8)
    if number > _LARGEST:
        raise ArchiveError("it is damaged: a number in a header is too large")
    return number


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise ArchiveError("it is damaged: a field of a header that should hold a number doesn't")
    return int(text)
