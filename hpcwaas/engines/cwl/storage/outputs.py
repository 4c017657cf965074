"""The output object of an execution as it is kept: what of it is shown, and the way to a part of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from hpcwaas.core.models import JSON

LOCATION = "location"
"""Member of a kept file that says where it is."""


class OutsideError(Exception):
    """A file or directory isn't in the outputs of its execution."""


def real(path: Path) -> Path:
    """A path without links. Of links that go round in circles something is left that can't be opened."""
    return Path(os.path.realpath(path))  # `Path.resolve` raises on circles


def show(value: JSON, path: str) -> JSON:
    """A kept value as users see it.

    Args:
        path: the way to it, which stands in its files in place of their location. Names in it are percent-encoded
            where they hold a slash.
    """
    if isinstance(value, list):
        return [show(item, f"{path}/{index}") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if not is_path(value):
        return {key: show(item, f"{path}/{_part(key)}") for key, item in value.items()}
    shown = {key: item for key, item in value.items() if key != LOCATION} | {"path": path}
    if "secondaryFiles" in value:
        shown["secondaryFiles"] = show(value["secondaryFiles"], f"{path}/secondaryFiles")
    return shown


def _part(name: str) -> str:
    return quote(name, safe="") if "/" in name or "%" in name else name


def is_path(value: JSON) -> bool:
    """Whether a kept value is a file or directory."""
    return isinstance(value, dict) and value.get("class") in ("File", "Directory") and LOCATION in value


@dataclass(frozen=True, slots=True)
class Place:
    """A part of an output that is a file or directory, or something in a directory.

    Attributes:
        path: relative to the directory of the outputs.
        declared: what the output object says of it; None for what is found in a directory.
    """

    path: str
    declared: Mapping[str, JSON] | None


@dataclass(frozen=True, slots=True)
class TakenOutput:
    """An output of an execution that has ended, which becomes an input.

    Attributes:
        execution_id: of that execution.
        reference: by which the engine knows it.
        path: relative to the directory of its outputs.
        kind: `File` or `Directory`.
        target: path relative to the directory of the one that takes it, `inputs/<number>/<name>`; safe by construction.
        size: in bytes, as far as its runner said.
    """

    execution_id: str
    reference: str
    path: str
    kind: str
    target: str
    size: int = 0

    @property
    def site(self) -> str:
        """Id of the site where it lies; empty for the service's own machine."""
        return self.reference.rpartition(":")[0]

    @property
    def words(self) -> str:
        """What it is, for people: the beginning of a sentence."""
        name = self.target.rpartition("/")[2]
        return (
            f"The {self.kind.lower()} {name}, an output of the execution {self.execution_id} and an input of this one,"
        )


def find(value: JSON, path: str | None) -> Place | JSON:
    """Follows a path into a kept value.

    Returns:
        a `Place`, or the value when it is neither file nor directory.

    Raises:
        LookupError: there is no such part.
    """
    parts = path.split("/") if path else []
    while True:
        if is_path(value) and value["class"] == "Directory":
            if any(part in ("", ".", "..") or "\0" in part for part in parts):
                raise LookupError(path)
            return Place("/".join([value[LOCATION], *parts]), None if parts else value)
        if not parts:
            return Place(value[LOCATION], value) if is_path(value) else value
        part = parts.pop(0)
        if is_path(value) and part != "secondaryFiles":
            raise LookupError(path)
        if isinstance(value, list):
            if not (part.isascii() and part.isdecimal()):
                raise LookupError(path)
            value = value[int(part)]
        elif isinstance(value, dict):
            value = value[unquote(part)]
        else:  # a number or a string has no parts
            raise LookupError(path)  # noqa: TRY004


def open_inside(root: Path, path: str) -> int:
    """Opens a file or directory below a directory in which somebody may plant links.

    Links are followed when they stay inside. The way is then walked without following any, so that one planted
    meanwhile leads nowhere.

    Args:
        path: relative to `root`.

    Returns:
        a descriptor, open for reading, of a regular file or a directory.

    Raises:
        OutsideError: it leads out, doesn't exist, or is something else.
    """
    base = real(root)
    target = real(base / path)
    if not target.is_relative_to(base):
        raise OutsideError(path)
    try:
        return _open(base, target.relative_to(base).parts)
    except OSError as error:
        raise OutsideError(path) from error


def _open(root: Path, parts: tuple[str, ...]) -> int:
    # A FIFO would block whoever opens it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(root, flags)
    try:
        for part in parts:
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
    except OSError:
        os.close(descriptor)
        raise
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(descriptor)
        raise OutsideError("/".join(parts))
    return descriptor
