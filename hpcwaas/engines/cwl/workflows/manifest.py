"""The catalogue file: which documents of a catalogue are published, from where, by which ids, for whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from hpcwaas.engines.cwl.workflows.ids import id_part
from hpcwaas.engines.cwl.workflows.metadata import ENTRY_KEYS, Entry, checked, make_entry
from hpcwaas.engines.cwl.workflows.strict_yaml import Unreadable, items_of, line_of, read, unknown, value_of

MANIFEST = "catalogue.yaml"
"""Name of the catalogue file, which lies at the top of a catalogue."""

MANIFEST_KEYS = ("convention", "ignore", "workflows")
_DOCUMENT_KEYS = tuple(sorted((*ENTRY_KEYS, "document", "id")))
_REFERENCES = ("branch", "commit", "tag")
_GIT_KEYS = tuple(sorted((*ENTRY_KEYS, *_REFERENCES, "git", "id", "path", "prefix")))

_FIELDS = ("name", "folder", "path")
_FIELD = re.compile(r"\{(\w*)\}")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Named:
    """Documents that the catalogue file names.

    Attributes:
        document: their path, or a pattern of paths, relative to the catalogue.
        fragment: the process inside, without `#`; None for the only one or `main`.
        id: what their ids are made of: text with `{name}`, `{folder}` and `{path}`; None: as without a catalogue file.
        entry: what is said of them, with an empty `main`.
        said: the keys that say something.
        line: of the file.
    """

    document: str
    fragment: str | None
    id: str | None
    entry: Entry
    said: Mapping[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class GitSource:
    """A repository whose documents are published.

    Attributes:
        url: as it was given: a URL, `USER@HOST:PATH` or a path.
        tag, commit, branch: one of them says which version.
        path: directory or document inside of the repository, or a pattern of documents; empty for all of it.
        id: what ids are made of, as in `Named`; None: as without a catalogue file.
        prefix: what all ids begin with, as it stands.
        entry: what is said of all its workflows, rights included; its `id` and `main` are empty.
        line: of the catalogue file.
    """

    url: str
    tag: str | None
    commit: str | None
    branch: str | None
    path: str
    id: str | None
    prefix: str
    entry: Entry
    line: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a catalogue file says.

    Attributes:
        convention: whether what it doesn't name is published as without it.
        ignore: patterns of what isn't.
    """

    convention: bool = True
    ignore: tuple[str, ...] = ()
    workflows: tuple[Named, ...] = ()
    git: tuple[GitSource, ...] = ()


def read_manifest(directory: Path) -> Manifest:
    """Reads the catalogue file of a directory, completely or not at all.

    Returns:
        what it says; what none says if there is none.

    Raises:
        Unreadable: it isn't understood, and so permits nothing.
    """
    path = directory / MANIFEST
    try:
        status = path.lstat()
    except FileNotFoundError:
        return Manifest()
    except OSError as error:
        raise Unreadable(f"{MANIFEST}: can't be read ({type(error).__name__})") from error
    if path.is_symlink():
        return _read(directory)
    return _known(directory, (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=64)
def _known(directory: Path, _stamp: tuple[int, ...]) -> Manifest:
    return _read(directory)


def _read(directory: Path) -> Manifest:
    root = read(directory, MANIFEST)
    if not isinstance(root, yaml.MappingNode):
        raise Unreadable(f"{MANIFEST}: expected a map with any of {', '.join(MANIFEST_KEYS)}")
    convention = True
    ignore: tuple[str, ...] = ()
    workflows: list[Named] = []
    git: list[GitSource] = []
    for key, node, place in items_of(MANIFEST, root):
        match key:
            case "convention":
                convention = value_of(MANIFEST, node)
                if not isinstance(convention, bool):
                    raise Unreadable(f"{place}: convention must be true or false")
            case "ignore":
                ignore = _patterns(place, value_of(MANIFEST, node))
            case "workflows":
                for item in _list(place, node):
                    found = _item(item)
                    git.append(found) if isinstance(found, GitSource) else workflows.append(found)
            case _:
                raise unknown(place, key, MANIFEST_KEYS)
    return Manifest(convention, ignore, tuple(workflows), tuple(git))


def _list(place: str, node: yaml.Node) -> Iterator[yaml.MappingNode]:
    if not isinstance(node, yaml.SequenceNode):
        raise Unreadable(f"{place}: workflows must be a list of maps, each with document or git")
    for item in node.value:
        if not isinstance(item, yaml.MappingNode):
            raise Unreadable(f"{MANIFEST}:{line_of(item)}: expected a map with document or git")
        yield item


def _item(node: yaml.MappingNode) -> Named | GitSource:
    line = line_of(node)
    place = f"{MANIFEST}:{line}"
    given = {key for key, _, _ in items_of(MANIFEST, node)}
    known = _GIT_KEYS if "git" in given and "document" not in given else _DOCUMENT_KEYS
    content: dict[str, Any] = {}
    for key, value, where in items_of(MANIFEST, node):
        if key not in known:
            raise unknown(where, key, known)
        plain = value_of(MANIFEST, value)
        content[key] = checked(where, key, plain) if key in ENTRY_KEYS else _text(where, key, plain)
    if not {"document", "git"} & given:
        raise Unreadable(f"{place}: an entry of workflows needs document or git")
    said = {key: value for key, value in content.items() if key in ENTRY_KEYS}
    entry = make_entry("", place, said)
    if known is _GIT_KEYS:
        return _git(place, content, entry, line)
    document, _, fragment = content["document"].partition("#")
    _refuse_outside(place, "document", document)
    return Named(str(PurePosixPath(document)), fragment or None, content.get("id"), entry, said, line)


def _git(place: str, content: Mapping[str, Any], entry: Entry, line: int) -> GitSource:
    tag, commit, branch = (content.get(key) for key in ("tag", "commit", "branch"))
    if sum(each is not None for each in (tag, commit, branch)) != 1:
        raise Unreadable(f"{place}: a git entry needs one of tag, commit and branch, which say what is published of it")
    if commit and not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", commit):
        raise Unreadable(f"{place}: commit must be the whole hash of a commit: 40 or 64 digits and letters a to f")
    path, prefix = content.get("path", ""), content.get("prefix", "")
    if path:
        _refuse_outside(place, "path", path)
    if prefix and not _PREFIX.fullmatch(prefix):
        raise Unreadable(
            f"{place}: prefix begins ids: it may hold letters, digits, '.', '_' and '-' only, and begin with a letter "
            "or digit"
        )
    return GitSource(content["git"], tag, commit, branch, path.strip("/"), content.get("id"), prefix, entry, line)


def _text(place: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        quoted = " (write it in quotes)" if isinstance(value, int | float) else ""
        raise Unreadable(f"{place}: {key} must be a string without blanks at its ends{quoted}")
    if key == "id":
        for field in _FIELD.finditer(value):
            if field[1] not in _FIELDS:
                raise Unreadable(f"{place}: id has {field[0]}; expected any of {{name}}, {{folder}} and {{path}}")
    return value


def _patterns(place: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise Unreadable(f"{place}: ignore must be a list of paths and patterns, such as 'tests/**'")
    for item in value:
        _refuse_outside(place, "ignore", item)
    return tuple(value)


def _refuse_outside(place: str, key: str, path: str) -> None:
    if not path or path.startswith("/") or ".." in PurePosixPath(path).parts or "\\" in path:
        raise Unreadable(f"{place}: {key} must be a path below the catalogue, with `/` between folders, not {path!r}")


def made_id(template: str, path: PurePosixPath, part: Callable[[str], str] = id_part) -> str:
    """The id that a template makes for a document.

    Args:
        path: of the document, relative to the catalogue.
        part: what a name is in it.
    """
    folder, name = ".".join(map(part, path.parts[:-1])), part(path.stem)
    values = {"name": name, "folder": folder, "path": f"{folder}.{name}".lstrip(".")}
    return _FIELD.sub(lambda match: values[match[1]], template)
