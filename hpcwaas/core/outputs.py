"""Outputs of executions, as they are fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, TypeAlias

from hpcwaas.core.models import JSON


@dataclass(frozen=True, slots=True)
class OutputValue:
    """An output that isn't a file."""

    value: JSON


@dataclass(frozen=True, slots=True)
class OutputFile:
    """An output file, opened for reading.

    Attributes:
        name: base name to offer for download.
        size: bytes.
        etag: strong validator of the content, without quotes.
        stream: seekable; the caller closes it.
    """

    name: str
    media_type: str
    size: int
    etag: str
    modified_at: datetime
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class OutputArchive:
    """An output directory packed while it is read.

    Attributes:
        name: base name to offer for download, with the archive's suffix.
        media_type: `application/zip` or `application/x-tar`.
        chunks: the archive's bytes; produced while they are taken.
    """

    name: str
    media_type: str
    chunks: Iterator[bytes]


Output: TypeAlias = OutputValue | OutputFile | OutputArchive
