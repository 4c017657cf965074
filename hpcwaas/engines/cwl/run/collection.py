"""Collects the outputs of an execution: what is kept of the output object that a runner wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.storage.outputs import LOCATION, real
from hpcwaas.engines.cwl.storage.packing import left_out
from hpcwaas.engines.cwl.storage.trees import DEPTH_LIMIT

PART_LIMIT = 200_000
"""Values of all outputs together: they are read again whenever somebody looks at them."""

NAMED = 20
"""Most files of one directory that are named in warnings."""

_KEPT = ("class", "basename", "checksum", "format")


class _TooManyError(Exception):
    """The outputs have too many values."""


def collect(value: Mapping[str, JSON] | None, directory: Path) -> tuple[dict[str, JSON], list[str]]:
    """What is kept of an output object that a runner wrote.

    Args:
        value: the object; None when there is none.
        directory: of the execution's outputs. Files and directories elsewhere are dropped.

    Returns:
        the object, in which `location` is a path relative to `directory`, and a warning for each part that was dropped.
    """
    collector = _Collector(real(directory))
    kept: dict[str, JSON] = {}
    for name, part in (value or {}).items():
        left = collector.left
        try:
            kept[name] = collector.keep(part, name)
        except _TooManyError:
            kept[name], collector.left = None, left
            collector.warnings.append(f"Output {name} is dropped: all outputs may have {PART_LIMIT} values together.")
    return kept, collector.warnings


class _Collector:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.left = PART_LIMIT
        self.warnings: list[str] = []

    def keep(self, part: JSON, name: str, level: int = 1) -> JSON:
        """What is kept of a value."""
        if self.left <= 0:
            raise _TooManyError
        self.left -= 1
        if level > DEPTH_LIMIT:
            self.warnings.append(f"Output {name[:80]}… is cut off: it is nested in more than {DEPTH_LIMIT} levels.")
            return None
        if isinstance(part, list):
            return [self.keep(item, f"{name}[{index}]", level + 1) for index, item in enumerate(part)]
        if isinstance(part, float) and not math.isfinite(part):
            self.warnings.append(f"Output {name} is given as null: JSON has no {part}.")
            return None
        if isinstance(part, str):
            return _valid(part)
        if not isinstance(part, dict):
            return part
        if part.get("class") in ("File", "Directory"):
            return self._path(part, name, level)
        return {_valid(key): self.keep(item, f"{name}.{key}", level + 1) for key, item in part.items()}

    def _path(self, part: Mapping[str, JSON], name: str, level: int) -> JSON:
        """What is kept of a file or directory."""
        path = _path(part)
        target = real(path) if path else None
        is_file = part["class"] == "File"
        right = target and target.is_relative_to(self._root) and (target.is_file() if is_file else target.is_dir())
        if not path or not target or not right:
            self.warnings.append(
                f"Output {name} is dropped: it is no {part['class'].lower()} among the execution's outputs."
            )
            return None
        kept: dict[str, JSON] = {key: _valid(part[key]) for key in _KEPT if isinstance(part.get(key), str)}
        kept[LOCATION] = str(target.relative_to(self._root))
        kept.setdefault("basename", path.name)
        if not is_file:
            self._warn_of(target, name)
            return kept
        kept["size"] = target.stat().st_size
        if secondary := part.get("secondaryFiles"):
            files = [
                self.keep(item, f"{name}.secondaryFiles[{index}]", level + 1) for index, item in enumerate(secondary)
            ]
            kept["secondaryFiles"] = [item for item in files if item]
        return kept

    def _warn_of(self, directory: Path, name: str) -> None:
        """Names what of a directory nobody can have."""
        number = 0
        for number, (path, reason) in enumerate(left_out(directory), 1):
            if number <= NAMED:
                self.warnings.append(f"Output {name}: {path} will not be in its archive: {reason}.")
        if number > NAMED:
            self.warnings.append(
                f"Output {name}: {number - NAMED} more files or directories will not be in its archive."
            )


def _valid(text: str) -> str:
    """A text without halves of surrogate pairs, which JSON can escape and nobody can encode."""
    return text.encode(errors="replace").decode()


def _path(part: Mapping[str, JSON]) -> Path | None:
    location = part.get("location") or part.get("path")
    if not isinstance(location, str):
        return None
    url = urlsplit(location)
    if url.scheme == "file":
        return Path(unquote(url.path))
    return Path(location) if location.startswith("/") else None
