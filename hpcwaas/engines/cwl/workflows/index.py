"""The catalogue as it was at one time, in a file that all processes share."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.entries import Entry, Stamps

PATIENCE = 10.0
"""Seconds for which a caller waits for a reading that another one does, before it gets the old list."""


class Busy(Exception):
    """Another process has been reading the catalogue for `PATIENCE` seconds."""


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


@dataclass(frozen=True, slots=True)
class Withheld:
    """A file or folder that isn't published.

    Attributes:
        source: the file or folder.
        reason: begins with a file.
        last: what was published of it last, so that its rights aren't forgotten.
    """

    id: str
    source: str
    reason: str
    last: Published | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """What is published and what is wrong.

    Attributes:
        fingerprint: digest of the stamps of the whole catalogue.
        odd: problems with what belongs to no workflow.
        due: when it is to be made again, though nothing changes; None when it isn't.
    """

    fingerprint: str = ""
    published: tuple[Published, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    odd: tuple[str, ...] = ()
    due: float | None = None
    by_id: Mapping[str, Published] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {item.entry.id: item for item in self.published})

    def fresh(self, fingerprint: str, now: float) -> bool:
        """Whether nothing is to be read anew."""
        return self.fingerprint == fingerprint and (self.due is None or now < self.due)

    @property
    def notices(self) -> Sequence[str]:
        """What publishers should know of what is published, a sentence each."""
        return [notice for item in self.published for notice in (*item.entry.notices, *item.dangers)]

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong, a sentence each."""
        reasons = [item.broken for item in self.published if item.broken]
        return sorted({*self.odd, *reasons, *(item.reason for item in self.withheld)})


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
            content = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return Index()
        if content.get("made_by") != made_by():
            return Index()
        return Index(
            content["fingerprint"],
            tuple(_load_published(item) for item in content["published"]),
            tuple(_load_withheld(item) for item in content["withheld"]),
            tuple(content["odd"]),
            content["due"],
        )

    def save(self, index: Index) -> None:
        """Replaces the stored index in one step. Only while `locked`."""
        content = {
            "made_by": made_by(),
            "fingerprint": index.fingerprint,
            "published": [asdict(item) for item in index.published],
            "withheld": [asdict(item) for item in index.withheld],
            "odd": index.odd,
            "due": index.due,
        }
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(content), "utf-8")
        new.replace(self._path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds a lock that only one process can hold.

        Raises:
            Busy: another one doesn't let it go.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "catalogue.lock").open("ab") as stream:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise Busy from None
                    time.sleep(0.02)
            yield


def fingerprint_of(directory: Path, stamps: Stamps) -> str:
    """Digest of the stamps of a whole catalogue."""
    return digest([str(directory), *sorted(stamps.items())])


def signature(item: Published, stamps: Stamps) -> str:
    """Digest of the stamps of all that an entry is made of, of what may yet appear included."""
    inside = tuple(f"{name}/" for name in item.directories)
    names = {*item.files, *item.missing, *(name for name in stamps if inside and name.startswith(inside))}
    return digest([[name, stamps.get(name)] for name in sorted(names)])


def digest(value: Sequence[Any]) -> str:
    """SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


@lru_cache(maxsize=1)
def made_by() -> str:
    """The programs that descriptions depend on: other versions may describe the same document differently."""
    parts = ["5"]
    for package in ("hpcwaas", "cwltool"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"no {package}")
    return ", ".join(parts)


def _load_published(item: dict[str, JSON]) -> Published:
    lists = ("authorized_users", "authorized_groups", "ssh_keys", "notices")
    tuples = {name: None if (value := item["entry"][name]) is None else tuple(value) for name in lists}
    parts = {key: tuple(item[key]) for key in ("files", "directories", "missing", "dangers")}
    wider = item["wider"] and tuple(item["wider"])
    return Published(**{**item, **parts, "entry": Entry(**{**item["entry"], **tuples}), "wider": wider})


def _load_withheld(item: dict[str, JSON]) -> Withheld:
    return Withheld(**{**item, "last": item["last"] and _load_published(item["last"])})
