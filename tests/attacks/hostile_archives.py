"""Archives that are made to harm who reads them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

MIB = 2**20


def header(name: str = "file", kind: bytes = b"0", size: int = 0, **more: Any) -> bytes:
    """A plain header of a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for word, value in more.items():
        setattr(info, word, value)
    return info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")


def padded(data: bytes) -> bytes:
    """Data in whole blocks."""
    return data + bytes(-len(data) % 512)


def pax(data: bytes, kind: bytes = b"x") -> bytes:
    """An extended header."""
    return header("pax", kind, len(data)) + padded(data)


def record(word: str, value: str) -> bytes:
    """A record of an extended header."""
    rest = f" {word}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def tar(*names: str, content: bytes = b"x", **more: Any) -> bytes:
    """A tar of files."""
    return b"".join(header(name, size=len(content), **more) + padded(content) for name in names) + bytes(1024)


def zipped(*names: str, content: bytes = b"x", mode: int = 0o100644) -> bytes:
    """A zip of files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return stream.getvalue()


def sparse(parts: int, full: int) -> bytes:
    """A file with a map of very many holes, as GNU tar writes it today."""
    lines = "".join(f"{place * 1024}\n0\n" for place in range(parts))
    inner = padded(f"{parts}\n{lines}".encode())
    words = record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0")
    words += record("GNU.sparse.name", "holes") + record("GNU.sparse.realsize", str(full))
    return pax(words) + header("holes", size=len(inner)) + inner + bytes(1024)


def old_sparse(blocks: int) -> bytes:
    """The same, as GNU tar wrote it long ago: a chain of blocks."""
    start = bytearray(header("holes", b"S"))
    start[482] = 1
    start[148:156] = b" " * 8
    start[148:156] = b"%06o\0 " % sum(start)
    block = bytearray(512)
    for place in range(0, 42 * 12, 12):
        block[place : place + 12] = b"00000000000\0"
    block[504] = 1
    return bytes(start) + bytes(block) * blocks


def overlapping(names: int) -> bytes:
    """A zip whose members are all the same bytes."""
    single = zipped("a", content=bytes(MIB))
    place = single.index(b"PK\1\2")
    body, entry = single[:place], single[place : single.index(b"PK\5\6")]
    entries = [entry[:46] + b"%06d" % number for number in range(names)]
    entries = [item[:28] + struct.pack("<H", 6) + item[30:] for item in entries]
    directory = b"".join(entries)
    return (
        body
        + directory
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, names % 65536, names % 65536, len(directory), len(body), 0)
    )


def huge_directory(names: int) -> bytes:
    """A zip with very many members."""
    entry = zipped("a")
    entry = entry[entry.index(b"PK\1\2") : entry.index(b"PK\5\6")]
    return entry * names + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(entry) * names, 0, 0)


def changed(data: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    """Data in which some bytes behind a mark are others."""
    place = data.index(mark) + offset
    return data[:place] + new + data[place + len(new) :]


def encrypted() -> bytes:
    """A zip that says that it is encrypted."""
    return changed(changed(zipped("a"), b"PK\3\4", 6, b"\1"), b"PK\1\2", 8, b"\1")


def zip64_lies() -> bytes:
    """A zip that claims a member of 2^62 bytes."""
    extra = struct.pack("<HHQQ", 1, 16, 2**62, 2**62)
    data = zipped("a")
    place = data.index(b"PK\1\2")
    entry = bytearray(data[place : data.index(b"PK\5\6")])
    entry[20:28] = b"\xff" * 8
    entry[30:32] = struct.pack("<H", len(extra))
    directory = bytes(entry) + extra
    return data[:place] + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), place, 0)


def directory_lies() -> bytes:
    """A zip whose directory should be 2 GiB."""
    return changed(zipped("a"), b"PK\5\6", 12, struct.pack("<L", 2**31))


def greedy_xz() -> bytes:
    """An xz that wants a dictionary of 1.5 GiB."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0}]
    data = bytearray(lzma.compress(tar("a"), lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=filters))
    start = 12
    length = (data[start] + 1) * 4
    place = data.index(b"\x21\x01", start) + 2
    data[place] = 39
    data[start + length - 4 : start + length] = struct.pack("<L", zlib.crc32(bytes(data[start : start + length - 4])))
    return bytes(data)


def nested_names(levels: int, count: int) -> bytes:
    """A tar whose members all lie very deep."""
    deep = "/".join("a" for _ in range(levels))
    return (pax(record("path", f"{deep}/a")) + header()) * count + bytes(1024)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "header-of-digits": lambda: gzip.compress(pax(b"1" * 500_000) + header() + bytes(1024)),
    "header-of-digits-plain": lambda: pax(b"1" * 500_000) + header() + bytes(1024),
    "header-that-repeats-itself": lambda: gzip.compress(pax(b"2 " * 200_000 + b"=\n") + header() + bytes(1024)),
    "global-header-of-digits": lambda: gzip.compress(pax(b"1" * 500_000, b"g") + header() + bytes(1024)),
    "header-of-nine-zeros": lambda: pax(b"0 a=b\n" * 1000) + header() + bytes(1024),
    "header-that-is-huge": lambda: gzip.compress(header("pax", b"x", 2**33) + bytes(MIB)),
    "many-headers": lambda: gzip.compress(pax(record("comment", "x" * 1000)) * 20_000),
    "long-names-of-long-names": lambda: gzip.compress((header("L", b"L", 512) + b"x" * 512) * 50_000),
    "sparse-map": lambda: gzip.compress(sparse(500_000, 2**40)),
    "sparse-map-that-is-short": lambda: sparse(5_000, 2**40),
    "sparse-map-chain": lambda: gzip.compress(old_sparse(200_000)),
    "sparse-file-that-is-huge": lambda: sparse(1, 2**50),
    "deep": lambda: gzip.compress(nested_names(900, 20_000)),
    "deep-in-a-zip": lambda: zipped("a/" * 900 + "a"),
    "very-many-directories": lambda: gzip.compress(
        nested_names(90, 1)[:-1024]
        + b"".join(pax(record("path", "/".join([f"{number}", *["a"] * 90]))) + header() for number in range(3_000))
    ),
    "very-many-members-in-a-zip": lambda: huge_directory(200_000),
    "a-million-members-in-a-zip": lambda: huge_directory(1_000_000),
    "name-of-a-megabyte": lambda: gzip.compress(header("L", b"L", MIB) + b"x" * MIB + header()),
    "name-of-a-megabyte-in-pax": lambda: gzip.compress(pax(record("path", "x" * MIB)) + header()),
    "name-of-64-kilobytes-in-a-zip": lambda: zipped("x" * 65_000),
    "name-that-is-no-utf-8": lambda: tar("\udcff.txt"),
    "name-of-nothing": lambda: tar("."),
    "gzip-bomb": lambda: gzip.compress(header(size=2**32) + bytes(64 * MIB), 9),
    "bzip2-bomb": lambda: bz2.compress(header(size=2**32) + bytes(64 * MIB)),
    "xz-bomb": lambda: lzma.compress(header(size=2**32) + bytes(64 * MIB)),
    "gzip-of-gzip": lambda: gzip.compress(gzip.compress(tar("a"))),
    "xz-with-a-huge-dictionary": greedy_xz,
    "zip-bomb": lambda: zipped(*(str(number) for number in range(10)), content=bytes(8 * MIB)),
    "zip-of-shared-bytes": lambda: overlapping(1_000),
    "zip-of-shared-bytes-large": lambda: overlapping(90_000),
    "zip64-lies": zip64_lies,
    "zip-directory-lies": directory_lies,
    "zip-encrypted": encrypted,
    "zip-link": lambda: zipped("a", content=b"/etc/passwd", mode=0o120777),
    "zip-device": lambda: zipped("a", mode=0o020666),
    "zip-twice": lambda: zipped("twice-1", "twice-2").replace(b"twice-2", b"twice-1"),
    "zip-cut": lambda: zipped("a", content=bytes(range(256)))[:-30],
    "link": lambda: tar("a", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard-link": lambda: tar("a", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "device": lambda: tar("a", type=tarfile.CHRTYPE),
    "pipe": lambda: tar("a", type=tarfile.FIFOTYPE),
    "unknown-kind": lambda: tar("a", type=b"Z"),
    "climbing": lambda: tar("../../evil"),
    "climbing-in-a-zip": lambda: zipped("../../evil"),
    "absolute": lambda: tar("/etc/evil"),
    "absolute-in-a-zip": lambda: zipped("/etc/evil"),
    "drive": lambda: zipped("C:\\evil"),
    "twice": lambda: tar("a", "a"),
    "file-and-directory": lambda: tar("a", "a/b"),
    "cut": lambda: tar("a", content=bytes(range(256)) * 9)[:1500],
    "cut-gzip": lambda: gzip.compress(tar("a", content=bytes(range(256)) * 9))[:-200],
    "size-that-is-negative": lambda: header("a")[:124] + b"\xff" * 12 + header("a")[136:],
    "wrong-sum": lambda: tar("a")[:1024] + b"x" * 512 + tar("b"),
    "text": lambda: b"just text",
    "nothing": lambda: b"",
}
"""Each is to be refused."""
