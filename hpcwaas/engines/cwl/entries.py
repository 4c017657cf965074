"""What the catalogue directory publishes: which files and folders, under which ids, for whom."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import yaml

Stamps: TypeAlias = Mapping[str, tuple[int, ...]]
"""Of every file in the catalogue, by its path relative to it: what changes when the file does."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_META = ".meta.yaml"
_MAIN_NAMES = ("main.cwl", "workflow.cwl")
_KEYS = ("authorized_groups", "authorized_users", "main", "name", "ssh_keys")
_LISTS = {"authorized_groups": "groups", "authorized_users": "user ids", "ssh_keys": "names of inputs"}
"""Keys whose values are lists, and of what."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One workflow to publish.

    Attributes:
        main: path of its main document, relative to the catalogue.
        fragment: process to run inside that document, without `#`; None for the only one or `main`.
        authorized_users: who may run it.
        authorized_groups: whose members may run it; both None means everybody.
        ssh_keys: names of the inputs that take ids of SSH keys.
    """

    id: str
    main: str
    fragment: str | None = None
    name: str | None = None
    authorized_users: tuple[str, ...] | None = None
    ssh_keys: tuple[str, ...] = ()
    authorized_groups: tuple[str, ...] | None = None


class _Unusable(Exception):
    """Why a file or folder publishes nothing; begins with the file."""


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


def find_entries(directory: Path, stamps: Stamps) -> tuple[list[Entry], list[str]]:
    """What is published, and what looks as if it should be and can't.

    Returns:
        entries in order of their ids, and problems as `name: reason`.
    """
    paths = [PurePosixPath(path) for path in stamps]
    paths = [path for path in paths if len(path.parts) <= 2 and not any(part.startswith(".") for part in path.parts)]
    documents = [path for path in paths if path.suffix == ".cwl"]
    found: list[tuple[str, Entry]] = []
    problems: list[str] = []
    sources = {str(path): [path] for path in documents if len(path.parts) == 1}
    for path in documents:
        if len(path.parts) == 2:
            sources.setdefault(f"{path.parts[0]}/", []).append(path)
    for source, inside in sources.items():
        try:
            found.append((source, _entry(source, inside, directory, stamps)))
        except _Unusable as error:
            problems.append(str(error))
    problems += _orphans(paths)
    count = Counter(entry.id for _, entry in found)
    for source, entry in found:
        if count[entry.id] > 1:
            problems.append(f"{source}: another entry has the id {entry.id} too; neither is published")
    entries = sorted((entry for _, entry in found if count[entry.id] == 1), key=lambda entry: entry.id)
    return entries, problems


def _entry(source: str, documents: list[PurePosixPath], directory: Path, stamps: Stamps) -> Entry:
    """The entry that a file (`name.cwl`) or folder (`name/`) publishes."""
    if source.endswith("/"):
        name, meta = source[:-1], f"{source}meta.yaml"
    else:
        name = source.removesuffix(".cwl")
        meta = f"{name}{_META}"
    if not _ID.fullmatch(name):
        raise _Unusable(
            f"{source}: the name becomes the workflow's id and may hold letters, digits, '.', '_' and '-' only, "
            "begin with a letter or digit, and have 100 characters at most"
        )
    metadata = _metadata(directory, meta) if meta in stamps else {}
    main, _, fragment = metadata.get("main", "").partition("#")
    users, groups = metadata.get("authorized_users"), metadata.get("authorized_groups")
    return Entry(
        id=name,
        main=_main(source, name, documents, main, stamps),
        fragment=fragment or None,
        name=metadata.get("name"),
        authorized_users=None if users is None else tuple(users),
        authorized_groups=None if groups is None else tuple(groups),
        ssh_keys=tuple(metadata.get("ssh_keys", ())),
    )


def _main(source: str, name: str, documents: list[PurePosixPath], main: str, stamps: Stamps) -> str:
    """The main document of a file or folder."""
    folder = documents[0].parent
    if main:
        path = folder / main
        if ".." in path.parts or str(path) not in stamps or (str(folder) == "." and path != documents[0]):
            raise _Unusable(f"{source}: main is {main!r} in the metadata, and there is no such file here")
        return str(path)
    if len(documents) == 1:
        return str(documents[0])
    for candidate in (*_MAIN_NAMES, f"{name}.cwl"):
        if folder / candidate in documents:
            return str(folder / candidate)
    raise _Unusable(
        f"{source}: which document is the main one? Call it main.cwl, or name it in meta.yaml: `main: "
        f"{documents[0].name}`. A folder whose name begins with a dot is not published"
    )


def _metadata(directory: Path, meta: str) -> dict[str, Any]:
    """Reads a metadata file completely or not at all: half-understood, it could open a workflow to everybody."""
    try:
        content = yaml.safe_load((directory / meta).read_text("utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _Unusable(f"{meta}{line}: {error.problem}; the workflow is not published") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _Unusable(f"{meta}: can't be read ({type(error).__name__}); the workflow is not published") from error
    return {str(key): value for key, value in _checked(meta, content)}


def _checked(meta: str, content: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict):
        raise _Unusable(f"{meta}: expected a map with any of {', '.join(_KEYS)}; the workflow is not published")
    for key, value in content.items():
        match key, value:
            case (("name" | "main"), str()) if value.strip():
                yield key, value
            case str(), list() if key in _LISTS and all(isinstance(item, str) and item for item in value):
                yield key, value
            case str(), _ if key in _KEYS:
                expected = f"a list of {_LISTS[key]}, each a string" if key in _LISTS else "a string"
                raise _Unusable(f"{meta}: {key} must be {expected}; the workflow is not published")
            case _:
                raise _Unusable(
                    f"{meta}: unknown key {key!r}, expected any of {', '.join(_KEYS)}; the workflow is not published"
                )


def _orphans(paths: list[PurePosixPath]) -> Iterator[str]:
    """Metadata that belongs to nothing: a misspelt name would leave a workflow open to everybody."""
    for path in paths:
        if len(path.parts) == 1 and path.name.endswith((_META, ".meta.yml")):
            stem = path.name.rpartition(".meta.")[0]
            if path.suffix == ".yml" or PurePosixPath(f"{stem}.cwl") not in paths:
                yield f"{path}: belongs to no workflow; the metadata of NAME.cwl are called NAME{_META}"
