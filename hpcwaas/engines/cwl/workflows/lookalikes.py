"""Files that look like metadata and aren't: a misspelt name must not leave a workflow open to everybody."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache

from hpcwaas.engines.cwl.workflows.ids import id_part
from hpcwaas.engines.cwl.workflows.metadata import FOLDER_META, MARK
from hpcwaas.engines.cwl.workflows.tree import DOCUMENT, Folder

_WORD = re.compile(r"[^._\-\s]+")
_BREAK = re.compile(r"[._\- ]")
_LEFT = re.compile(
    r"(~|#|\.(bak|backup|copy|new|old|orig|part|rej|rpmnew|rpmorig|rpmsave|save|sw[a-z]|tmp|dpkg-\w+|~\d+~))$"
)
"""Ends of the names of what editors and package managers leave beside a file, or write before they replace it."""

_WORDS = ("meta", "metadata")
FORMS = frozenset({"yaml", "yml", "json", "toml", "txt"})
ALIKE = 0.75
"""How alike two words are, by `difflib`, of which one may be a misspelling of the other."""


class Group:
    """What is published by itself of a folder: documents, and folders with documents, and what lies beside them.

    Args:
        folder: that they lie in.
        sources: their names, of folders with a slash at the end.
        harmless: whether a file of a document's name, but for its ending, says nothing that metadata say; gets the
            names of both.

    Attributes:
        found: of each source, the names of the files that look like its metadata.
        whole: names of files that look like metadata of the folder itself, or of all in it.
        orphans: names of files that look like metadata of something that isn't there.
    """

    def __init__(self, folder: Folder, sources: Iterable[str], harmless: Callable[[str, str], bool]) -> None:
        self._folder = folder
        self._files = frozenset(folder.files)
        self._harmless = harmless
        self._by_name: dict[str, list[str]] = {}
        for source in sources:
            self._by_name.setdefault(_name(source), []).append(source)
        self._by_id: dict[str, list[str]] = {}
        for source in [source for each in self._by_name.values() for source in each]:
            if (made := id_part(_bare(source)).casefold()) not in self._by_name:
                self._by_id.setdefault(made, []).append(source)
        right = {_right(source) for each in self._by_name.values() for source in each}
        self.found: dict[str, list[str]] = {}
        self.whole: list[str] = []
        self.orphans: list[str] = []
        for name in folder.files:
            if not name.casefold().endswith(DOCUMENT) and name not in right:
                self._look(name)

    def _look(self, name: str) -> None:
        core = core_of(name)
        owners = [*self._owners(core, name)]
        longest = max((len(source) for source in owners), default=0)
        for source in owners:
            if len(source) == longest and not self._left_beside(source, name):
                self.found.setdefault(source, []).append(name)
        words = words_of(core)
        if not owners and words and (words[-1] in FORMS or is_meta(words[-1])) and any(map(is_meta, words)):
            self._orphan(name, core, form=words[-1] in FORMS)

    def _owners(self, core: str, name: str) -> Iterator[str]:
        """The sources whose metadata a file may be meant to be."""
        places = [match.start() for match in _BREAK.finditer(core)]
        beside = [
            (core[place:], source)
            for place in places
            for source in self._by_name.get(core[:place]) or self._by_id.get(core[:place]) or ()
        ]
        exact = [source for rest, source in beside if rest.startswith(MARK) and not source.endswith("/")]
        if exact:
            yield from exact
            return
        for rest, source in beside:
            words = words_of(rest)
            if any(map(is_meta, words)):
                if words[-1] in FORMS or is_meta(words[-1]):
                    yield source
            elif (
                words
                and words[-1] in ("yaml", "yml")
                and all(word == "cwl" for word in words[:-1])
                and not (source.endswith(DOCUMENT) and self._harmless(name, source))
            ):
                yield source

    def _left_beside(self, source: str, name: str) -> bool:
        right = _right(source)
        return (
            right in self._files and name.casefold() != right.casefold() and core_of(name).startswith(right.casefold())
        )

    def _orphan(self, name: str, core: str, *, form: bool) -> None:
        """Metadata that belong to nothing. Whose they may be meant to be isn't published."""
        start = next(word.start() for word in _WORD.finditer(core) if is_meta(word[0]))
        meant = core[:start].rstrip("._- ")
        if self._folder.path and meant in ("", self._folder.name.casefold()):
            self.whole.append(name)
            return
        if not form:
            return
        self.orphans.append(name)
        if not meant:
            self.whole.append(name)
        for other, sources in self._by_name.items():
            if not meant or _mistaken(meant, other):
                for source in sources:
                    bare = _right(source) not in self._files and not self._described(source)
                    if bare and (meant or not source.endswith("/")):
                        self.found.setdefault(source, []).append(name)

    def _described(self, source: str) -> bool:
        folder = self._folder.folders.get(source.removesuffix("/")) if source.endswith("/") else None
        return folder is not None and FOLDER_META in folder.files


def like_folder_meta(folder: Folder, harmless: Callable[[str], bool]) -> list[str]:
    """Paths of the files in a folder that look like its metadata.

    Args:
        harmless: whether a file of the folder's name says nothing that metadata say.
    """
    described = FOLDER_META in folder.files
    return [
        folder.at(file)
        for file in folder.files
        if file != FOLDER_META
        and _like_folder_meta(file, folder.name.casefold())
        # What an editor leaves beside the right file does no harm: alone it may be all that there is of it.
        and not (described and file.casefold() != FOLDER_META and core_of(file).startswith(FOLDER_META))
        and not (not any(map(is_meta, words_of(core_of(file)))) and harmless(file))
    ]


def like_meta_inside(folder: Folder, document: str) -> list[str]:
    """Paths of the files in a folder that may be meant as metadata of the document of its name.

    In a folder with documents of its own, those that aren't called like anything else.
    """
    right = _right(document)
    start = right.casefold()
    described = folder.parent is not None and right in folder.parent.files
    return [
        folder.at(file)
        for file in folder.files
        if _like_folder_meta(file, _name(document))
        and (not folder.documents or is_meta(words_of(core_of(file))[0]))
        and not (described and file.casefold() != start and core_of(file).startswith(start))
    ]


def _like_folder_meta(file: str, name: str) -> bool:
    if file.casefold().endswith(DOCUMENT):
        return False
    core = core_of(file)
    words = words_of(core)
    form = bool(words) and words[-1] in FORMS
    like = any(map(is_meta, words)) and (form or len(words) == 1 or is_meta(words[-1]))
    return like or core in (f"{name}.yaml", f"{name}.yml") or core.startswith(FOLDER_META)


def _right(source: str) -> str:
    """The name of the metadata of a document; of a folder, that of what lies in it."""
    return f"{source}{FOLDER_META}" if source.endswith("/") else source.removesuffix(DOCUMENT) + MARK


def _name(source: str) -> str:
    return _bare(source).casefold()


def _bare(source: str) -> str:
    return source.removesuffix("/").removesuffix(DOCUMENT)


@lru_cache(maxsize=65536)
def core_of(name: str) -> str:
    """A file's name in small letters, without what editors add."""
    bare = name.casefold().lstrip(".#")
    while (shorter := _LEFT.sub("", bare)) != bare and shorter:
        bare = shorter
    return bare


def _mistaken(name: str, other: str) -> bool:
    """Whether one name may be a misspelling of the other. Those that differ in their numbers are different things."""
    if 2 * min(len(name), len(other)) < ALIKE * (len(name) + len(other)) or _numbers(name) != _numbers(other):
        return False
    matcher = SequenceMatcher(None, name, other)
    return matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE


@lru_cache(maxsize=65536)
def _numbers(text: str) -> Sequence[str]:
    return re.findall(r"\d+", text)


def words_of(text: str) -> list[str]:
    """The words that a name is made of."""
    return _WORD.findall(text)


@lru_cache(maxsize=4096)
def is_meta(word: str) -> bool:
    """Whether a word is `meta` or `metadata`, or may be meant so."""
    return word.startswith("m") and bool(get_close_matches(word, _WORDS, n=1, cutoff=ALIKE))
