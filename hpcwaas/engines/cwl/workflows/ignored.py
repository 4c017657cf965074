"""Files of a catalogue that look like CWL and publish nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hpcwaas.engines.cwl.workflows.lookalikes import core_of
from hpcwaas.engines.cwl.workflows.manifest import MANIFEST
from hpcwaas.engines.cwl.workflows.metadata import FOLDER_META, MARK
from hpcwaas.engines.cwl.workflows.tree import DEPTH, DOCUMENT, Tree

_FORMS = (".yaml", ".yml", ".json")
_CWL = re.compile(r"^\s*[\"']?cwlVersion[\"']?\s*:", re.MULTILINE)
_LOOKED_AT = 2**16
"""Bytes at the beginning of a file, of which one may say that it is CWL."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file that publishes nothing, though it may look so.

    Attributes:
        reason: why it doesn't.
        sure: whether its name says that it is CWL; otherwise only a look into it can tell.
    """

    path: str
    reason: str
    sure: bool = True


def never_read(tree: Tree, parts: Mapping[str, str]) -> Iterator[Ignored]:
    """What isn't looked for at all, or belongs to something else.

    Args:
        parts: documents that are parts of a workflow, and what publishes it.
    """
    for path in tree.hidden:
        yield Ignored(path, "its name, or that of a folder above it, begins with a dot")
    for path in tree.deep:
        yield Ignored(path, f"it lies more than {DEPTH} folders deep")
    for path, source in parts.items():
        yield Ignored(path, f"it is a part of {source}, which is one workflow")
    for folder in tree.folders.values():
        for name in folder.files:
            other = f"its name doesn't end in {DOCUMENT}; {MANIFEST} can name it"
            if name.endswith(DOCUMENT):
                continue
            if core_of(name).endswith(DOCUMENT):
                yield Ignored(folder.at(name), other)
            elif name.casefold().endswith(_FORMS) and name not in (FOLDER_META, MANIFEST) and not name.endswith(MARK):
                yield Ignored(folder.at(name), other, sure=False)


def sure(directory: Path, found: Iterable[Ignored], stamps: Mapping[str, tuple[int, ...]]) -> Iterator[Ignored]:
    """Those that are CWL, by a look into those whose names don't say so.

    Args:
        directory: that their paths are relative to.
        stamps: of its files.
    """
    return (each for each in found if each.sure or _is_cwl(directory, each.path, stamps.get(each.path, ())))


@lru_cache(maxsize=8192)
def _is_cwl(directory: Path, path: str, _stamp: tuple[int, ...]) -> bool:
    try:
        with (directory / path).open("rb") as stream:
            return _CWL.search(stream.read(_LOOKED_AT).decode("utf-8", "replace")) is not None
    except OSError:
        return False
