"""The members of File and Directory objects that say what the file is: checked against what it turns out to be."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpcwaas.core.models import JSON, StoredUpload
from hpcwaas.engines.cwl.workflows import formats
from hpcwaas.engines.cwl.workflows.parameters import Parameter
from hpcwaas.engines.input_problems import Problems

_DERIVED = ("nameroot", "nameext", "dirname")
MEMBERS = {
    "File": (
        *("class", "location", "contents", "basename", "format", "secondaryFiles", "metadata", "size", "checksum"),
        *_DERIVED,
    ),
    "Directory": ("class", "location", "listing", "basename", "dirname"),
}
"""Names of the members that may be given."""

HASHED_LIMIT = 1 << 30
"""Bytes of the largest upload of which another digest than SHA-256 is computed."""

_DIGEST = "a digest such as sha1$2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"
_CHECKSUM = re.compile(r"(?P<kind>md5|sha1|sha256|sha512)\$(?P<digest>[0-9A-Fa-f]+)")


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of a file's content.

    Attributes:
        size: bytes.
        digests: hexadecimal, by the names of their kinds.
        path: where it can be read, to compute others.
    """

    size: int | None = None
    digests: Mapping[str, str] | None = None
    path: Path | None = None

    @classmethod
    def of_upload(cls, upload: StoredUpload) -> Content:
        """That of an upload."""
        return cls(upload.upload.size, {"sha256": upload.upload.sha256}, upload.path)

    @classmethod
    def of_text(cls, text: bytes) -> Content:
        """That of a file written out."""
        kinds = ("md5", "sha1", "sha256", "sha512")
        return cls(len(text), {kind: hashlib.new(kind, text, usedforsecurity=False).hexdigest() for kind in kinds})

    @classmethod
    def of_output(cls, declared: Mapping[str, JSON]) -> Content:
        """That of an output, as far as its runner said."""
        size, checksum = declared.get("size"), _CHECKSUM.fullmatch(str(declared.get("checksum")))
        return cls(size if isinstance(size, int) else None, {checksum["kind"]: checksum["digest"]} if checksum else {})


def check_content(given: Mapping[str, JSON], way: str, content: Content | None, problems: Problems) -> None:
    """Notes what a File object says of its content and isn't so.

    Args:
        content: None for what nobody knows before it is fetched.
    """
    size, checksum = given.get("size"), given.get("checksum")
    if size is not None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            problems.add_wrong(f"{way}.size", size, "a number of bytes")
        elif content is None:
            problems.add(f"{way}.size", "it can't be checked for a file that is still to be fetched. Leave it out.")
        elif content.size is not None and size != content.size:
            problems.add_wrong(f"{way}.size", size, f"{content.size}, the size of the file")
    if checksum is not None:
        match = _CHECKSUM.fullmatch(checksum) if isinstance(checksum, str) else None
        if match is None:
            problems.add_wrong(f"{way}.checksum", checksum, _DIGEST)
        elif content is None:
            problems.add(f"{way}.checksum", "it can't be checked for a file that is still to be fetched. Leave it out.")
        else:
            _check_digest(match["kind"], match["digest"].lower(), f"{way}.checksum", content, problems)


def _check_digest(kind: str, digest: str, way: str, content: Content, problems: Problems) -> None:
    known = (content.digests or {}).get(kind)
    if known is None and content.path is not None:
        if (content.size or 0) > HASHED_LIMIT:
            problems.add(way, f"the {kind} of a file over {HASHED_LIMIT >> 30} GiB isn't computed; give its sha256.")
            return
        try:
            known = _digest_of(content.path, kind)
        except FileNotFoundError:
            problems.add(way, "the upload was deleted in the meantime.")
            return
    if known is None:
        if content.digests is not None:
            kinds = ", ".join(content.digests) or "none"
            problems.add(way, f"the {kind} of this file isn't known here (known: {kinds}). Leave it out.")
    elif known.lower() != digest:
        problems.add_wrong(way, f"{kind}${digest}", f"{kind}${known}, the digest of the file")


@lru_cache(maxsize=4096)
def _digest_of(path: Path, kind: str) -> str:
    # Contents of uploads never change, and no two have one path.
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def check_derived(given: Mapping[str, JSON], way: str, name: str, problems: Problems) -> None:
    """Notes members that follow from a file's name and don't fit it. Its directory is the service's own choice."""
    root, extension = posixpath.splitext(name)
    for member, expected in (("nameroot", root), ("nameext", extension)):
        value = given.get(member)
        if value is not None and value != expected:
            problems.add_wrong(f"{way}.{member}", value, f"{expected!r}, which follows from the name {name!r}")
    if not isinstance(given.get("dirname", ""), str | None):
        problems.add_wrong(f"{way}.dirname", given["dirname"], "a string")


def set_format(
    checked: dict[str, Any],
    given: Mapping[str, JSON],
    way: str,
    rule: Parameter,
    namespaces: Mapping[str, str],
    problems: Problems,
) -> None:
    """Gives a file of the order its format: the one given, the only one that is allowed, or that of its ending. Runners
    refuse a file without one where one is declared, and one of another."""
    value = given.get("format")
    if value is not None:
        if not isinstance(value, str):
            problems.add_wrong(f"{way}.format", value, "the IRI of a format")
            return
        value = formats.written_out(value, namespaces)
        if not rule.accepts_format(value):
            problems.add_wrong(f"{way}.format", value, _one_of(rule.formats))
        checked["format"] = value
    elif len(rule.formats) == 1:
        checked["format"] = rule.formats[0]
    elif rule.formats:
        found = formats.of_name(checked["basename"], rule.formats)
        if found is None:
            problems.add_missing(f"{way}.format", _one_of(rule.formats))
        else:
            checked["format"] = found


def _one_of(allowed: tuple[str, ...]) -> str:
    return allowed[0] if len(allowed) == 1 else "one of " + ", ".join(allowed)
