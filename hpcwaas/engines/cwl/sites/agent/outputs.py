"""Collects the outputs of an execution, and names what of a directory can be given."""

import math
import os
import stat
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import unquote, urlsplit

from hpcwaas.engines.cwl.sites.agent.answers import JSON
from hpcwaas.engines.cwl.sites.agent.archives import DEPTH_LIMIT

_PART_LIMIT = 200_000
_NAMED = 20


def inside(root: str, path: str) -> Optional[str]:
    """The real path of something, when it is below `root` (a real path)."""
    target = os.path.realpath(path)
    return target if target == root or target.startswith(f"{root}/") else None


def contents(root: str, leave_out: Callable[[str, str], Any]) -> Iterator[Tuple[str, str, os.stat_result]]:
    """(name, real path, status) of files and directories below a directory, as an archive of it has them. Links to
    files inside are files; what else is no file or directory is left out."""
    root = os.path.realpath(root)
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.listdir(os.path.join(root, folder)))
        except OSError as error:
            leave_out(folder, error.strerror or "it can't be read")
            continue
        for entry in entries:
            name = f"{folder}/{entry}" if folder else entry
            path = os.path.join(root, name)
            target = inside(root, path)
            try:
                status = os.stat(target) if target else None
            except OSError:
                status = None
            link = os.path.islink(path)
            if target is None or status is None:
                leave_out(name, "it is a link that leads nowhere, in a circle, out of the directory, or to no file")
            elif stat.S_ISREG(status.st_mode):
                if os.access(target, os.R_OK):
                    yield name, target, status
                else:
                    leave_out(name, "it can't be read")
            elif not stat.S_ISDIR(status.st_mode):
                leave_out(name, "it is neither a file nor a directory")
            elif link:
                leave_out(name, "it is a link to a directory")
            else:
                yield name, target, status
                if name.count("/") < DEPTH_LIMIT - 1:
                    pending.append(name)
                elif os.listdir(target):
                    leave_out(name, f"what is in it lies deeper than {DEPTH_LIMIT} levels of directories")


class Collector:
    """Collects what is kept of an output object.

    Args:
        directory: of the outputs. Files and directories elsewhere are dropped.
    """

    def __init__(self, directory: str) -> None:
        self._root = os.path.realpath(directory)
        self._left = _PART_LIMIT
        self.warnings: List[str] = []

    def collect(self, value: Dict[str, JSON]) -> Dict[str, JSON]:
        """The object, in which `location` is a path relative to the directory."""
        kept = {}
        for name, part in value.items():
            left = self._left
            try:
                kept[name] = self._keep(part, name, 1)
            except OverflowError:
                kept[name], self._left = None, left
                self.warnings.append(f"Output {name} is dropped: all outputs may have {_PART_LIMIT} values together.")
        return kept

    def _keep(self, part: JSON, name: str, level: int) -> JSON:
        if self._left <= 0:
            raise OverflowError
        self._left -= 1
        if level > DEPTH_LIMIT:
            self.warnings.append(f"Output {name[:80]}… is cut off: it is nested in more than {DEPTH_LIMIT} levels.")
            return None
        if isinstance(part, list):
            return [self._keep(item, f"{name}[{index}]", level + 1) for index, item in enumerate(part)]
        if isinstance(part, float) and not math.isfinite(part):
            self.warnings.append(f"Output {name} is given as null: JSON has no {part}.")
            return None
        if isinstance(part, str):
            return _valid(part)
        if not isinstance(part, dict):
            return part
        if part.get("class") in ("File", "Directory"):
            return self._path(part, name, level)
        return {_valid(key): self._keep(item, f"{name}.{key}", level + 1) for key, item in part.items()}

    def _path(self, part: Dict[str, JSON], name: str, level: int) -> JSON:
        path = _location(part)
        target = inside(self._root, path) if path else None
        is_file = part["class"] == "File"
        if not path or not target or not (os.path.isfile(target) if is_file else os.path.isdir(target)):
            kind = part["class"].lower()
            self.warnings.append(f"Output {name} is dropped: it is no {kind} among the execution's outputs.")
            return None
        kept: Dict[str, JSON] = {
            key: _valid(part[key]) for key in ("class", "basename", "checksum", "format") if _is_text(part, key)
        }
        kept["location"] = os.path.relpath(target, self._root)
        kept.setdefault("basename", os.path.basename(path))
        if not is_file:
            self._warn_of(target, name)
            return kept
        kept["size"] = os.stat(target).st_size
        secondary = part.get("secondaryFiles")
        if secondary:
            files = [
                self._keep(item, f"{name}.secondaryFiles[{index}]", level + 1) for index, item in enumerate(secondary)
            ]
            kept["secondaryFiles"] = [item for item in files if item]
        return kept

    def _warn_of(self, directory: str, name: str) -> None:
        found: List[Tuple[str, str]] = []
        for _ in contents(directory, lambda path, reason: found.append((path, reason))):
            pass
        for path, reason in found[:_NAMED]:
            shown = path if path.isprintable() else ascii(path)
            self.warnings.append(f"Output {name}: {shown} will not be in its archive: {reason}.")
        if len(found) > _NAMED:
            more = len(found) - _NAMED
            self.warnings.append(f"Output {name}: {more} more files or directories will not be in its archive.")


def _is_text(part: Dict[str, JSON], key: str) -> bool:
    return isinstance(part.get(key), str)


def _valid(text: str) -> str:
    return text.encode(errors="replace").decode()


def _location(part: Dict[str, JSON]) -> Optional[str]:
    location = part.get("location") or part.get("path")
    if not isinstance(location, str):
        return None
    url = urlsplit(location)
    if url.scheme == "file":
        return unquote(location[len("file://") :].partition("?")[0].partition("#")[0], errors="surrogateescape")
    return location if location.startswith("/") else None
