"""Inputs from the command line made into the values that a workflow takes. No network."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import globs, jobfile, literals, schemas
from .errors import UsageError
from .local_paths import is_there, typed
from .mistakes import Mistakes
from .planned import Tell, Upload
from .schemas import Schema, fits, takes_files, takes_only

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


def values(
    given: Iterable[Given],
    schema: Schema | None,
    upload: Upload,
    mistakes: Mistakes | None = None,
    tell: Tell = lambda _: None,
) -> dict[str, Any]:
    """The inputs by name, each in the type that the workflow takes.

    What doesn't fit is passed on as it is: the service then says what is wrong with all inputs at once.

    Args:
        schema: JSON Schema of the workflow's inputs; without it every value is a string.
        upload: called for `NAME=@FILE` where a file or directory is taken.
        mistakes: takes what is wrong, in place of raising it.
        tell: tells the user what was made of a pattern or a folder.

    Raises:
        UsageError: broken JSON, a missing file, or an input that takes one value and is given several times; all of
            them at once.
    """
    root = schema or {}
    declared: Mapping[str, Schema] = schemas.properties(root)
    together: dict[str, list[Given]] = {}
    for item in given:
        together.setdefault(item.name, []).append(item)
    result: dict[str, Any] = {}
    wrong = mistakes or Mistakes()
    for name, items in together.items():
        own = declared.get(name, {})
        with wrong.of(name):
            if len(items) > 1:
                _check_repeated(name, items, own, root)
            try:
                value = _json(items[0]) if items[0].raw else items[0].text
                if schema is not None:
                    value = value if items[0].raw else _value(items, own, root, upload, tell)
                    value = jobfile.with_files(value, name, jobfile.Origin(Path(), upload, tell=tell))
                result[name] = value
            except literals.Wrong as broken:
                raise UsageError(f"--inputs {name}: {broken}.") from None
    if mistakes is None:
        wrong.throw()
    return result


def _check_repeated(name: str, items: Sequence[Given], own: Schema, root: Schema) -> None:
    """Refuses an input that is given several times, unless it is a list, which grows."""
    if any(item.raw for item in items):
        raise UsageError(f"--inputs {name} is given {len(items)} times. As JSON ({name}:=…) it can be given only once.")
    if not schemas.lists(own, root):
        hint = f"Give a list as JSON: -i '{name}:=[…]'" if "any" in schemas.kinds(own, root) else None
        raise UsageError(f"--inputs {name} is given {len(items)} times, but takes one value.", hint=hint)


def _json(item: Given) -> Any:
    try:
        return literals.loads(item.text)
    except ValueError as error:
        raise UsageError(f"--inputs {item.name}:=… isn't JSON: {error}.") from None


def _value(items: Sequence[Given], own: Schema, root: Schema, upload: Upload, tell: Tell) -> Any:
    """The value of an input that is given once, or several times where it may be a list."""
    parts = [part for item in items for part in _parts(item, own, root, upload, tell)]
    lists = schemas.lists(own, root)
    others = {kind for kind in schemas.kinds(own, root) if kind not in ("array", "null")}
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
    for members in sorted(lists, key=lambda members: "string" in schemas.kinds(members, root)):
        found = [
            member for part in parts for member in (_members(part, members, root) if isinstance(part, str) else [part])
        ]
        if all(fits(member, members, root) for member in found):
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
            one = not all(fits(each, members, root) for each in listed) and fits(listed, members, root)
            return [listed] if one else listed
    if not {"string", "object", "any"} & schemas.kinds(members, root):
        return [convert(part.strip(), members, root) for part in text.split(",")]
    return [convert(text, members, root)]


def _parts(item: Given, own: Schema, root: Schema, upload: Upload, tell: Tell) -> list[Any]:
    """The text of an input, or what stands for the local files that it names."""
    if item.text.startswith("@") and takes_files(own, root):
        return _uploaded(item, own, root, upload, tell)
    if takes_only({"File", "Directory"}, own, root) and _is_local(item.text):
        hint = f"Put an @ before it: {shlex.join(('-i', f'{item.name}=@{item.text}'))}"
        raise UsageError(f"--inputs {item.name}={item.text} names a local file.", hint=hint)
    return [item.text]


def _uploaded(item: Given, own: Schema, root: Schema, upload: Upload, tell: Tell) -> list[Any]:
    """What stands for the local files and directories that an input names with `@`."""
    here, word = f"--inputs {item.name}={item.text}", item.text[1:]
    if not word:
        raise UsageError(f"{here}: give the name of a file after the @.")
    leaves, path = schemas.leaves(own, root), typed(word)
    several = bool(schemas.lists(own, root))
    found = [path]
    if not is_there(path):
        found = globs.matching(word, leaves) if globs.is_pattern(word) else []
        if not found:
            raise UsageError(f"{here}: there is no file {path}.")
    elif path.is_dir() and not leaves & {"Directory", "Any"}:
        if not several:
            raise UsageError(f"{here}: {path} is a directory, but the input takes a file.")
        found = _inside(path, own, here)
    if len(found) > 1 and not several:
        raise UsageError(f"{here}: this names {len(found)} files, but the input takes one.")
    if found != [path]:
        tell(f"{item.name}: {len(found)} file{'s' * (len(found) != 1)} of {word}")
    only = leaves == {"Directory"}
    return [upload(each, "Directory" if only or each.is_dir() else "File") for each in found]


def _inside(folder: Path, own: Schema, here: str) -> list[Path]:
    patterns = [each for each in own.get("x-secondaryFiles") or () if not globs.is_expression(each)]
    try:
        found = globs.files_of(folder, patterns)
    except OSError as error:
        raise UsageError(f"{here}: can't read {folder}: {error.strerror}.") from None
    if not found:
        hint = f"For files deeper in it: -i '{here.partition('=')[0].removeprefix('--inputs ')}=@{folder}/**'"
        raise UsageError(f"{here}: there is no file in the directory {folder}.", hint=hint)
    return found


def _is_local(text: str) -> bool:
    try:
        return bool(text) and typed(text).exists()
    except (OSError, ValueError):
        return False


def convert(text: str, own: Schema, root: Schema) -> Any:
    """`text` in the most particular type of the schema that it fits; else `text`.

    Args:
        root: the document that `$ref` in `own` points into.

    Raises:
        literals.Wrong: it can only be a number or JSON, and is a broken one.
    """
    for choice in schemas.choices(own, root):
        if text in choice.get("enum", ()):
            return text
    kinds = schemas.kinds(own, root)
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
