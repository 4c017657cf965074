"""What a catalogue publishes by itself: which documents and folders are workflows, and by which ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hpcwaas.engines.cwl.workflows.ids import id_part
from hpcwaas.engines.cwl.workflows.lookalikes import Group, like_folder_meta, like_meta_inside
from hpcwaas.engines.cwl.workflows.metadata import FOLDER_META, MARK, metadata_of
from hpcwaas.engines.cwl.workflows.tree import DOCUMENT, Folder

MAIN_NAMES = ("main.cwl", "workflow.cwl")


@dataclass(frozen=True, slots=True)
class Place:
    """Something that may publish a workflow.

    Attributes:
        source: `a/NAME.cwl` or `a/FOLDER/`.
        folder: that the document lies in, or that it is.
        document: name of the document; None for a folder that is one workflow.
        shut: why nothing is known of who may run it, a sentence for each file: it permits nothing.
        once: it is published as one workflow, though it doesn't look like one any more.
    """

    source: str
    id: str
    folder: Folder
    document: str | None
    shut: tuple[str, ...] = ()
    once: bool = False

    @property
    def path(self) -> str:
        """Path of the document, or of the folder."""
        return self.folder.path if self.document is None else self.folder.at(self.document)

    @property
    def made(self) -> bool:
        """Whether an id can't have all of the names that this one is made of."""
        return self.id not in (each.replace("/", ".") for each in (self.folder.path, self.path.removesuffix(DOCUMENT)))

    @property
    def metadata(self) -> str:
        """Path of the file that its metadata are in, if it is there."""
        return self.folder.at(FOLDER_META if self.document is None else f"{self.document.removesuffix(DOCUMENT)}{MARK}")

    @property
    def described(self) -> bool:
        """Whether that file is there."""
        return self.metadata.rpartition("/")[2] in self.folder.files


@dataclass(slots=True)
class Convention:
    """Walks through a catalogue.

    Args:
        known: ids of the sources that were published or withheld so far: what a folder was, it stays.
        harmless: of a folder, whether a file of a document's name says nothing that metadata say; gets the names of
            both.
        strange: paths of files in a folder that look like another catalogue's file.
        excused: whether the catalogue file says that a file isn't metadata, whatever it looks like.
        ignored: whether it says that nothing is to be said of a file.

    Attributes:
        problems: of what belongs to no workflow, as `path: reason`.
        parts: documents that aren't published by themselves, and the source that they are parts of.
        shut: of each folder that isn't one workflow, why what lies in it permits nothing.
    """

    known: Mapping[str, str]
    harmless: Callable[[Folder], Callable[[str, str], bool]]
    strange: Callable[[Folder], Sequence[str]]
    excused: Callable[[str], bool]
    ignored: Callable[[str], bool]
    problems: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    shut: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def places(self, top: Folder) -> list[Place]:
        """Everything in a catalogue that may publish a workflow."""
        return self._walk(top, ())

    def _walk(self, folder: Folder, shut: tuple[str, ...]) -> list[Place]:
        """What a folder publishes that isn't one workflow."""
        inner = [each for each in folder.folders.values() if each.full]
        group = Group(folder, [*folder.documents, *(f"{each.name}/" for each in inner)], self.harmless(folder))
        whole = [path for path in map(folder.at, group.whole) if not self.excused(path)]
        if folder.path:
            shut += (*self._odd(f"{folder.path}/", whole), *self.strange(folder))
            general = shut
        else:  # folders that are one workflow have always had metadata of their own only
            general = tuple(
                f"{path}: looks like metadata of all that lies here; rename it, or move it away" for path in whole
            )
        self.shut[folder.path] = shut
        self.problems += [
            f"{path}: belongs to no workflow; the metadata of NAME.cwl are called NAME{MARK}"
            for path in map(folder.at, group.orphans)
            if not self.ignored(path)
        ]
        beside = {source: self._odd(folder.at(source), map(folder.at, names)) for source, names in group.found.items()}
        found, ids = [], self._ids(folder)
        for name in folder.documents:
            twin = folder.folders.get(name.removesuffix(DOCUMENT))
            inside = like_meta_inside(twin, name) if twin else []
            source = folder.at(name)
            own = self._odd(source, inside)
            found.append(Place(source, ids[name], folder, name, (*shut, *own, *beside.get(name, ()))))
        for each in inner:
            own = beside.get(f"{each.name}/", ())
            found += self._folder(each, (*shut, *own), (*general, *own))
        return found

    def _folder(self, folder: Folder, shut: tuple[str, ...], several: tuple[str, ...]) -> list[Place]:
        """What a folder publishes.

        Args:
            shut: why that permits nothing, if the folder is one workflow.
            several: likewise, if it isn't.
        """
        source = f"{folder.path}/"
        described = FOLDER_META in folder.files
        separate = any(folder.at(name) in self.known for name in folder.documents)
        once = source in self.known
        one = described or (not separate and _is_one(folder))
        if not one and not once:
            return self._walk(folder, several)
        self.parts.update((path, source) for path in documents_in(folder))
        main, harmless = (main_of(folder) or "").rpartition("/")[2], self.harmless(folder)
        odd = self._odd(source, like_folder_meta(folder, lambda file: bool(main) and harmless(file, main)))
        return [Place(source, folder.id, folder, None, (*shut, *odd), once=not one)]

    def _odd(self, source: str, paths: Iterable[str]) -> tuple[str, ...]:
        """What to say of files that look like metadata of a source."""
        return tuple(looks(path, source, metadata_of(source)) for path in paths if not self.excused(path))

    def _ids(self, folder: Folder) -> Mapping[str, str]:
        """The ids of the documents in a folder: its own for the main one, where that is clear, else one for each."""
        stems = {name: name.removesuffix(DOCUMENT) for name in folder.documents}
        ids = {name: f"{folder.id}.{id_part(stem)}" if folder.path else id_part(stem) for name, stem in stems.items()}
        if "/" not in folder.path:
            return ids
        before = {name: self.known.get(folder.at(name)) for name in folder.documents}
        main = next((name for name, known in before.items() if known == folder.id), None)
        if main is None:
            new = [name for name, known in before.items() if known != ids[name]]
            main = next((name for name in new if stems[name] == folder.name or len(stems) == 1), None)
        return ids if main is None else {**ids, main: folder.id}


def _is_one(folder: Folder) -> bool:
    """Whether a folder without metadata is one workflow, and all that lies in it are its parts."""
    if any(name in folder.documents for name in MAIN_NAMES):
        return True
    at_the_top = "/" not in folder.path
    return at_the_top and (len(folder.documents) == 1 or f"{folder.name}{DOCUMENT}" in folder.documents)


def main_of(folder: Folder) -> str | None:
    """Path of the main document of a folder that is one workflow; None when it can't be told."""
    if len(folder.documents) == 1:
        return folder.at(folder.documents[0])
    names = (*MAIN_NAMES, f"{folder.name}{DOCUMENT}")
    return next((folder.at(name) for name in names if name in folder.documents), None)


def documents_in(folder: Folder) -> Iterator[str]:
    """Paths of the documents in a folder and the folders in it."""
    yield from map(folder.at, folder.documents)
    for inner in folder.folders.values():
        yield from documents_in(inner)


def looks(path: str, source: str, right: str) -> str:
    """What to say of a file that looks like metadata of a source, which are read from the right one only."""
    return (
        f"{path}: looks like metadata of {source}, which are read from {right} only; rename it, or move it away if it "
        "is something else"
    )
