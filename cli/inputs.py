"""Inputs from the command line made into the values that a workflow takes. No network."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from . import literals
from .errors import UsageError
from .local_paths import is_there, typed

Schema: TypeAlias = Mapping[str, Any]
Upload: TypeAlias = Callable[[Path, str], Any]
"""Uploads a local file or directory to be a `File` or `Directory`, and returns the value that stands for it."""

_NAME = r"[A-Za-z_][\w.\-]*"
_PAIR = re.compile(rf"(?P<name>{_NAME})(?P<sign>:?=)(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Given:
    """One input as it was given on the command line.

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
                raise UsageError(f"--inputs {argument!r}: expected NAME=VALUE, NAME:=JSON or NAME=@FILE.")
            found.append(Given(name.removesuffix(":"), text, raw=name.endswith(":")))
    return found


def values(given: Iterable[Given], schema: Schema | None, upload: Upload) -> dict[str, Any]:
    """The inputs by name, each in the type that the workflow takes.

    What doesn't fit is passed on as it is: the service then says what is wrong with all inputs at once.

    Args:
        schema: JSON Schema of the workflow's inputs; without it every value is a string.
        upload: called for `NAME=@FILE` where a file or directory is taken.

    Raises:
        UsageError: broken JSON, a missing file, or an input that takes one value and is given several times.
    """
    root = schema or {}
    properties: Mapping[str, Schema] = root.get("properties") or {}
    together: dict[str, list[Given]] = {}
    for item in given:
        together.setdefault(item.name, []).append(item)
    for name, items in together.items():
        if len(items) > 1:
            _check_repeated(name, items, properties.get(name, {}), root)
    result: dict[str, Any] = {}
    for name, items in together.items():
        own = properties.get(name, {})
        try:
            if items[0].raw:
                result[name] = _json(items[0])
            elif schema is None:
                result[name] = items[0].text
            else:
                result[name] = _value(items, own, root, upload)
        except literals.Wrong as wrong:
            raise UsageError(f"--inputs {name}: {wrong}.") from None
    return result


def _check_repeated(name: str, items: Sequence[Given], own: Schema, root: Schema) -> None:
    """Refuses an input that is given several times, unless it is a list, which grows."""
    if any(item.raw for item in items):
        raise UsageError(f"--inputs {name} is given {len(items)} times. As JSON ({name}:=…) it can be given only once.")
    if not _lists(own, root):
        hint = f"Give a list as JSON: -i '{name}:=[…]'" if "any" in _kinds(own, root) else None
        raise UsageError(f"--inputs {name} is given {len(items)} times, but takes one value.", hint=hint)


def _json(item: Given) -> Any:
    try:
        return literals.loads(item.text)
    except ValueError as error:
        raise UsageError(f"--inputs {item.name}:=… isn't JSON: {error}.") from None


def _value(items: Sequence[Given], own: Schema, root: Schema, upload: Upload) -> Any:
    """The value of an input that is given once, or several times where it may be a list."""
    parts = [_part(item, own, upload) for item in items]
    lists = _lists(own, root)
    others = {kind for kind in _kinds(own, root) if kind not in ("array", "null")}
    if lists and (len(parts) > 1 or not others):
        return _list(parts, lists, root)
    (part,) = parts
    if not isinstance(part, str):
        return part
    value = convert(part, own, root)
    if lists and value == part and not {"string", "object", "any"} & others:
        return _list(parts, lists, root)  # `1,2` where a number or a list of numbers is taken
    return value


def _list(parts: Sequence[Any], lists: Sequence[Schema], root: Schema) -> list[Any]:
    """The list that the parts make: of the first kind of list that takes them all.

    Args:
        parts: texts, and what stands for uploads.
        lists: schemas of the members, for each kind of list that is taken.
    """
    found: list[Any] = []
    # What takes texts takes everything: it comes last.
    for members in sorted(lists, key=lambda members: "string" in _kinds(members, root)):
        found = [
            member for part in parts for member in (_members(part, members, root) if isinstance(part, str) else [part])
        ]
        if all(_fits(member, members, root) for member in found):
            break
    return found


def _members(text: str, members: Schema, root: Schema) -> list[Any]:
    """The members of a list that one text gives: `1,2` and `[1, 2]` are several."""
    if text.lstrip().startswith("["):
        try:
            listed = literals.loads(text)
        except ValueError:
            listed = None
        if isinstance(listed, list):
            one = not all(_fits(each, members, root) for each in listed) and _fits(listed, members, root)
            return [listed] if one else listed
    if not {"string", "object", "any"} & _kinds(members, root):
        return [convert(part.strip(), members, root) for part in text.split(",")]
    return [convert(text, members, root)]


def _part(item: Given, own: Schema, upload: Upload) -> Any:
    """The text of an input, or what stands for the local file that it names."""
    if item.text.startswith("@") and takes_files(own):
        return _uploaded(item, own, upload)
    if _takes_only("File|Directory", own) and _is_local(item.text):
        hint = f"Put an @ before it: {shlex.join(('-i', f'{item.name}=@{item.text}'))}"
        raise UsageError(f"--inputs {item.name}={item.text} names a local file.", hint=hint)
    return item.text


def _uploaded(item: Given, own: Schema, upload: Upload) -> Any:
    """What stands for the local file or directory that an input names with `@`."""
    here = f"--inputs {item.name}={item.text}"
    if not item.text[1:]:
        raise UsageError(f"{here}: give the name of a file after the @.")
    path = typed(item.text[1:])
    if not is_there(path):
        hint = f"Give -i {item.name}=@FILE once for each file." if set("*?,") & set(path.name) else None
        raise UsageError(f"{here}: there is no file {path}.", hint=hint)
    if path.is_dir() and _takes_only("File", own):
        hint = "Give its files one by one." if "[]" in str(own.get("x-type")) else None
        raise UsageError(f"{here}: {path} is a directory, but the input takes a file.", hint=hint)
    return upload(path, "Directory" if path.is_dir() or _takes_only("Directory", own) else "File")


def _is_local(text: str) -> bool:
    try:
        return bool(text) and typed(text).exists()
    except (OSError, ValueError):
        return False


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

    Raises:
        literals.Wrong: it can only be a number or JSON, and is a broken one.
    """
    for choice in _choices(own, root):
        if text in choice.get("enum", ()):
            return text
    kinds = _kinds(own, root)
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kinds & {"integer", "number"} and (number := _number(text, kinds)) is not None:
        return number
    if "null" in kinds and "string" not in kinds and text in ("null", ""):
        return None
    if kinds & {"object", "array"} and text.lstrip()[:1] in ("{", "["):
        try:
            return literals.loads(text)
        except literals.Wrong:
            if "string" not in kinds:
                raise
            return text
        except ValueError:
            return text
    return text


def _number(text: str, kinds: set[str]) -> int | float | None:
    """The number that a text is. Where texts are taken too, it must be one without doubt: `007` isn't."""
    try:
        found = literals.number(text, loose="string" not in kinds)
    except literals.Wrong:
        if "string" not in kinds:
            raise
        return None
    return found if "number" in kinds or isinstance(found, int) or text == "-0" else None


def _lists(own: Schema, root: Schema) -> list[Schema]:
    """The schemas of the members, for each kind of list that an input takes."""
    arrays = [choice for choice in _choices(own, root) if choice.get("type") == "array"]
    return [items if isinstance(items := array.get("items"), dict) else {} for array in arrays]


def _fits(value: Any, own: Schema, root: Schema) -> bool:
    """Whether a value has a type that the schema takes."""
    kinds = _kinds(own, root)
    match value:
        case None:
            wanted = {"null"}
        case bool():
            wanted = {"boolean"}
        case int():
            wanted = {"integer", "number"}
        case float():
            wanted = {"number"}
        case str():
            wanted = {"string"}
        case list():
            wanted = {"array"}
        case _:
            wanted = {"object"}
    return bool(kinds & (wanted | {"any"}))


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
