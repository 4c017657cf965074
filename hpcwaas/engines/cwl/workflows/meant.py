"""What a file says that looks like one of the catalogue's by its name only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import yaml

from hpcwaas.engines.cwl.workflows.lookalikes import ALIKE, FORMS, core_of, words_of
from hpcwaas.engines.cwl.workflows.manifest import MANIFEST, MANIFEST_KEYS
from hpcwaas.engines.cwl.workflows.metadata import RIGHTS
from hpcwaas.engines.cwl.workflows.strict_yaml import SIZE_LIMIT, Unreadable, items_of, read
from hpcwaas.engines.cwl.workflows.tree import Folder

_KEY = re.compile(r"""([\w-]+)["']?\s*:""")
_ABOUT_RIGHTS = re.compile("user|group|autho|permi|allow|access|right|site|key|limit|who|role|owner|slurm")
_RESTRICTING = (*RIGHTS, "sites", "ssh_keys")
_TELLING = (*MANIFEST_KEYS, *RIGHTS, "document")
_NAMES = ("catalogue", "catalogues", "catalog")


def is_job(directory: Path, stamps: Mapping[str, tuple[int, ...]], file: str, document: str) -> bool:
    """Whether a file `NAME.yaml` beside `NAME.cwl` is no misspelt metadata: it holds inputs for it, or a list of tests.

    Args:
        directory: the catalogue.
        stamps: of its files.
        file: path of it.
        document: path of the document.
    """
    return _is_job(directory, file, document, stamps.get(file, ()), stamps.get(document, ()))


@lru_cache(maxsize=8192)
def _is_job(directory: Path, file: str, document: str, *_stamps: tuple[int, ...]) -> bool:
    try:
        root = read(directory, file)
        if isinstance(root, yaml.SequenceNode):
            maps = [item for item in root.value if isinstance(item, yaml.MappingNode)]
            keys = [str(key) for item in maps for key, _, _ in items_of(file, item)]
            return len(maps) == len(root.value) and bool(keys) and not any(map(_restricts, keys))
        if not isinstance(root, yaml.MappingNode) or not (directory / document).is_file():
            return False
        keys = [str(key) for key, _, _ in items_of(file, root)]
        with (directory / document).open("rb") as stream:
            words = {*re.findall(r"[\w.-]+", stream.read(SIZE_LIMIT).decode(errors="replace"))}
    except (Unreadable, OSError):
        return False
    inputs = [key for key in keys if not key.startswith(("$", "cwl:"))]
    known = words.intersection(inputs)
    return bool(known) and not any(
        bool(get_close_matches(key.casefold(), _RESTRICTING, 1, ALIKE)) if key in known else _restricts(key)
        for key in inputs
    )


def _restricts(key: str) -> bool:
    """Whether a key may be meant to say who may do what."""
    return _ABOUT_RIGHTS.search(key.casefold()) is not None


def strange(directory: Path, stamps: Mapping[str, tuple[int, ...]], folder: Folder) -> list[str]:
    """What is wrong with files that look like a catalogue file and aren't read as one, a sentence for each.

    Args:
        directory: the catalogue.
        stamps: of its files.
        folder: that they may lie in.
    """
    at_the_top = not folder.path
    right = at_the_top and MANIFEST in folder.files
    found = []
    for name in folder.files:
        if (at_the_top and name == MANIFEST) or not _like_manifest(name):
            continue
        if right and name.casefold() != MANIFEST and core_of(name) == MANIFEST:
            continue  # what an editor leaves beside it does no harm
        path = folder.at(name)
        if not _says_nothing(directory, path, stamps.get(path, ())):
            found.append(
                f"{path}: looks like a catalogue file, which is read from {MANIFEST} at the top of a catalogue only; "
                "rename it, or move it away if it is something else"
            )
    return found


def _like_manifest(name: str) -> bool:
    words = words_of(core_of(name))
    return (
        bool(words)
        and words[0].startswith("c")
        and bool(get_close_matches(words[0], _NAMES, 1, ALIKE))
        and all(word in FORMS for word in words[1:])
    )


@lru_cache(maxsize=256)
def _says_nothing(directory: Path, path: str, _stamp: tuple[int, ...]) -> bool:
    """Whether a file holds something, and no key of a catalogue file."""
    try:
        if not (directory / path).is_file():
            return False
        with (directory / path).open("rb") as stream:
            text = stream.read(SIZE_LIMIT).decode(errors="replace")
    except OSError:
        return False
    keys = {key.casefold() for key in _KEY.findall(text)}
    return bool(text.strip()) and not any(get_close_matches(key, _TELLING, 1, ALIKE) for key in keys)
