"""The catalogue as it was at one time, in a file that all processes share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from hpcwaas.common import durable
from hpcwaas.engines.cwl.workflows.entries import Stamps
from hpcwaas.engines.cwl.workflows.ignored import Ignored
from hpcwaas.engines.cwl.workflows.metadata import Entry


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an entry couldn't be described, and what would have to change before it is tried again.

    Attributes:
        reason: begins with a file.
        files, directories, missing: what was looked at, as `describe.py` found it.
        signature: digest of the stamps of all that, and of the entry.
        again: when it is tried again though nothing changes, since it may have been the machine's fault.
        tries: how often it was tried.
    """

    reason: str
    files: tuple[str, ...]
    directories: tuple[str, ...]
    missing: tuple[str, ...]
    signature: str
    again: float | None = None
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Published:
    """An entry that could be described.

    Attributes:
        entry: with the rights that are in force.
        files, directories, missing: what it is made of, as `describe.py` found it.
        signature: digest of the stamps of all that; the entry is described again when it differs.
        broken: why what lies in the catalogue now isn't published, and an earlier version is.
        dangers: what users may do with their inputs that the publisher should know of, a sentence each.
        wider: digest of metadata that let more users in, and when they were seen first; not in force yet.
        refused: what lies in the catalogue now, when it couldn't be described.
    """

    entry: Entry
    version: str
    files: tuple[str, ...]
    directories: tuple[str, ...]
    missing: tuple[str, ...]
    signature: str
    broken: str | None = None
    dangers: tuple[str, ...] = ()
    wider: tuple[str, float] | None = None
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """A file or folder that isn't published.

    Attributes:
        source: the file or folder.
        reason: begins with a file.
        last: what was published of it last, so that its rights aren't forgotten.
        refused: when it couldn't be described.
    """

    id: str
    source: str
    reason: str
    last: Published | None = None
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """An entry that isn't published yet, since it is still to be read.

    Attributes:
        last: what was published under its id last, so that its rights aren't forgotten.
    """

    entry: Entry
    last: Published | None = None


@dataclass(frozen=True)
class Index:
    """What is published and what is wrong.

    Attributes:
        fingerprint: digest of the stamps of the whole catalogue; empty while it is being read.
        odd: problems with what belongs to no workflow.
        due: when it is to be made again, though nothing changes; None when it isn't.
        made_by: the programs that wrote it.
        manifest: `Found.manifest` of the catalogue file, and since when it is so; None when nothing was read yet.
        unread: what is published as soon as it has been read.
        ignored: files that look like CWL and publish nothing.
    """

    fingerprint: str = ""
    published: tuple[Published, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    odd: tuple[str, ...] = ()
    due: float | None = None
    made_by: str = ""
    manifest: tuple[str, float] | None = None
    unread: tuple[Unread, ...] = ()
    ignored: tuple[Ignored, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, Published]:
        """What is published, by its id."""
        return {item.entry.id: item for item in self.published}

    @cached_property
    def withheld_by_id(self) -> Mapping[str, Withheld]:
        """What isn't published, by the id that it would have; one of those that clash."""
        return {item.id: item for item in reversed(self.withheld)}

    @cached_property
    def known(self) -> Collection[tuple[str, str]]:
        """Sources of the catalogue's own, with the ids that they have."""
        entries = [item.entry for item in self.published] + [item.entry for item in self.unread]
        own = {(entry.source, entry.id) for entry in entries if not entry.root}
        return own | {(item.source, item.id) for item in self.withheld}

    @cached_property
    def unread_by_id(self) -> Mapping[str, Unread]:
        """What is still to be read, by its id."""
        return {item.entry.id: item for item in self.unread}

    def fresh(self, fingerprint: str, now: float) -> bool:
        """Whether nothing is to be read anew."""
        return self.fingerprint == fingerprint and self.holds(now)

    def holds(self, now: float) -> bool:
        """Whether the time has not come yet to make it again."""
        return self.due is None or now < self.due

    @property
    def notices(self) -> Sequence[str]:
        """What publishers should know of what is published, a sentence each."""
        return [notice for item in self.published for notice in (*item.entry.notices, *item.dangers)]

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong, a sentence each."""
        reasons = [item.broken for item in self.published if item.broken]
        return sorted({*self.odd, *reasons, *(item.reason for item in self.withheld)})


_INDEX = TypeAdapter(Index)


class IndexFile:
    """Keeps the index between processes and across restarts.

    Args:
        directory: where it lies; made when missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "catalogue.json"

    def load(self) -> Index:
        """The stored index; an empty one if there is none that the present programs made."""
        try:
            index = _INDEX.validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return Index()
        return index if index.made_by == made_by() else Index()

    def save(self, index: Index) -> None:
        """Replaces the stored index in one step. Only while `locked`."""
        durable.replace(self._path, _INDEX.dump_json(replace(index, made_by=made_by())))

    def stamp(self) -> tuple[int, int]:
        """What changes when the stored index does."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return status.st_mtime_ns, status.st_ino

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Tries to take a lock that only one process can hold, and says whether it did."""
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor = durable.lock(self._directory / "catalogue.lock")
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)


def fingerprint_of(directory: Path, stamps: Stamps, repositories: str = "") -> str:
    """Digest of the stamps of a whole catalogue.

    Args:
        repositories: what changes when something is fetched of those that it names.
    """
    return digest([str(directory), repositories, *sorted(stamps.items())])


def signature(item: Published | Refused, stamps: Stamps) -> str:
    """Digest of the stamps of all that an entry is made of, of what may yet appear included."""
    names = {*item.files, *item.missing}
    if item.directories:
        inside = tuple(f"{name}/" for name in item.directories)
        names.update(name for name in stamps if name.startswith(inside))
    return digest([[name, stamps.get(name)] for name in sorted(names)])


def digest(value: Sequence[Any]) -> str:
    """SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


@lru_cache(maxsize=1)
def made_by() -> str:
    """The programs that descriptions depend on: other versions may describe the same document differently."""
    parts = ["12"]
    for package in ("hpcwaas", "cwltool"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"no {package}")
    return ", ".join(parts)
