"""Files of a catalogue that look like CWL and publish nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hpcwaas.engines.cwl.workflows.lookalikes import core_of
from hpcwaas.engines.cwl.workflows.manifest import MANIFEST
from hpcwaas.engines.cwl.workflows.metadata import FOLDER_META, MARK
from hpcwaas.engines.cwl.workflows.tree import DEPTH, DOCUMENT, Tree

_FORMS = (".yaml", ".yml", ".json")


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
