"""What the catalogue directory publishes: which files and folders, under which ids, for whom."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from hpcwaas.engines.cwl.workflows.clashes import without_clashes
from hpcwaas.engines.cwl.workflows.convention import Convention, Place, documents_in, looks, main_of
from hpcwaas.engines.cwl.workflows.ids import ID_RULE, usable_id
from hpcwaas.engines.cwl.workflows.ignored import Ignored, never_read
from hpcwaas.engines.cwl.workflows.lookalikes import Group, like_meta_inside
from hpcwaas.engines.cwl.workflows.manifest import MANIFEST, Manifest, made_id, read_manifest
from hpcwaas.engines.cwl.workflows.meant import is_job, strange
from hpcwaas.engines.cwl.workflows.metadata import EVERYBODY, FOLDER_META, Entry, Unusable, make_entry, read_metadata
from hpcwaas.engines.cwl.workflows.named import Match, id_of, match, metadata_beside, missing, or_named, say
from hpcwaas.engines.cwl.workflows.patterns import first_above, is_pattern
from hpcwaas.engines.cwl.workflows.strict_yaml import Unreadable
from hpcwaas.engines.cwl.workflows.tree import DOCUMENT, Folder, grow

Stamps: TypeAlias = Mapping[str, tuple[int, ...]]
"""Of every file in the catalogue, by its path relative to it: what changes when the file does."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the catalogue finds.

    Attributes:
        entries: in order of their ids.
        unusable: likewise; a clash of ids gives one for each of them.
        problems: of what belongs to no workflow, as `name: reason`.
        ignored: files that look like CWL and publish nothing, and why.
        frozen: why the catalogue file isn't understood, or what looks like one. Then nothing may be published that
            wasn't, and nobody be let in: `entries` and `unusable` are only those that were known.
        manifest: changes when the catalogue file does.
    """

    entries: Sequence[Entry]
    unusable: Sequence[Unusable]
    problems: Sequence[str]
    ignored: Sequence[Ignored] = ()
    frozen: str | None = None
    manifest: str = ""


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
    stamps: dict[str, tuple[int, ...]] = {}
    folders = [("", os.scandir(directory))]
    while folders:
        start, entries = folders.pop()
        with entries:
            for entry in entries:
                # What isn't UTF-8 couldn't be said to anybody; it is refused later.
                path = start + os.fsencode(entry.name).decode(errors="replace")
                try:
                    if entry.is_dir():
                        if entry.name != ".git" and not entry.is_symlink():
                            folders.append((f"{path}/", os.scandir(entry.path)))
                        continue
                    status = entry.stat()
                except OSError:
                    # A dangling link, a file that was there a moment ago, or a folder that can't be read.
                    if not entry.is_dir(follow_symlinks=False):
                        stamps[path] = ()
                else:
                    stamps[path] = _stamp(status)
    return stamps


def stamp_of(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty when it isn't there."""
    try:
        return _stamp(path.stat())
    except OSError:
        return ()


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def find_entries(
    directory: Path, stamps: Stamps, known: Collection[tuple[str, str]] = (), manifest: Manifest | None = None
) -> Found:
    """What is published, and what looks as if it should be and can't.

    Args:
        directory: the catalogue, or a checkout.
        stamps: of its files.
        known: sources and ids of what was published or withheld so far: what a folder was, it stays.
        manifest: what to go by instead of the catalogue file.
    """
    return _Look(directory, stamps, frozenset(known), manifest).found()


class _Look:
    """Looks at a catalogue once."""

    def __init__(
        self, directory: Path, stamps: Stamps, known: frozenset[tuple[str, str]], manifest: Manifest | None
    ) -> None:
        self._directory = directory
        self._stamps = stamps
        self._known = known
        self._tree = grow(stamps)
        self._manifest, self._frozen = (manifest, None) if manifest else self._read_manifest()
        self._matches, self._problems = match(self._manifest, self._tree)
        self._named = frozenset(each.path for each in self._matches)
        # What the catalogue file names is what it says: a document, or the metadata of one.
        exact = {path for path in self._manifest.ignore if not is_pattern(path)}
        self._excused = frozenset({*exact, *self._named, *map(metadata_beside, self._named)})
        self._convention = Convention(
            {source: workflow_id for source, workflow_id in known if source != MANIFEST},
            self._harmless_in,
            lambda folder: strange(directory, stamps, folder),
            self._excused.__contains__,
            lambda path: path in self._excused or bool(self._is_ignored(path)),
        )
        self._looks: dict[str, Mapping[str, Sequence[str]]] = {}
        self._named_in: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self._named):
            self._named_in[path.rpartition("/")[0]].append(path)

    def found(self) -> Found:
        """What it finds."""
        places = self._convention.places(self._tree.top)
        self._by_path = {each.folder.at(each.document): each for each in places if each.document is not None}
        self._by_folder = {each.source: each for each in places if each.document is None}
        ignored = {each.path: each for each in never_read(self._tree, self._convention.parts)}
        told: list[Entry | Unusable] = [*map(self._named_entry, self._matches)]
        for place in places:
            if reason := self._passed_over(place):
                paths = documents_in(place.folder) if place.document is None else [place.path]
                ignored.update((path, Ignored(path, reason)) for path in paths)
            else:
                told.append(self._entry(place))
        told = without_clashes(map(_not_unreadable, told), self._known)
        problems = [*self._convention.problems, *self._problems, *([self._frozen] if self._frozen else [])]
        if self._frozen:
            told = [each for each in told if (each.source, each.id) in self._known]
        entries = sorted((each for each in told if isinstance(each, Entry)), key=lambda entry: entry.id)
        unusable = sorted(
            (each for each in told if isinstance(each, Unusable)), key=lambda item: (item.id, item.source)
        )
        for path in (*(entry.main for entry in entries), *self._named):
            ignored.pop(path, None)
        return Found(
            entries,
            sorted(unusable, key=lambda item: (item.id, item.source)),
            problems,
            sorted(ignored.values(), key=lambda each: each.path),
            self._frozen,
            "" if MANIFEST not in self._stamps else str(self._stamps[MANIFEST]),
        )

    def _read_manifest(self) -> tuple[Manifest, str | None]:
        odd = strange(self._directory, self._stamps, self._tree.top)
        try:
            manifest = read_manifest(self._directory)
        except Unreadable as error:
            return Manifest(), str(error)
        return (Manifest(), "; ".join(odd)) if odd else (manifest, None)

    def _harmless_in(self, folder: Folder) -> Callable[[str, str], bool]:
        """Whether a file of a document's name says nothing that metadata say; gets the names of both."""

        def harmless(file: str, document: str) -> bool:
            path = folder.at(file)
            return bool(self._is_ignored(path)) or is_job(self._directory, self._stamps, path, folder.at(document))

        return harmless

    def _is_ignored(self, path: str) -> str | None:
        return first_above(self._manifest.ignore, path)

    def _passed_over(self, place: Place) -> str | None:
        """Why the convention doesn't publish something, where the catalogue file says so."""
        if place.path in self._named:
            return f"{MANIFEST} names it"
        if not self._manifest.convention:
            return f"{MANIFEST} says `convention: false` and doesn't name it"
        if pattern := self._is_ignored(place.path):
            return f"{MANIFEST} ignores {pattern}"
        if place.document is not None:
            return None
        main = self._likely_main(place)
        if main in self._named:
            return f"{MANIFEST} names {main}"
        if place.once and self._named_in.get(place.folder.path):
            return f"{MANIFEST} names documents of it"
        if main and (pattern := self._is_ignored(main)):
            return f"{MANIFEST} ignores {pattern}"
        return None

    def _read(self, meta: str) -> Mapping[str, Any]:
        return read_metadata(self._directory, meta, self._stamps.get(meta, ()))

    def _entry(self, place: Place) -> Entry | Unusable:
        """The entry of what the convention publishes."""
        made = place.made
        if not usable_id(place.id):
            return Unusable(place.id, place.source, self._no_id(place), made=made)
        try:
            said = make_entry(place.id, place.metadata, self._read(place.metadata)) if place.described else None
        except Unreadable as error:
            return Unusable(place.id, place.source, str(error), made=made)
        if place.shut:
            return Unusable(place.id, place.source, "; ".join(place.shut), made=made)
        try:
            main, wrong = self._main(place, said.main if said else ""), ""
        except _NoMain as error:
            main, wrong = "", str(error)
        source = place.source
        entry = (
            replace(said, main=main, source=source, made=made)
            if said
            else Entry(place.id, main, source=source, made=made)
        )
        return Unusable(place.id, source, wrong, entry, made=made) if wrong else entry

    def _main(self, place: Place, main: str) -> str:
        """The main document of a file or folder.

        Args:
            main: what its metadata say of it.
        """
        folder = place.folder
        if main:
            path = folder.at(os.path.normpath(main))
            outside = main.startswith("/") or ".." in main.split("/")
            if outside or path not in self._stamps or (place.document is not None and path != place.path):
                raise _NoMain(f"{place.source}: the metadata name {main!r} as main, but there is no such file")
            return path
        found = place.path if place.document is not None else None if place.once else main_of(folder)
        if found is None:
            several = bool(folder.documents)
            example = next(documents_in(folder)).removeprefix(f"{folder.path}/")
            each = f"*{DOCUMENT}" if several else f"**/*{DOCUMENT}"
            raise _NoMain(
                f"{place.source}: which document is the main one? Call it main.cwl, or name it in meta.yaml: `main: "
                f"{example}`. To publish each for itself, say so in {MANIFEST}: `workflows: [{{document: "
                f'"{folder.at(each)}"}}]`. A folder whose name begins with a dot is not published'
            )
        return found

    def _likely_main(self, place: Place) -> str | None:
        """The main document of a folder, as far as it can be told."""
        try:
            said = self._read(place.metadata) if place.described else {}
            return self._main(place, str(said.get("main", "")).partition("#")[0])
        except (Unreadable, _NoMain):
            return None

    def _no_id(self, place: Place) -> str:
        path = self._likely_main(place) or place.path
        return f"{place.source}: the name becomes the workflow's id and {ID_RULE}; rename it{or_named(path, place.id)}"

    def _named_entry(self, found: Match) -> Entry | Unusable:
        """The entry of what the catalogue file names."""
        label = f"{MANIFEST}:{found.named.line}"
        usual, made = self._usual_id(found.path)
        workflow_id = id_of(found, usual)
        if found.named.id is not None:
            made = workflow_id != made_id(found.named.id, PurePosixPath(found.path), str)
        return replace(self._named_entry_by(found, workflow_id, label), made=made)

    def _named_entry_by(self, found: Match, workflow_id: str, label: str) -> Entry | Unusable:
        if not usable_id(workflow_id):
            return Unusable(
                workflow_id,
                MANIFEST,
                f"{label}: {found.path} would have the id {workflow_id!r}, but an id {ID_RULE}; write `id` out",
            )
        if not found.there:
            entry = replace(found.named.entry, id=workflow_id, source=MANIFEST)
            return Unusable(workflow_id, MANIFEST, missing(found, self._tree), entry)
        if found.others:
            others = " and ".join(found.others)
            return Unusable(workflow_id, MANIFEST, f"{label}: {others} names {found.path} too: name it once")
        try:
            entry = say(found, workflow_id, self._tree, self._read, self._main_of_described)
        except Unreadable as error:
            return Unusable(workflow_id, MANIFEST, str(error))
        if shut := self._shut(found.path):
            return Unusable(workflow_id, MANIFEST, "; ".join(shut))
        return entry

    def _usual_id(self, path: str) -> tuple[str, bool]:
        """The id that a document has without the catalogue file, and whether an id can't have all of its names."""
        if place := self._by_path.get(path):
            return place.id, place.made
        place = self._by_folder.get(f"{path.rpartition('/')[0]}/")
        if place and self._likely_main(place) == path:
            return place.id, place.made
        usual = made_id("{path}", PurePosixPath(path))
        return usual, usual != made_id("{path}", PurePosixPath(path), str)

    def _main_of_described(self, folder: str) -> str | None:
        place = self._by_folder.get(f"{folder}/")
        return self._likely_main(place) if place else None

    def _shut(self, path: str) -> Sequence[str]:
        """Why nothing is known of who may run a document that the catalogue file names, a sentence for each file."""
        if place := self._by_path.get(path):
            return place.shut
        folder = self._tree.folders[path.rpartition("/")[0]]
        reasons = [*self._looks_of_named(folder).get(path, ())]
        for above in folder.above():
            if whole := self._by_folder.get(f"{above.path}/"):
                return [*reasons, *whole.shut]
            if above.path in self._convention.shut:
                return [*reasons, *self._convention.shut[above.path]]
            reasons += self._looks_of_named(above).get("", ())
        return reasons

    def _looks_of_named(self, folder: Folder) -> Mapping[str, Sequence[str]]:
        """What looks like metadata of documents in a folder that only the catalogue file names; of the folder: ``."""
        if (known := self._looks.get(folder.path)) is None:
            paths = {path: f"{PurePosixPath(path).stem}{DOCUMENT}" for path in self._named_in.get(folder.path, ())}
            group = Group(folder, {*paths.values()}, self._harmless_in(folder))
            known = {}
            for path, name in paths.items():
                twin = folder.folders.get(PurePosixPath(path).stem)
                inside = like_meta_inside(twin, name) if twin else []
                files = [*map(folder.at, group.found.get(name, ())), *inside]
                known[path] = [looks(file, path, metadata_beside(path)) for file in files if file not in self._excused]
            right = folder.at(FOLDER_META)
            known[""] = [
                looks(file, f"{folder.path}/", right)
                for file in map(folder.at, group.whole)
                if file not in self._excused
            ]
            self._looks[folder.path] = known
        return known


def _not_unreadable(told: Entry | Unusable) -> Entry | Unusable:
    if isinstance(told, Unusable) or "\N{REPLACEMENT CHARACTER}" not in told.main:
        return told
    reason = f"{told.main}: the name holds what isn't UTF-8; rename it"
    return Unusable(told.id, told.source, reason, made=told.made)
