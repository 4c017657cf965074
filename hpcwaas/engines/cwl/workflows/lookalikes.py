"""Files that look like metadata and aren't."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import PurePosixPath

from hpcwaas.engines.cwl.workflows.metadata import FOLDER_META, MARK, metadata_of

_WORD = re.compile(r"[^._\-\s]+")
_LEFT = re.compile(
    r"(~|#|\.(bak|backup|copy|new|old|orig|part|rej|rpmnew|rpmorig|rpmsave|save|sw[a-z]|tmp|dpkg-\w+|~\d+~))$"
)
"""Ends of the names of what editors and package managers leave beside a file, or write before they replace it."""

_WORDS = ("meta", "metadata")
_FORMS = frozenset({"yaml", "yml", "json", "toml", "txt"})
_ALIKE = 0.75
"""How alike two words are, by `difflib`, of which one may be a misspelling of the other."""


class Lookalikes:
    """Files that look like metadata and aren't: a misspelt name must not leave a workflow open to everybody.

    Args:
        paths: of all files of the catalogue.
        sources: what is published: `NAME.cwl` or `NAME/`.

    Attributes:
        orphans: of each that belongs to nothing, as `name: reason`.
    """

    def __init__(self, paths: Iterable[PurePosixPath], sources: Iterable[str]) -> None:
        self._right = {source: metadata_of(source) for source in sources}
        self._known = {str(path) for path in paths}
        self._found: dict[str, list[str]] = {}
        self.orphans: list[str] = []
        right = frozenset(self._right.values())
        for path in paths:
            if path.suffix.casefold() == ".cwl" or str(path) in right:
                continue
            if len(path.parts) == 2:
                self._look_in_folder(path)
            elif len(path.parts) == 1:
                self._look(path)

    def beside(self, source: str) -> Sequence[str]:
        """What is wrong with a source's metadata, a sentence for each file."""
        return [
            f"{path}: looks like metadata of {source}, which are read from {self._right[source]} only; rename it, or "
            "move it away if it is something else"
            for path in sorted(self._found.get(source, ()))
        ]

    def _look_in_folder(self, path: PurePosixPath) -> None:
        # A folder without a document may be meant to hold the metadata of the file of its name.
        source = next((name for name in (f"{path.parts[0]}/", f"{path.parts[0]}.cwl") if name in self._right), None)
        if source is None or self._left_beside(source, path):
            return
        core = _core(path.name)
        words = _words(core)
        form = bool(words) and words[-1] in _FORMS
        like = any(map(_meta, words)) and (form or len(words) == 1 or _meta(words[-1]))
        named = core in (f"{_name(source)}.yaml", f"{_name(source)}.yml")
        if like or named or core.startswith(FOLDER_META):
            self._found.setdefault(source, []).append(str(path))

    def _look(self, path: PurePosixPath) -> None:
        core = _core(path.name)
        owners = [source for source, right in self._right.items() if core.startswith(right.casefold())]
        owners = owners or [source for source in self._right if _beside(core, _name(source))]
        longest = max((len(source) for source in owners), default=0)
        for source in owners:
            if len(source) == longest and not self._left_beside(source, path):
                self._found.setdefault(source, []).append(str(path))
        words = _words(core)
        if not owners and words and words[-1] in _FORMS and any(map(_meta, words)):
            self._orphan(path, core)

    def _left_beside(self, source: str, path: PurePosixPath) -> bool:
        """Whether an editor has left a file beside the right one: alone it may be all that there is of it."""
        right = self._right[source]
        name = right.rpartition("/")[2].casefold()
        return right in self._known and path.name.casefold() != name and _core(path.name).startswith(name)

    def _orphan(self, path: PurePosixPath, core: str) -> None:
        """Metadata that belong to nothing. Whose they may be meant to be isn't published."""
        self.orphans.append(f"{path}: belongs to no workflow; the metadata of NAME.cwl are called NAME{MARK}")
        start = next(word.start() for word in _WORD.finditer(core) if _meta(word[0]))
        name = core[:start].rstrip("._- ")
        for source, right in self._right.items():
            bare = right not in self._known
            of_all = not name and not source.endswith("/")
            if bare and (of_all or _mistaken(name, _name(source))):
                self._found.setdefault(source, []).append(str(path))


def _name(source: str) -> str:
    return source.removesuffix("/").removesuffix(".cwl").casefold()


def _core(name: str) -> str:
    """A file's name in small letters, without what editors add."""
    bare = name.casefold().lstrip(".#")
    while (shorter := _LEFT.sub("", bare)) != bare and shorter:
        bare = shorter
    return bare


def _beside(core: str, name: str) -> bool:
    """Whether a file at the top may be meant as the metadata of `name`."""
    if not core.startswith(name) or core[len(name) : len(name) + 1] not in (".", "_", "-", " "):
        return False
    words = _words(core[len(name) :])
    if not words:
        return False
    if any(map(_meta, words)):
        return words[-1] in _FORMS or _meta(words[-1])
    return words[-1] in ("yaml", "yml") and all(word == "cwl" for word in words[:-1])


def _mistaken(name: str, other: str) -> bool:
    """Whether one name may be a misspelling of the other. Those that differ in their numbers are different things."""
    numbers = (re.findall(r"\d+", text) for text in (name, other))
    return next(numbers) == next(numbers) and SequenceMatcher(None, name, other).ratio() >= _ALIKE


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _meta(word: str) -> bool:
    """Whether a word is `meta` or `metadata`, or may be meant so."""
    return word.startswith("m") and bool(get_close_matches(word, _WORDS, n=1, cutoff=_ALIKE))
