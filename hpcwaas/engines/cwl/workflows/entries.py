"""What the catalogue directory publishes: which files and folders, under which ids, for whom."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from hpcwaas.engines.cwl.workflows.lookalikes import Lookalikes
from hpcwaas.engines.cwl.workflows.metadata import EVERYBODY, Entry, make_entry, metadata_of, read_metadata
from hpcwaas.engines.cwl.workflows.strict_yaml import Unreadable

Stamps: TypeAlias = Mapping[str, tuple[int, ...]]
"""Of every file in the catalogue, by its path relative to it: what changes when the file does."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAIN_NAMES = ("main.cwl", "workflow.cwl")


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file or folder that publishes nothing as it is.

    Attributes:
        source: `NAME.cwl` or `NAME/`.
        reason: begins with a file, and its line where there is one.
        entry: what its metadata say, with an empty `main` when it can't be told. None: they aren't understood, and so
            permit nothing.
    """

    id: str
    source: str
    reason: str
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the catalogue finds.

    Attributes:
        entries: in order of their ids.
        unusable: likewise; a clash of ids gives one for each of them.
        problems: of what belongs to no workflow, as `name: reason`.
    """

    entries: Sequence[Entry]
    unusable: Sequence[Unusable]
    problems: Sequence[str]


class _NoMain(Exception):
    """Why it can't be told which document to run; begins with the file."""


def permitted_by(entry: Entry, without_metadata: str) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """The users and groups who may run an entry; two times None for everybody.

    Args:
        without_metadata: who may run what doesn't say who: `everybody` or `nobody`.
    """
    if entry.unrestricted and without_metadata != EVERYBODY:
        return frozenset(), None
    users, groups = entry.authorized_users, entry.authorized_groups
    return None if users is None else frozenset(users), None if groups is None else frozenset(groups)


def read_stamps(directory: Path) -> Stamps:
    """Looks at every file of the catalogue without opening any.

    Raises:
        OSError: the directory can't be read.
    """
    next(directory.iterdir(), None)  # os.walk would keep silent about a directory that can't be read.
    stamps: dict[str, tuple[int, ...]] = {}
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(files):
            path = Path(folder, name)
            try:
                status = path.stat()
            except OSError:
                # A dangling link, or a file that was there a moment ago.
                stamp: tuple[int, ...] = ()
            else:
                stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            stamps[str(path.relative_to(directory))] = stamp
    return stamps


def find_entries(directory: Path, stamps: Stamps) -> Found:
    """What is published, and what looks as if it should be and can't."""
    every = [PurePosixPath(path) for path in stamps]
    paths = [path for path in every if len(path.parts) <= 2 and not any(part.startswith(".") for part in path.parts)]
    documents = [path for path in paths if path.suffix == ".cwl"]
    sources = {str(path): [path] for path in documents if len(path.parts) == 1}
    for path in documents:
        if len(path.parts) == 2:
            sources.setdefault(f"{path.parts[0]}/", []).append(path)
    lookalikes = Lookalikes(every, list(sources))
    found: list[tuple[str, Entry]] = []
    unusable: list[Unusable] = []
    for source, inside in sources.items():
        entry = _entry(source, inside, directory, stamps, lookalikes)
        if isinstance(entry, Unusable):
            unusable.append(entry)
        else:
            found.append((source, entry))
    count = Counter(source.removesuffix("/").removesuffix(".cwl") for source in sources)
    for source, entry in found:
        if count[entry.id] > 1:
            unusable.append(Unusable(entry.id, source, f"{source}: another entry has the id {entry.id} too", entry))
    entries = sorted((entry for _, entry in found if count[entry.id] == 1), key=lambda entry: entry.id)
    return Found(entries, sorted(unusable, key=lambda item: (item.id, item.source)), lookalikes.orphans)


def _entry(
    source: str, documents: list[PurePosixPath], directory: Path, stamps: Stamps, lookalikes: Lookalikes
) -> Entry | Unusable:
    """The entry that a file (`name.cwl`) or folder (`name/`) publishes."""
    name = source.removesuffix("/").removesuffix(".cwl")
    if not _ID.fullmatch(name):
        return Unusable(
            name,
            source,
            f"{source}: the name becomes the workflow's id and may hold letters, digits, '.', '_' and '-' only, "
            "begin with a letter or digit, and have 100 characters at most",
        )
    meta = metadata_of(source)
    try:
        content = read_metadata(directory, meta, stamps[meta]) if meta in stamps else None
        entry = Entry(name, "") if content is None else make_entry(name, meta, content)
    except Unreadable as error:
        return Unusable(name, source, str(error))
    if found := lookalikes.beside(source):
        return Unusable(name, source, "; ".join(found))
    try:
        return replace(entry, main=_main(source, name, documents, entry.main, stamps), source=source)
    except _NoMain as error:
        return Unusable(name, source, str(error), replace(entry, main="", source=source))


def _main(source: str, name: str, documents: list[PurePosixPath], main: str, stamps: Stamps) -> str:
    """The main document of a file or folder."""
    folder = documents[0].parent
    if main:
        path = folder / main
        if ".." in path.parts or str(path) not in stamps or (str(folder) == "." and path != documents[0]):
            raise _NoMain(f"{source}: the metadata name {main!r} as main, but there is no such file")
        return str(path)
    if len(documents) == 1:
        return str(documents[0])
    for candidate in (*_MAIN_NAMES, f"{name}.cwl"):
        if folder / candidate in documents:
            return str(folder / candidate)
    raise _NoMain(
        f"{source}: which document is the main one? Call it main.cwl, or name it in meta.yaml: `main: "
        f"{documents[0].name}`. A folder whose name begins with a dot is not published"
    )
