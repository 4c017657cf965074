"""Several local files by one word: patterns, and folders where a list of files is taken."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from .ignored import Ignore

_ARCHIVE = re.compile(r".\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))", re.IGNORECASE)


def is_pattern(text: str) -> bool:
    """Whether a text may name several files."""
    return bool(set("*?[") & set(text))


def matching(pattern: str, leaves: set[str]) -> list[Path]:
    """The files and directories that a pattern of the shell matches, in the order of their names. `**` is any depth.

    Args:
        leaves: what the input takes: where no directories are taken, none are found; where nothing else is taken,
            only archives are found beside them.
    """
    # Path's own `glob` takes no pattern that begins with `/`, and drops the `./` of names.
    found = [Path(each) for each in sorted(glob.glob(os.path.expanduser(pattern), recursive=True))]  # noqa: PTH111, PTH207
    if leaves & {"Directory", "Any"} == set():
        return [each for each in found if not each.is_dir()]
    if leaves == {"Directory"}:
        return [each for each in found if each.is_dir() or _ARCHIVE.search(each.name)]
    return found


def files_of(folder: Path, companions: Sequence[str]) -> list[Path]:
    """The files right in a folder, in the order of their names, without hidden ones, and without those that belong
    beside another by one of the patterns `companions`."""
    ignore = Ignore.of(folder)
    names = sorted(
        each.name
        for each in folder.iterdir()
        if each.is_file() and not each.name.startswith(".") and not ignore.matches(each.name, is_directory=False)
    )
    beside = {belongs for pattern in companions for name in names if (belongs := companion_name(pattern, name)) != name}
    return [folder / name for name in names if name not in beside]


def companion_name(pattern: str, name: str) -> str:
    """The name that CWL's pattern (`.bai`, `^.bai`, with a `?` at its end where it isn't required) makes of a name."""
    pattern = pattern.removesuffix("?")
    while pattern.startswith("^"):
        pattern = pattern[1:]
        name = name[: name.rindex(".")] if "." in name else name
    return name + pattern


def is_expression(pattern: str) -> bool:
    """Whether only the service can tell what a pattern of CWL says."""
    return "$(" in pattern or "${" in pattern
