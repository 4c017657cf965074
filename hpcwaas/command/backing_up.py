"""Makes a backup, while the service runs.

The records come first, as they are at one moment, the files after them. So files may be newer than the records: of what
was deleted in between the backup says so, and of what came in between it holds nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, TypeAlias

from hpcwaas import __version__
from hpcwaas.common.archive import ArchiveWriter
from hpcwaas.engines.registry import registry
from hpcwaas.store import dump
from hpcwaas.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hpcwaas.configuration.settings import Settings

PRODUCT, FORMAT = "hpcwaas", 1
STORE, FILES, ENGINES, AUDIT = "store", "files", "engines", "audit"
"""The first folders of a backup."""

_LEFT_OUT = ("listings", "sessions", "tickets", "counters", "facts")
"""Tables of what is known anew soon, and of what must not count again: who signed out after the backup stays so."""

Chosen: TypeAlias = Callable[[PurePosixPath, Sequence[str]], Sequence[str]]

_TOLD = 1000
"""Files that a backup names which couldn't be read."""


@dataclass(slots=True)
class Made:
    """What is in a backup.

    Attributes:
        rows: of the store.
        files: of uploads, executions and the audit.
        bytes: of all that, before it is compressed.
        written: bytes of the backup.
        gone: rows of what was deleted while the backup was made.
        missing: what couldn't be read or has no content, in sentences.
    """

    rows: int = 0
    files: int = 0
    bytes: int = 0
    written: int = 0
    gone: int = 0
    missing: list[str] = field(default_factory=list)


def places(settings: Settings) -> Mapping[str, Path]:
    """The directories that are in a backup, by their names in it."""
    engines = {
        f"{ENGINES}/{entry.name}": (settings.shared if entry.shares else settings.data_dir) / entry.name
        for entry in registry().entries
    }
    return {FILES: settings.shared / "files", **engines}


def audit_files(file: Path) -> list[Path]:
    """The audit and what was moved aside of it."""
    aside = sorted(path for path in file.parent.glob(f"{file.name}[.-]*") if path.is_file())
    return [*aside, *([file] if file.is_file() else [])]


def make_backup(settings: Settings, stream: IO[bytes], *, compressed: bool) -> Made:
    """Writes a backup.

    Raises:
        ConfigurationError, Unavailable: the store can't be read.
        OSError: the backup can't be written, or a file not be read to its end.
    """
    made = Made()
    with closing(Database(settings.database_url)) as database:
        with database.snapshot() as connection:
            head = {
                "product": PRODUCT,
                "format": FORMAT,
                "version": __version__,
                "schema": dump.revision(connection),
                "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            archive = ArchiveWriter(stream, head, compressed=compressed)
            ids = _write_store(connection, archive, made)
        with_content = _write_files(settings, archive, ids, made)
        gone = _gone(database, ids)
    without = sorted(ids["uploads"] - with_content - gone["uploads"])
    made.missing += [f"the content of the upload {each} isn't there" for each in without]
    made.gone = sum(map(len, gone.values()))
    archive.finish(
        {
            "rows": made.rows,
            "files": made.files,
            "gone": {name: sorted(found) for name, found in gone.items()},
            "missing": made.missing[:_TOLD],
        }
    )
    made.bytes, made.written = archive.size, archive.written
    return made


def _write_store(connection: Connection, archive: ArchiveWriter, made: Made) -> dict[str, set[str]]:
    """Writes the records. Ids of executions and of uploads."""
    ids: dict[str, set[str]] = {"executions": set(), "uploads": set()}
    for number, (table, piece, rows, found) in enumerate(dump.dump(connection, _LEFT_OUT)):
        archive.put(f"{STORE}/{number:06}-{table}", piece)
        made.rows += rows
        if table in ids:
            ids[table].update(found)
    return ids


def _write_files(settings: Settings, archive: ArchiveWriter, ids: Mapping[str, set[str]], made: Made) -> set[str]:
    """Writes the files. Ids of the uploads whose content was there."""
    uploads: set[str] = set()
    for name, directory in places(settings).items():
        engine = name.removeprefix(f"{ENGINES}/")

        def chosen(
            folder: PurePosixPath, names: Sequence[str], name: str = name, engine: str = engine
        ) -> Sequence[str]:
            if name == FILES:
                return sorted(ids["uploads"].intersection(names))
            return registry().backed_up(engine, folder, names, ids["executions"])

        for path, inner in _found(directory, chosen, made):
            problem = archive.add(path, f"{name}/{inner}")
            made.files += problem is None and not path.is_dir()
            if name == FILES and problem is None:
                uploads.add(str(inner))
            if problem:
                made.missing.append(f"{path} was left out: {problem}")
    for path in audit_files(settings.audit_file):
        problem = archive.add(path, f"{AUDIT}/{path.name}")
        made.files += problem is None
        if problem:
            made.missing.append(f"{path} was left out: {problem}")
    return uploads


def _found(directory: Path, chosen: Chosen, made: Made) -> Iterator[tuple[Path, PurePosixPath]]:
    """What is chosen below a directory, with its path relative to that; folders before what is in them, the files of a
    folder before its folders."""
    folders = deque([PurePosixPath()])
    while folders:
        folder = folders.pop()
        try:
            inside = {entry.name: entry.is_dir(follow_symlinks=False) for entry in os.scandir(directory / folder)}
        except FileNotFoundError:
            continue
        except OSError as error:
            made.missing.append(f"{directory / folder} was left out: {error.strerror}")
            continue
        names = chosen(folder, [*inside])
        for name in sorted(names, key=inside.__getitem__):  # what is no folder first, in the order that was chosen
            yield directory / folder / name, folder / name
        folders.extend(folder / name for name in reversed(names) if inside[name])


def _gone(database: Database, ids: Mapping[str, set[str]]) -> Mapping[str, set[str]]:
    """Which of those ids are in the store no more."""
    gone = {name: set(found) for name, found in ids.items()}
    with database.snapshot() as connection:
        for name, left in gone.items():
            for each in dump.ids(connection, name):
                left.discard(each)
    return gone
