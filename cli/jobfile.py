"""Inputs from a YAML or JSON file, CWL job files among them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from .errors import UsageError
from .inputs import Upload
from .literals import Number, integer


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values, which CWL means: `on` and `no` are words, `2026-11-23` is no date, `1e3` is a number."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), [c if c != "\0" else "" for c in _first]
    )
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: integer(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: Number(node.value))


def read(name: str, upload: Upload) -> dict[str, Any]:
    """The inputs in a file; local files and directories that it names are uploaded.

    Args:
        name: of the file; `-` is stdin. Paths in it count from the file's directory, those of stdin from here.

    Raises:
        UsageError: the file, or one that it names, is missing or broken.
    """
    place = "stdin" if name == "-" else name
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise UsageError(f"--inputs-file {place}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"--inputs-file {place}: not text.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"--inputs-file {place}: neither YAML nor JSON: {' '.join(str(error).split())}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"--inputs-file {place}: expected a mapping of names to values.")
    base = Path() if name == "-" else Path(name).parent
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
    if not local.exists():
        raise UsageError(f"--inputs-file: input {name}: there is no {value['class'].lower()} {local}.")
    uploaded = upload(local, value["class"])
    # What the file says of itself, its basename say, is stronger than what the upload suggests.
    return {**uploaded, **resolved, "location": uploaded["location"]}


def _local(value: dict[str, Any], base: Path) -> Path | None:
    """The local file that a File or Directory object names; None for literals, URLs and ids of uploads."""
    if isinstance(value.get("path"), str):
        return base / Path(value["path"]).expanduser()
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
    return local if local.exists() or "/" in location or "." in location else None
