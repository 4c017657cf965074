"""Inputs from the command line made into the values that a workflow takes. No network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from .errors import UsageError
from .literals import Number, integer, loads

Schema: TypeAlias = Mapping[str, Any]
Upload: TypeAlias = Callable[[Path, str], Any]
"""Uploads a local file or directory to be a `File` or `Directory`, and returns the value that stands for it."""

_NAME = r"[A-Za-z_][\w.\-]*"
_PAIR = re.compile(rf"(?P<name>{_NAME})(?P<sign>:?=)(?P<text>.*)", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HOW = "expected NAME=VALUE, NAME:=JSON or NAME=@FILE"


@dataclass(frozen=True, slots=True)
class Given:
    """One input as it stands on the command line.

    Attributes:
        raw: `text` is JSON (`name:=…`).
    """

    name: str
    text: str
    raw: bool = False


def split(arguments: Iterable[str]) -> list[Given]:
    """Takes `-i` arguments apart. `a=1,b=2` is two inputs, `text=a,b` is one: a comma splits only where a name and `=`
    follow every one.

    Raises:
        UsageError: an argument has another form.
    """
    found = []
    for argument in arguments:
        parts = argument.split(",")
        several = len(parts) > 1 and all((match := _PAIR.fullmatch(part)) and match["sign"] == "=" for part in parts)
        for part in parts if several else [argument]:
            name, sign, text = part.partition("=")
            if not sign or not name.rstrip(":"):
                raise UsageError(f"--inputs {argument!r}: {_HOW}.")
            found.append(Given(name.removesuffix(":"), text, raw=name.endswith(":")))
    return found


def values(given: Iterable[Given], schema: Schema | None, upload: Upload) -> dict[str, Any]:
    """The inputs by name, each in the type that the workflow takes.

    What doesn't fit is passed on as it is: the service then says what is wrong with all inputs at once.

    Args:
        schema: JSON Schema of the workflow's inputs; without it every value is a string.
        upload: called for `NAME=@FILE` where a file or directory is taken.

    Raises:
        UsageError: broken JSON, or a missing file.
    """
    properties: Mapping[str, Schema] = (schema or {}).get("properties") or {}
    result: dict[str, Any] = {}
    for item in given:
        if schema is None and not item.raw:
            result[item.name] = item.text
            continue
        own = properties.get(item.name, {})
        several = array_items(own, schema or {})
        value = _value(item, own, several, schema or {}, upload)
        if several is None or item.raw:
            result[item.name] = value
        else:
            result[item.name] = [*result.get(item.name, ()), *value]
    return result


def _value(item: Given, own: Schema, several: Schema | None, root: Schema, upload: Upload) -> Any:
    if item.raw:
        try:
            return loads(item.text)
        except ValueError as error:
            raise UsageError(f"--inputs {item.name}:=…: not JSON: {error}.") from None
    if item.text.startswith("@") and takes_files(own):
        value = _uploaded(item, own, upload)
        return value if several is None else [value]
    if _takes_only("File|Directory", own) and _is_local(item.text):
        raise UsageError(f"--inputs {item.name}={item.text}: put an @ before a local file: {item.name}=@{item.text}")
    if several is None:
        return convert(item.text, own, root)
    if item.text.lstrip().startswith("["):
        try:
            listed = loads(item.text)
        except ValueError:
            listed = None
        if isinstance(listed, list):
            return listed
    if not {"string", "object", "any"} & _kinds(several, root):
        return [convert(part.strip(), several, root) for part in item.text.split(",")]
    return [convert(item.text, several, root)]


def _uploaded(item: Given, own: Schema, upload: Upload) -> Any:
    """What stands for the local file or directory that an input names with `@`.

    Raises:
        UsageError: there is no such file, or the input takes none of its kind.
    """
    here = f"--inputs {item.name}={item.text}"
    path = Path(item.text[1:]).expanduser()
    if not item.text[1:]:
        raise UsageError(f"{here}: the name of the file is missing.")
    if not path.exists():
        hint = f"Give -i {item.name}=@FILE once for each file." if set("*?,") & set(path.name) else None
        raise UsageError(f"{here}: there is no file {path}.", hint=hint)
    if path.is_dir() and _takes_only("File", own):
        hint = "Give its files one by one." if "[]" in str(own.get("x-type")) else None
        raise UsageError(f"{here}: {path} is a directory, and a file is expected.", hint=hint)
    return upload(path, "Directory" if path.is_dir() or _takes_only("Directory", own) else "File")


def _is_local(text: str) -> bool:
    try:
        return bool(text) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False  # no name that a file could have


def takes_files(own: Schema) -> bool:
    """Whether an input takes files or directories, as far as its type tells."""
    declared = own.get("x-type")
    return not own or (isinstance(declared, str) and bool(re.search(r"\b(File|Directory|Any|stdin)\b", declared)))


def _takes_only(kinds: str, own: Schema) -> bool:
    """Whether an input takes nothing but these (`File|Directory`), one or a list of them."""
    return bool(re.fullmatch(rf"({kinds})(\[\])*\??", str(own.get("x-type"))))


def convert(text: str, own: Schema, root: Schema) -> Any:
    """`text` in the most particular type of the schema that it fits; else `text`.

    Args:
        root: the document that `$ref` in `own` points into.
    """
    for choice in _choices(own, root):
        if text in choice.get("enum", ()):
            return text
    kinds = _kinds(own, root)
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kinds & {"integer", "number"} and _INTEGER.fullmatch(text):
        return integer(text)
    if "number" in kinds and _NUMBER.fullmatch(text) and math.isfinite(number := Number(text)):
        return number
    if "null" in kinds and "string" not in kinds and text in ("null", ""):
        return None
    if kinds & {"object", "array"} and text.lstrip()[:1] in ("{", "["):
        try:
            return loads(text)
        except ValueError:
            return text
    return text


def array_items(own: Schema, root: Schema) -> Schema | None:
    """The schema of the members when the input takes a list and nothing else but null; else None."""
    choices = [choice for choice in _choices(own, root) if choice.get("type") != "null"]
    if len(choices) == 1 and choices[0].get("type") == "array":
        items = choices[0].get("items")
        return items if isinstance(items, dict) else {}
    return None


def _kinds(own: Schema, root: Schema) -> set[str]:
    """The JSON types that a schema takes; `any` when it doesn't say."""
    return {str(choice.get("type", "string" if "enum" in choice else "any")) for choice in _choices(own, root)}


def _choices(own: Schema, root: Schema, depth: int = 0) -> list[Schema]:
    """The alternatives of a schema, references followed, each with one type."""
    reference = own.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/") and depth < 16:
        target: Any = root
        for part in reference[2:].split("/"):
            target = target.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, dict) else {}
        return _choices(target, root, depth + 1)
    alternatives = own.get("anyOf") or own.get("oneOf")
    if alternatives and depth < 16:
        return [choice for alternative in alternatives for choice in _choices(alternative, root, depth + 1)]
    declared = own.get("type")
    if isinstance(declared, list):
        return [{**own, "type": one} for one in declared]
    return [own]
