"""Brings to a site what executions need there: contents by their digests, never twice to the same account."""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from hpcwaas.engines.cwl.inputs.fetch import fetch
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.run.runner import FETCH_TIMEOUT
from hpcwaas.engines.cwl.sites.connection import Connection, RemoteFileError
from hpcwaas.engines.cwl.sites.mirror import DOWNLOADS, Intent, Mirror, Staged
from hpcwaas.engines.cwl.sites.taking import FetchOutputs, Room
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from hpcwaas.errors import Conflict


class Packages:
    """The workflows in the form in which they go to sites: one archive for each version, always with the same bytes.

    Args:
        directory: where they are kept; made when missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self.of = lru_cache(maxsize=256)(self._of)

    def _of(self, root: str) -> tuple[str, Path]:
        """The digest and the place of the archive of a workflow's files."""
        with self._lock, tempfile.TemporaryDirectory(dir=self._directory) as directory:
            draft = Path(directory) / "draft"
            _write_tar(Path(root), draft)
            digest = digest_of(draft)
            path = self._directory / f"{digest}.tar"
            draft.replace(path)  # one that is there already has the same bytes
            return digest, path


def _write_tar(root: Path, target: Path) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            info = tarfile.TarInfo(str(path.relative_to(root)))
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            elif path.is_file():
                info.size = path.stat().st_size
                info.mode = 0o555 if os.access(path, os.X_OK) else 0o444
                with path.open("rb") as file:
                    archive.addfile(info, file)


def download(
    mirror: Mirror,
    intent: Intent,
    networks: Networks | None,
    most: int,
    fetch_outputs: FetchOutputs,
    wanted: Callable[[], bool],
) -> None:
    """Fetches what users named by addresses, and outputs that lie elsewhere, as far as that isn't done, by the same
    rules as for executions here.

    Args:
        most: bytes that one file may have, and all outputs together.
        wanted: whether to go on.

    Raises:
        FetchError: a file can't be had, or must not, or isn't wanted any more.
        Untakable, Unwanted: an output, likewise.
        ServiceError: one can't be had just now.
        OSError: the disk of the service is full or broken.
    """
    directory = mirror.execution(intent.id)
    for number, (url, _) in enumerate(intent.downloads):
        place = f"{DOWNLOADS}/{number}"
        file = directory / place
        if not file.exists():
            if networks is None:
                raise Conflict("Input files can't be URLs any more (setting cwl.http_inputs).")
            file.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=file.parent) as draft:
                fetch(url, Path(draft) / "file", most, FETCH_TIMEOUT, networks.permit, wanted)
                (Path(draft) / "file").replace(file)
    room = Room(most)
    missing = []
    for place, taken in _taken(intent):
        if (file := directory / place).exists():
            room.take(file.stat().st_size)
        else:
            missing.append((taken, file))
    fetch_outputs(missing, room, wanted)
    downloaded(mirror, intent)  # computes digests, which others are not to wait for


def _taken(intent: Intent) -> Iterator[tuple[str, TakenOutput]]:
    """What is taken from elsewhere, with its places."""
    for number, taken in enumerate(intent.taken):
        yield f"{DOWNLOADS}/taken-{number}", taken


def downloaded(mirror: Mirror, intent: Intent) -> tuple[Staged, ...] | None:
    """What `download` has fetched; None when something is missing."""
    directory = mirror.execution(intent.id)
    places: list[tuple[str, str, str | None]] = [
        (f"{DOWNLOADS}/{number}", target, None) for number, (_, target) in enumerate(intent.downloads)
    ]
    places += [(place, each.target, "tar" if each.kind == "Directory" else None) for place, each in _taken(intent)]
    if not all((directory / place).exists() for place, _, _ in places):
        return None
    return tuple(Staged(place, digest_of(directory / place), target, unpack) for place, target, unpack in places)


def digest_of(path: Path) -> str:
    """By which a content is known. It is computed once: files are large, and others wait where it is asked for."""
    found = path.stat()
    return _digest_of(path, (found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=4096)
def _digest_of(path: Path, _version: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def send(connection: Connection, work_dir: str, missing: Mapping[str, Path], wanted: Callable[[], bool]) -> set[str]:
    """Sends contents, going on with what an earlier attempt left. The agent verifies them afterwards.

    Args:
        missing: their places here, by their digests.
        wanted: whether to go on.

    Returns:
        digests of those that are there.

    Raises:
        SiteFailed: the connection was cut.
        RemoteFileError: the site can't take it: its `path` is the name of the file here.
        FileNotFoundError: somebody removed it here.
    """
    there = set()
    for digest, path in missing.items():
        try:
            if connection.put(path, f"{work_dir}/content/{digest}.part", wanted):
                there.add(digest)
        except RemoteFileError as error:
            raise RemoteFileError(error.kind, digest, error.detail) from error
    return there
