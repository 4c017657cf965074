"""What was fetched of the repositories that a catalogue file names, in a file that all processes share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from hpcwaas.common import durable
from hpcwaas.engines.cwl.workflows.manifest import GitSource
from hpcwaas.engines.cwl.workflows.repositories.checkouts import Reference


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is known of a repository.

    Attributes:
        reference: that the commit was found by.
        commit: that is published; None when none could be fetched yet.
        checkout: name of its directory.
        looked_at: when the repository was asked last, in seconds.
        problem: why that failed, or why what was found isn't published, as a sentence.
    """

    reference: str
    commit: str | None
    checkout: str | None
    looked_at: float
    problem: str | None = None


_STATE = TypeAdapter(dict[str, Fetched])


def reference_of(source: GitSource) -> Reference:
    """What the catalogue file says is to be published of a repository."""
    for kind in ("tag", "branch"):
        if name := getattr(source, kind):
            return Reference(kind, name)
    return Reference("commit", source.commit or "")


def key_of(source: GitSource) -> str:
    """What stays the same of an entry of the catalogue file when another version of the repository is published."""
    return hashlib.sha256(json.dumps([source.url, source.path, source.id, source.prefix]).encode()).hexdigest()[:32]


def name_of(url: str, commit: str) -> str:
    """The name of a checkout's directory, which begins alike for all commits of a repository."""
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{commit}"


class Kept:
    """The state and the checkouts, in a directory of their own that is made when it is first written to.

    Args:
        state_dir: where the catalogue's state is kept.
    """

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir.absolute() / "repositories"
        self._path = self._directory / "state.json"

    @property
    def fingerprint(self) -> str:
        """Changes when the state does."""
        try:
            status = self._path.stat()
        except OSError:
            return ""
        return f"{status.st_mtime_ns} {status.st_ino}"

    def load(self) -> Mapping[str, Fetched]:
        """What was fetched, by the keys of entries."""
        try:
            return _STATE.validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}

    def save(self, state: Mapping[str, Fetched]) -> None:
        """Replaces the state. Only while `locked`."""
        durable.replace(self._path, _STATE.dump_json(dict(state)))

    def checkout(self, name: str) -> Path:
        """The directory of a checkout."""
        return self._directory / name

    def checkouts(self) -> Iterator[Path]:
        """All that are there, and what a crash left of making and removing some."""
        yield from (path for path in self._directory.iterdir() if path.is_dir())

    @contextmanager
    def locked(self, patience: float) -> Iterator[bool]:
        """Holds a lock that only one process can hold.

        Args:
            patience: seconds to wait for it.

        Returns:
            whether it is held.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor = durable.lock(self._directory / "lock", patience)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)
