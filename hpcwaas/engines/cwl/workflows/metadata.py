"""The metadata of workflows: who may run them, and which files beside them say so or seem to."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from hpcwaas.engines.cwl.workflows.slurm import NOTHING, Slurm, read_slurm

EVERYBODY = "everybody"
"""In place of a list: whoever has signed in."""

MARK = ".meta.yaml"
"""`NAME.cwl` has its metadata in `NAME.meta.yaml`."""

FOLDER_META = "meta.yaml"
"""A folder has its metadata in this file of its own."""

_LISTS = {
    "authorized_groups": "groups",
    "authorized_users": "user ids",
    "sites": "ids of sites",
    "ssh_keys": "names of inputs",
}
"""Keys whose values are lists, and of what."""

_RIGHTS = ("authorized_users", "authorized_groups")
_KEYS = tuple(sorted((*_LISTS, "main", "name", "slurm", "time_limit")))
_MERGE = "tag:yaml.org,2002:merge"

_WORD = re.compile(r"[^._\-\s]+")
_LEFT = re.compile(
    r"(~|#|\.(bak|backup|copy|new|old|orig|part|rej|rpmnew|rpmorig|rpmsave|save|sw[a-z]|tmp|dpkg-\w+|~\d+~))$"
)
"""Ends of the names of what editors and package managers leave beside a file, or write before they replace it."""

_WORDS = ("meta", "metadata")
_FORMS = frozenset({"yaml", "yml", "json", "toml", "txt"})
_ALIKE = 0.75
"""How alike two words are, by `difflib`, of which one may be a misspelling of the other."""


class Unreadable(Exception):
    """Why metadata aren't understood; begins with the file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One workflow to publish.

    Attributes:
        main: path of its main document, relative to the catalogue.
        fragment: process to run inside that document, without `#`; None for the only one or `main`.
        authorized_users: who may run it.
        authorized_groups: whose members may run it; both None: nothing is said of it, or `everybody`.
        ssh_keys: names of the inputs that take ids of SSH keys, and ways to members of records (`server.key`).
        everybody: the metadata say that everybody may run it.
        time_limit: seconds that an execution may run; None for the setting's.
        sites: ids of those that it may run on; None for all.
        slurm: what its jobs ask for, where the site's settings say something else or nothing.
        notices: what is odd in its metadata, and harmless.
        source: what publishes it, as the catalogue's owner knows it: `NAME.cwl` or `NAME/`.
        root: the directory that `main` and all it refers to lie in, absolute; empty for the catalogue's own.
    """

    id: str
    main: str
    fragment: str | None = None
    name: str | None = None
    authorized_users: tuple[str, ...] | None = None
    ssh_keys: tuple[str, ...] = ()
    authorized_groups: tuple[str, ...] | None = None
    everybody: bool = False
    time_limit: float | None = None
    sites: tuple[str, ...] | None = None
    slurm: Slurm = NOTHING
    notices: tuple[str, ...] = ()
    source: str = ""
    root: str = ""

    @property
    def unrestricted(self) -> bool:
        """Whether nothing is said of who may run it."""
        return self.authorized_users is None and self.authorized_groups is None and not self.everybody


def root_of_entry(directory: Path, entry: Entry) -> Path:
    """The directory that an entry's paths are relative to.

    Args:
        directory: the catalogue.
    """
    return Path(entry.root) if entry.root else directory


def read_metadata(directory: Path, meta: str, workflow_id: str) -> Entry:
    """Reads a metadata file completely or not at all: half-understood, it could open a workflow to everybody.

    Args:
        directory: the catalogue.
        meta: path of the file in it.

    Returns:
        the entry, with what they say of its main document: nothing, or its path in the folder.

    Raises:
        Unreadable: it isn't understood.
    """
    path = directory / meta
    try:
        if path.exists() and not path.is_file():
            raise Unreadable(f"{meta}: this is not a file")
        text = path.read_text("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_doubles(meta, root)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Unreadable(f"{meta}{line}: {error.problem}") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise Unreadable(f"{meta}: can't be read ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise Unreadable(f"{meta}: expected a map with any of {', '.join(_KEYS)}")
    return _entry(workflow_id, meta, {key: _checked(meta, key, value) for key, value in content.items()})


def _refuse_doubles(meta: str, root: yaml.Node | None) -> None:
    """Refuses keys that are given twice, of which YAML's readers take one silently, and merged maps."""
    if not isinstance(root, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in root.value:
        _refuse_doubles(meta, value)
        here = key.start_mark.line + 1
        if key.tag == _MERGE:
            raise Unreadable(
                f"{meta}:{here}: `<<` merges keys from elsewhere, which is not supported: write the keys out"
            )
        if not isinstance(key, yaml.ScalarNode):
            continue
        if first := lines.get(key.value):
            raise Unreadable(f"{meta}:{here}: the key {key.value} is given twice (first in line {first})")
        lines[key.value] = here


def _checked(meta: str, key: Any, value: Any) -> Any:
    """A value that is what its key asks for."""
    match key, value:
        case (("name" | "main"), str()) if value.strip():
            return value
        case "time_limit", int() | float() if not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
        case (("authorized_users" | "authorized_groups"), "everybody"):
            return EVERYBODY
        case "sites", [] | None:
            raise Unreadable(f"{meta}: sites is empty: name the sites that it may run on, or remove the key")
        case "slurm", _:
            try:
                return read_slurm(value)
            except ValueError as error:
                raise Unreadable(f"{meta}: {error}") from error
        case str(), list() if key in _LISTS and all(isinstance(item, str) and _plain(item) for item in value):
            return value
        case str(), _ if key in _LISTS:
            word = f", or the word {EVERYBODY}" if key in _RIGHTS else ""
            raise Unreadable(
                f"{meta}: {key} must be a list of {_LISTS[key]}, each a string without blanks at its ends{word}"
            )
        case str(), _ if key in _KEYS:
            expected = "a number of seconds above 0" if key == "time_limit" else "a string"
            raise Unreadable(f"{meta}: {key} must be {expected}")
    near = get_close_matches(str(key).casefold(), _KEYS, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise Unreadable(f"{meta}: unknown key {key!r}, expected any of {', '.join(_KEYS)}{meant}")


def _plain(item: str) -> bool:
    return bool(item) and item == item.strip() and item.isprintable()


def _entry(workflow_id: str, meta: str, content: Mapping[str, Any]) -> Entry:
    rights = [content[key] for key in _RIGHTS if key in content]
    everybody = EVERYBODY in rights
    if everybody and len(rights) > 1:
        raise Unreadable(f"{meta}: {EVERYBODY} can't be combined with another list: remove one of the two keys")
    users, groups = (None if everybody or content.get(key) is None else tuple(content[key]) for key in _RIGHTS)
    notices = [
        f"{meta}: {key} has {item} more than once"
        for key in _LISTS
        if isinstance(values := content.get(key), list)
        for item in sorted(item for item, number in Counter(values).items() if number > 1)
    ]
    main, _, fragment = content.get("main", "").partition("#")
    return Entry(
        id=workflow_id,
        main=main,
        fragment=fragment or None,
        name=content.get("name"),
        authorized_users=users,
        authorized_groups=groups,
        everybody=everybody,
        ssh_keys=tuple(dict.fromkeys(content.get("ssh_keys", ()))),
        time_limit=content.get("time_limit"),
        sites=tuple(dict.fromkeys(content["sites"])) if "sites" in content else None,
        slurm=content.get("slurm", NOTHING),
        notices=tuple(notices),
    )


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


def metadata_of(source: str) -> str:
    """Path of the metadata of `NAME.cwl` or `NAME/`."""
    return f"{source}{FOLDER_META}" if source.endswith("/") else source.removesuffix(".cwl") + MARK


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
