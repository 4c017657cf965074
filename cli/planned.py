"""Local files and directories as inputs, before and after they are sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from .errors import UsageError
from .text import is_file

Upload: TypeAlias = Callable[[Path, str], Any]
"""Returns the value that stands for a local file or directory as a `File` or `Directory`."""

Tell: TypeAlias = Callable[[str], None]
"""Tells the user something beside the result."""


@dataclass(frozen=True, slots=True)
class Local:
    """What isn't sent yet: it stands where the id of an upload will stand."""

    path: Path


def planned(local: Path, kind: str) -> dict[str, Any]:
    """The CWL object that stands for a local file or directory which is to be uploaded.

    Args:
        kind: `File`, or `Directory`, which a file may hold packed.

    Raises:
        UsageError: it can't be uploaded.
    """
    if not (local.is_file() or local.is_dir()):
        # A pipe would seem to be empty.
        raise UsageError(f"{local} is neither a file nor a directory.")
    if not os.access(local, os.R_OK):
        raise UsageError(f"Can't read {local}: you aren't allowed to.")
    value = {"class": kind, "location": Local(local)}
    if kind == "Directory" and not local.is_dir():
        return value  # the service knows how it is called without the archive's suffix
    return {**value, "basename": name_of(local)}


def name_of(local: Path) -> str:
    """The name of a file or directory, also of `.`."""
    name = local.name or local.resolve().name or "directory"
    return os.fsencode(name).decode(errors="replace")


def local_files(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a value that stand for what is to be uploaded."""
    if isinstance(value, list):
        for item in value:
            yield from local_files(item)
    elif isinstance(value, dict):
        if is_file(value) and isinstance(value.get("location"), Local):
            yield value
        yield from local_files(list(value.values()))


def with_locations(value: Any, make: Callable[[Local, str], str | None]) -> Any:
    """A value in which local files have the location that `make` gives them, or none."""
    if isinstance(value, list):
        return [with_locations(item, make) for item in value]
    if not isinstance(value, dict):
        return value
    rest = {key: with_locations(member, make) for key, member in value.items() if key != "location"}
    local = value.get("location")
    if not isinstance(local, Local):
        return rest if "location" not in value else {**value, **rest}
    location = make(local, value["class"])
    if location is None:
        return {"class": value["class"], "basename": name_of(local.path), **rest}
    return {"class": value["class"], "location": location, **rest}
