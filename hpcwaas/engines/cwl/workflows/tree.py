"""The folders of a catalogue, and what lies in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hpcwaas.engines.cwl.workflows.ids import id_part

DOCUMENT = ".cwl"
"""What the names of documents end in."""

DEPTH = 50
"""Folders that may be around a document: the id of what lies deeper would be too long by far."""


@dataclass(slots=True)
class Folder:
    """A folder whose name, and those of the folders above it, begin with no dot.

    Attributes:
        path: relative to the catalogue; empty for the catalogue itself.
        files: names of the files directly in it, hidden ones included.
        documents: those of them that are documents by their names.
        full: whether there is a document in it, or in a folder in it.
    """

    path: str
    parent: Folder | None = None
    files: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)
    full: bool = False

    @property
    def name(self) -> str:
        """Its name; empty for the catalogue itself."""
        return self.path.rpartition("/")[2]

    @property
    def id(self) -> str:
        """The id of the workflow that it is, if it is one."""
        return ".".join(map(id_part, self.path.split("/")))

    def at(self, name: str) -> str:
        """The path of something in it."""
        return f"{self.path}/{name}" if self.path else name

    def above(self) -> Iterator[Folder]:
        """It, and the folders above it, but not the catalogue itself."""
        folder: Folder | None = self
        while folder is not None and folder.path:
            yield folder
            folder = folder.parent


@dataclass(slots=True)
class Tree:
    """All folders of a catalogue.

    Attributes:
        hidden: paths of documents whose name, or that of a folder above, begins with a dot.
        deep: paths of documents in too many folders.
    """

    folders: dict[str, Folder]
    hidden: list[str]
    deep: list[str]

    @property
    def top(self) -> Folder:
        """The catalogue itself."""
        return self.folders[""]


def grow(paths: Iterable[str]) -> Tree:
    """The folders that some files lie in.

    Args:
        paths: of all files of a catalogue, in any order.
    """
    tree = Tree({"": Folder("")}, [], [])
    for path in sorted(paths):
        place, _, name = path.rpartition("/")
        if "/." in f"/{place}":
            if name.endswith(DOCUMENT):
                tree.hidden.append(path)
            continue
        if place.count("/") >= DEPTH:
            if name.endswith(DOCUMENT):
                tree.deep.append(path)
            continue
        folder = _folder(tree.folders, place)
        folder.files.append(name)
        if not name.endswith(DOCUMENT):
            continue
        if name.startswith("."):
            tree.hidden.append(path)
            continue
        folder.documents.append(name)
        holder: Folder | None = folder
        while holder is not None and not holder.full:
            holder.full = True
            holder = holder.parent
    return tree


def _folder(folders: dict[str, Folder], path: str) -> Folder:
    if (known := folders.get(path)) is not None:
        return known
    folder = folders[""]
    for name in path.split("/"):
        place = folder.at(name)
        if (inner := folders.get(place)) is None:
            inner = folders[place] = folder.folders[name] = Folder(place, folder)
        folder = inner
    return folder
