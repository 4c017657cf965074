"""Inputs from a YAML or JSON file, CWL job files among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import UsageError
from .inputs import Upload
from .local_paths import is_there, typed
from .plain_yaml import read_mapping


def read(name: str, upload: Upload) -> dict[str, Any]:
    """The inputs in a file; local files and directories that it names are uploaded.

    Args:
        name: of the file; `-` is stdin. Paths in it count from the file's directory, those of stdin from here.

    Raises:
        UsageError: the file, or one that it names, is missing or broken.
    """
    file = None if name == "-" else typed(name)
    content = read_mapping(f"The inputs file {'on stdin' if name == '-' else name}", file, example="top: 5")
    base = file.parent if file else Path()
    return {key: _resolve(value, key, base, upload) for key, value in content.items()}


def _resolve(value: Any, name: str, base: Path, upload: Upload) -> Any:
    """The value with its local files uploaded."""
    if isinstance(value, list):
        return [_resolve(item, name, base, upload) for item in value]
    if not isinstance(value, dict):
        return value
    resolved = {key: _resolve(member, name, base, upload) for key, member in value.items() if key != "path"}
    if value.get("class") not in ("File", "Directory"):
        return {**resolved, **({"path": value["path"]} if "path" in value else {})}
    local = _local(value, base)
    if local is None:
        return resolved
    if not is_there(local):
        raise UsageError(f"The input {name} in the inputs file names {local}, which doesn't exist.")
    uploaded = upload(local, value["class"])
    # What the file says of itself, its basename say, is stronger than what the upload suggests.
    return {**uploaded, **resolved, "location": uploaded["location"]}


def _local(value: dict[str, Any], base: Path) -> Path | None:
    """The local file that a File or Directory object names; None for literals, URLs and ids of uploads."""
    if isinstance(value.get("path"), str):
        return base / typed(value["path"])
    location = value.get("location")
    if not isinstance(location, str):
        return None
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme:
        return None
    local = base / unquote(location)
    # A bare word may be the id of an upload.
    return local if "/" in location or "." in location or is_there(local) else None
