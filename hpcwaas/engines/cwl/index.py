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
from hpcwaas.engines.cwl.entries import Entry, Stamps

PATIENCE = 10.0
"""Seconds for which a caller waits for a reading that another one does, before it gets the old list."""


class Busy(Exception):
    """Another process has been reading the catalogue for `PATIENCE` seconds."""


@dataclass(frozen=True, slots=True)
class Published:
    """An entry that could be described.

    Attributes:
        files, directories, missing: what it is made of, as `describe.py` found it.
        signature: digest of the stamps of all that; the entry is described again when it differs.
    """

    entry: Entry
    version: str
    files: tuple[str, ...]
    directories: tuple[str, ...]
    missing: tuple[str, ...]
    signature: str


@dataclass(frozen=True, slots=True)
class Index:
    """What is published and what is wrong.

    Attributes:
        fingerprint: digest of the stamps of the whole catalogue.
    """

    fingerprint: str = ""
    published: tuple[Published, ...] = ()
    problems: tuple[str, ...] = ()
    by_id: Mapping[str, Published] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {item.entry.id: item for item in self.published})


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
        published = tuple(_load_published(item) for item in content["published"])
        return Index(content["fingerprint"], published, tuple(content["problems"]))

    def save(self, index: Index) -> None:
        """Replaces the stored index in one step. Only while `locked`."""
        content = {
            "made_by": made_by(),
            "fingerprint": index.fingerprint,
            "published": [asdict(item) for item in index.published],
            "problems": index.problems,
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
    parts = ["4"]
    for package in ("hpcwaas", "cwltool"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"no {package}")
    return ", ".join(parts)


def _load_published(item: dict[str, JSON]) -> Published:
    lists = ("authorized_users", "authorized_groups", "ssh_keys")
    tuples = {name: None if (value := item["entry"][name]) is None else tuple(value) for name in lists}
    entry = Entry(**{**item["entry"], **tuples})
    parts = {key: tuple(item[key]) for key in ("files", "directories", "missing")}
    return Published(entry=entry, version=item["version"], signature=item["signature"], **parts)
