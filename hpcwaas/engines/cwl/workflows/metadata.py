"""The metadata of workflows: who may run them, where, and with which limits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from hpcwaas.common.setting_types import Size
from hpcwaas.core.endings import FOR_EVER, Retention
from hpcwaas.engines.cwl.workflows.slurm import NOTHING, Slurm, read_slurm
from hpcwaas.engines.cwl.workflows.strict_yaml import Unreadable, items_of, read, unknown, value_of

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

RIGHTS = ("authorized_users", "authorized_groups")
ENTRY_KEYS = tuple(sorted((*_LISTS, "limits", "name", "retention", "slurm", "time_limit")))
"""What may be said of a workflow wherever it is said."""

_KEYS = tuple(sorted((*ENTRY_KEYS, "main")))
_SIZE: TypeAdapter[int] = TypeAdapter(Size)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an execution may use at most, where that is less than the settings let it; None where nothing is said.

    Attributes:
        memory: bytes.
        time: seconds.
    """

    cores: int | None = None
    memory: int | None = None
    time: float | None = None


NO_LIMITS = Limits()
_LIMITS = tuple(each.name for each in fields(Limits))
_KEPT = tuple(each.name for each in fields(Retention))


@dataclass(frozen=True, slots=True)
class Entry:
    """One workflow to publish.

    Attributes:
        main: path of its main document, relative to `root`.
        fragment: process to run inside that document, without `#`; None for the only one or `main`.
        authorized_users: who may run it.
        authorized_groups: whose members may run it; both None: nothing is said of it, or `everybody`.
        ssh_keys: names of the inputs that take ids of SSH keys, and ways to members of records (`server.key`).
        everybody: the metadata say that everybody may run it.
        time_limit: seconds that an execution may run; None for the setting's.
        sites: ids of those that it may run on; None for all.
        slurm: what its jobs ask for, where the site's settings say something else or nothing.
        notices: what is odd in its metadata, and harmless.
        source: what publishes it, as the catalogue's owner knows it: `NAME.cwl`, `FOLDER/` or `catalogue.yaml`.
        commit: of the repository that it is published from; None for the catalogue's own.
        root: the directory that `main` and all it refers to lie in, absolute; empty for the catalogue's own.
        limits: narrower ones than those of the settings.
        retention: for how long its executions are kept at most.
        metadata: where that is said: a file, or a file and a line of it; empty where nothing is.
        made: an id can't have all of the names that it comes from, so it was made of what it can have.
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
    commit: str | None = None
    limits: Limits = NO_LIMITS
    retention: Retention = FOR_EVER
    metadata: str = field(default="", compare=False)
    made: bool = False

    @property
    def unrestricted(self) -> bool:
        """Whether nothing is said of who may run it."""
        return self.authorized_users is None and self.authorized_groups is None and not self.everybody


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file or folder that publishes nothing as it is.

    Attributes:
        source: `NAME.cwl`, `NAME/` or `catalogue.yaml`.
        reason: begins with a file, and its line where there is one.
        entry: what its metadata say, with an empty `main` when it can't be told. None: they aren't understood, and so
            permit nothing.
        made: as in `Entry`.
    """

    id: str
    source: str
    reason: str
    entry: Entry | None = None
    made: bool = False


def root_of_entry(directory: Path, entry: Entry) -> Path:
    """The directory that an entry's paths are relative to.

    Args:
        directory: the catalogue.
    """
    return Path(entry.root) if entry.root else directory


@lru_cache(maxsize=8192)
def read_metadata(directory: Path, meta: str, stamp: tuple[int, ...]) -> Mapping[str, Any]:
    """Reads a metadata file completely or not at all: half-understood, it could open a workflow to everybody.

    Args:
        directory: the catalogue.
        meta: path of the file in it.
        stamp: of the file: what is known of it isn't read again.

    Returns:
        what it says, by its keys, for `make_entry`.

    Raises:
        Unreadable: it isn't understood.
    """
    root = read(directory, meta)
    if not isinstance(root, yaml.MappingNode):
        raise Unreadable(f"{meta}: expected a map with any of {', '.join(_KEYS)}")
    return read_keys(meta, root, _KEYS)


def read_keys(name: str, node: yaml.MappingNode, known: tuple[str, ...]) -> dict[str, Any]:
    """Reads what a map says of a workflow.

    Args:
        name: of the file.
        known: the keys that it may have.

    Raises:
        Unreadable: it isn't understood.
    """
    content = {}
    for key, value, place in items_of(name, node):
        if key not in known:
            raise unknown(place, key, known)
        content[key] = checked(place, key, value_of(name, value))
    return content


def checked(place: str, key: str, value: Any) -> Any:
    """A value that is what its key asks for.

    Args:
        place: file and line, which errors begin with.

    Raises:
        Unreadable: it isn't.
    """
    match key, value:
        case (("name" | "main"), str()) if value.strip():
            return value
        case "time_limit", int() | float() if _seconds(value):
            return float(value)
        case (("authorized_users" | "authorized_groups"), "everybody"):
            return EVERYBODY
        case "sites", [] | None:
            raise Unreadable(f"{place}: sites is empty: name the sites that it may run on, or remove the key")
        case "slurm", _:
            try:
                return read_slurm(value)
            except ValueError as error:
                raise Unreadable(f"{place}: {error}") from error
        case "limits", _:
            return _limits(place, value)
        case "retention", _:
            return _retention(place, value)
        case str(), list() if key in _LISTS and all(isinstance(item, str) and _plain(item) for item in value):
            return tuple(value)
    if key in _LISTS:
        word = f", or the word {EVERYBODY}" if key in RIGHTS else ""
        raise Unreadable(
            f"{place}: {key} must be a list of {_LISTS[key]}, each a string without blanks at its ends{word}"
        )
    expected = "a number of seconds above 0" if key == "time_limit" else "a string"
    raise Unreadable(f"{place}: {key} must be {expected}")


def _limits(place: str, value: Any) -> Limits:
    if not isinstance(value, dict) or not value:
        raise Unreadable(f"{place}: limits must be a map with any of {', '.join(_LIMITS)}")
    for key in value:
        if key not in _LIMITS:
            raise unknown(f"{place}: limits", key, _LIMITS)
    cores, memory, time = (value.get(key) for key in _LIMITS)
    if "cores" in value and (not isinstance(cores, int) or isinstance(cores, bool) or cores < 1):
        raise Unreadable(f"{place}: limits: cores must be a whole number above 0")
    if "time" in value and not _seconds(time):
        raise Unreadable(f"{place}: limits: time must be a number of seconds above 0")
    if "memory" in value:
        try:
            memory = _SIZE.validate_python(memory if isinstance(memory, str | int) and memory is not True else None)
        except ValidationError:
            raise Unreadable(
                f"{place}: limits: memory must be a number of bytes above 0, or one with a unit: 512MiB, 8GiB"
            ) from None
    return Limits(cores, memory, None if time is None else float(time))


def _retention(place: str, value: Any) -> Retention:
    if not isinstance(value, dict) or not value:
        raise Unreadable(f"{place}: retention must be a map with any of {', '.join(_KEPT)}")
    for key, days in value.items():
        if key not in _KEPT:
            raise unknown(f"{place}: retention", key, _KEPT)
        if not isinstance(days, int) or isinstance(days, bool) or days < 1:
            raise Unreadable(f"{place}: retention: {key} must be a whole number of days above 0")
    return Retention(**value)


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _plain(item: str) -> bool:
    return bool(item) and item == item.strip() and item.isprintable()


def make_entry(workflow_id: str, place: str, content: Mapping[str, Any]) -> Entry:
    """The entry of which something is said.

    Args:
        place: where: a file, or a file and a line of it.
        content: what, by its keys, as `read_keys` returns it.

    Returns:
        the entry, with what is said of its main document: nothing, or its path in the folder.

    Raises:
        Unreadable: what is said contradicts itself.
    """
    rights = [content[key] for key in RIGHTS if key in content]
    everybody = EVERYBODY in rights
    if everybody and len(rights) > 1:
        raise Unreadable(f"{place}: {EVERYBODY} can't be combined with another list: remove one of the two keys")
    users, groups = (None if everybody else content.get(key) for key in RIGHTS)
    notices = [
        f"{place}: {key} has {item} more than once"
        for key in _LISTS
        if isinstance(values := content.get(key), tuple)
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
        limits=content.get("limits", NO_LIMITS),
        retention=content.get("retention", FOR_EVER),
        metadata=place,
    )


def metadata_of(source: str) -> str:
    """Path of the metadata of `NAME.cwl` or `NAME/`."""
    return f"{source}{FOLDER_META}" if source.endswith("/") else source.removesuffix(".cwl") + MARK
