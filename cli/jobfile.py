"""Inputs from a YAML or JSON file, CWL job files among them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import UsageError
from .local_paths import is_there, typed
from .mistakes import Mistakes
from .plain_yaml import read_mapping
from .planned import Tell, Upload, name_of
from .text import compact

_ABOUT = ("$namespaces", "$schemas", "cwl:tool")
"""What a job file says beside its inputs."""
_DERIVED = ("path", "dirname", "nameroot", "nameext")
"""What CWL makes of the name of a file by itself."""
OUTPUT = re.compile(
    r"(?P<id>[^/:\s?#]+):(?P<output>[^/?#]+)(?:/(?P<path>.+))?"
    r"|(?:/[^?#]+)?/executions/(?P<its_id>[^/?#]+)/outputs/(?P<its_output>[^/?#]+)(?:\?path=(?P<its_path>.+))?",
    re.DOTALL,
)
"""An output of an earlier execution: `ID:OUTPUT`, `ID:OUTPUT/PATH`, or as the service writes its location."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where values come from.

    Attributes:
        base: directory from which paths count.
        upload: makes what stands for a local file.
        prefixes: what `edam:` and the like stand for in formats.
        words: for the place, behind the name of an input.
        tell: tells the user that a file isn't what is said of it.
    """

    base: Path
    upload: Upload
    prefixes: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    tell: Tell = lambda _: None


def read(name: str, upload: Upload, mistakes: Mistakes | None = None, tell: Tell = lambda _: None) -> dict[str, Any]:
    """The inputs in a file, local files and directories that it names as `upload` makes them.

    Args:
        name: of the file; `-` is stdin. Paths in it count from the file's directory, those of stdin from here.
        mistakes: takes what is wrong with an input, in place of raising it.
        tell: tells the user that a file isn't what is said of it.

    Raises:
        UsageError: the file, or one that it names, is missing or broken.
    """
    file = None if name == "-" else typed(name)
    content = read_mapping(f"The inputs file {'on stdin' if name == '-' else name}", file, example="top: 5")
    base = file.parent if file else Path()
    namespaces = content.get("$namespaces")
    origin = Origin(base, upload, namespaces if isinstance(namespaces, dict) else {}, " in the inputs file", tell)
    wrong = mistakes or Mistakes()
    found = {}
    for key, value in content.items():
        if key not in _ABOUT:
            with wrong.of(key):
                found[key] = with_files(value, key, origin)
    if mistakes is None:
        wrong.throw()
    return found


def with_files(value: Any, name: str, origin: Origin) -> Any:
    """The value of the input `name` with its local files as `origin` makes them.

    Raises:
        UsageError: a file is missing, or can't be used.
    """
    if isinstance(value, list):
        return [with_files(item, name, origin) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class") not in ("File", "Directory"):
        return {key: with_files(member, name, origin) for key, member in value.items()}
    resolved = {key: with_files(member, name, origin) for key, member in value.items() if key not in _DERIVED}
    if isinstance(resolved.get("format"), str):
        resolved["format"] = _expanded(resolved["format"], origin.prefixes)
    local = _local(value, origin.base)
    if local is None:
        # An address may be written as a path, too.
        return {**resolved, **({"location": value["path"]} if "path" in value else {})}
    where = f"The input {name}{origin.words}"
    if not is_there(local):
        raise UsageError(f"{where} names {local}, which doesn't exist.")
    if (differs := _difference(resolved.pop("size", None), resolved.pop("checksum", None), local)) is not None:
        # Job files are often copied, these members too; runners don't look at them.
        origin.tell(f"WARNING: {where} names {local}, but {differs}. The file is used as it is.")
    if local.is_dir() and isinstance(resolved.get("listing"), list):
        # What is listed is what it holds.
        return {"basename": name_of(local), **{key: it for key, it in resolved.items() if key != "location"}}
    uploaded = origin.upload(local, value["class"])
    # What the file says of itself, its basename say, is stronger than what the upload suggests.
    return {**uploaded, **resolved, "location": uploaded["location"]}


def _expanded(term: str, prefixes: Mapping[str, Any]) -> str:
    """An IRI that is written with a prefix (`edam:format_2572`) in full."""
    prefix, sign, rest = term.partition(":")
    known = prefixes.get(prefix)
    return known + rest if sign and isinstance(known, str) else term


def _difference(size: Any, checksum: Any, local: Path) -> str | None:
    """In what a local file is not what is said of it; the end of a sentence."""
    if local.is_dir():
        return None
    try:
        if size is not None and size != local.stat().st_size:
            return f"it has {local.stat().st_size} bytes in place of {compact(size)}"
        if checksum is None:
            return None
        kind, _, digest = str(checksum).partition("$")
        if kind not in hashlib.algorithms_guaranteed or kind.startswith("shake"):
            return f"its checksum {compact(checksum)} is of no kind that can be compared, such as sha1$…"
        with local.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
    except OSError as error:
        raise UsageError(f"Can't read {local}: {error.strerror}.") from None
    return None if found == digest.lower() else f"its checksum is {kind}${found} in place of {compact(checksum)}"


def _local(value: dict[str, Any], base: Path) -> Path | None:
    """The local file that a File or Directory object names; None for literals, URLs, outputs and ids of uploads."""
    path = value.get("path")
    if isinstance(path, str):
        if path.startswith("file://"):
            return _of_address(path)
        return None if _ADDRESS.match(path) else base / typed(path)
    location = value.get("location")
    if not isinstance(location, str):
        return None
    if not _ADDRESS.match(location) and is_there(base / unquote(location)):
        return base / unquote(location)
    if OUTPUT.fullmatch(location):
        return None
    parts = urlsplit(location)
    if parts.scheme == "file":
        return _of_address(location)
    if parts.scheme:
        return None
    # A bare word may be the id of an upload.
    return base / unquote(location) if "/" in location or "." in location else None


def _of_address(location: str) -> Path:
    return Path(unquote(urlsplit(location).path))
