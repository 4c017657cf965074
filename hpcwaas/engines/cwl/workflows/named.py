"""The documents that the catalogue file names: which they are, and what is said of each in all places together."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from hpcwaas.engines.cwl.workflows.manifest import MANIFEST, Manifest, Named, made_id
from hpcwaas.engines.cwl.workflows.metadata import FOLDER_META, MARK, RIGHTS, Entry, make_entry
from hpcwaas.engines.cwl.workflows.patterns import compiled, first_above, is_pattern
from hpcwaas.engines.cwl.workflows.strict_yaml import Unreadable
from hpcwaas.engines.cwl.workflows.tree import DOCUMENT, Tree

_OF_PARTS = (*RIGHTS, "limits", "retention", "sites", "slurm", "time_limit")
"""What the metadata of a folder say of all that lies in it, and not of its main document alone."""


@dataclass(frozen=True, slots=True)
class Match:
    """A document that the catalogue file names.

    Attributes:
        path: of the document.
        others: places of other entries that name it too.
        there: whether there is such a file.
    """

    named: Named
    path: str
    others: tuple[str, ...] = ()
    there: bool = True


def match(manifest: Manifest, tree: Tree) -> tuple[list[Match], list[str]]:
    """Finds the documents that a catalogue file names.

    Returns:
        the documents, and what is wrong with entries that name none, a sentence each.
    """
    visible = sorted(folder.at(name) for folder in tree.folders.values() for name in folder.files if name[0] != ".")
    there = frozenset(visible)
    plain: dict[str, list[Named]] = {}
    globs: dict[str, list[Named]] = {}
    problems = []
    for named in manifest.workflows:
        if not is_pattern(named.document) or named.document in there:
            plain.setdefault(named.document, []).append(named)
            continue
        paths = [path for path in _taken(named.document, visible) if not first_above(manifest.ignore, path)]
        for path in paths:
            globs.setdefault(path, []).append(named)
        if not paths:
            problems.append(f"{MANIFEST}:{named.line}: no document matches {named.document}")
    found = []
    for path, names in [*plain.items(), *((path, names) for path, names in globs.items() if path not in plain)]:
        for named in names:
            others = tuple(
                f"{MANIFEST}:{other.line}"
                for other in names
                if other is not named and (other.fragment == named.fragment or path not in plain)
            )
            found.append(Match(named, path, others, path in there))
    return found, problems


def _taken(pattern: str, visible: Sequence[str]) -> Iterator[str]:
    """Those of some paths in order that a pattern takes."""
    names = pattern.split("/")
    fixed = next((number for number, name in enumerate(names) if is_pattern(name)), 0)
    start = "".join(f"{name}/" for name in names[:fixed])
    for path in visible[bisect_left(visible, start) :]:
        if not path.startswith(start):
            return
        if compiled(pattern).takes(path):
            yield path


def id_of(found: Match, default: str) -> str:
    """The id of a document.

    Args:
        default: the one that it has without the catalogue file.
    """
    if found.named.id is not None:
        return made_id(found.named.id, PurePosixPath(found.path))
    return f"{default}.{found.named.fragment}" if found.named.fragment else default


def metadata_beside(path: str) -> str:
    """Path of the metadata beside a document of any ending."""
    document = PurePosixPath(path)
    return str(document.with_name(f"{document.stem}{MARK}"))


def say(
    found: Match,
    workflow_id: str,
    tree: Tree,
    read: Callable[[str], Mapping[str, Any]],
    main_of: Callable[[str], str | None],
) -> Entry:
    """The entry of a document: what the catalogue file says of it, and what metadata beside it and above it say.

    Args:
        read: what a metadata file says.
        main_of: path of the main document of a folder that has metadata, by the folder's path.

    Raises:
        Unreadable: they aren't understood, or contradict each other: that permits nothing.
    """
    named, place = found.named, f"{MANIFEST}:{found.named.line}"
    said: list[tuple[str, Mapping[str, Any]]] = [(place, named.said)]
    fragment = named.fragment
    folder = tree.folders[found.path.rpartition("/")[0]]
    beside = metadata_beside(found.path)
    statements = [(beside, read(beside), True)] if PurePosixPath(beside).name in folder.files else []
    for above in folder.above():
        if FOLDER_META in above.files:
            meta = above.at(FOLDER_META)
            statements.append((meta, read(meta), main_of(above.path) == found.path))
    for meta, content, whole in statements:
        said.append((meta, {key: value for key, value in content.items() if whole or key in _OF_PARTS}))
        inside = str(content.get("main", "")).partition("#")[2] if whole else ""
        if inside and fragment and inside != fragment:
            raise Unreadable(f"{meta}: main names another process of {found.path} than {place}: say it in one place")
        fragment = fragment or inside or None
    entry = make_entry(workflow_id, place, _together(said))
    return replace(entry, main=found.path, fragment=fragment, source=MANIFEST)


def _together(said: Sequence[tuple[str, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """What several places say, where none contradicts another."""
    content: dict[str, Any] = {}
    by: dict[str, str] = {}
    for place, each in said:
        if rights := {key: each[key] for key in RIGHTS if key in each}:
            first = by.setdefault("rights", place)
            if first != place and _plain(rights) != _plain({key: content[key] for key in RIGHTS if key in content}):
                raise Unreadable(
                    f"{first} and {place} say differently who may run it ({' and '.join(RIGHTS)}): say it in one place"
                )
            content |= rights
        for key, value in each.items():
            if key in RIGHTS or key == "main":
                continue
            if key in content and _plain(content[key]) != _plain(value):
                raise Unreadable(f"{by[key]} and {place} say different things of {key}: say it in one place")
            content[key] = value
            by.setdefault(key, place)
    return content


def _plain(value: Any) -> Any:
    """A value without the order of its lists."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return frozenset(value) if isinstance(value, tuple) else value


def missing(found: Match, tree: Tree) -> str:
    """What to say of a document that isn't there."""
    named, name = found.named, PurePosixPath(found.path).name
    if any(part.startswith(".") for part in PurePosixPath(found.path).parts):
        return f"{MANIFEST}:{named.line}: {found.path} is hidden: what begins with a dot is not published"
    folder = tree.folders.get(found.path.rpartition("/")[0])
    near = get_close_matches(name, folder.documents if folder else [], n=1)
    meant = f"; did you mean {folder.at(near[0])}?" if folder and near else ""
    return f"{MANIFEST}:{named.line}: there is no file {found.path}{meant}"


def or_named(path: str, workflow_id: str) -> str:
    """What else to do than to rename a document whose id can't be used; nothing where the catalogue file can't name it.

    Args:
        workflow_id: to give it, as far as an id can have that.
    """
    if "#" in path or "\\" in path or not path.isprintable():
        return ""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", workflow_id).strip("-._")[:100] or "workflow"
    document = path if re.fullmatch(r"[\w./-]+", path.removesuffix(DOCUMENT), re.ASCII) else json.dumps(path)
    return f", or give it an id in {MANIFEST}: `workflows: [{{document: {document}, id: {plain}}}]`"
