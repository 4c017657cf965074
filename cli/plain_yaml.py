"""YAML without surprises: version 1.2's plain values, no key twice, and nothing that JSON can't express."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from . import literals
from .errors import UsageError
from .literals import Wrong

_MOST_VALUES = 1_000_000
"""What aliases may make of a document, counted in values: beyond that it is a trap."""


class _Loader(yaml.SafeLoader):
    """`on` and `no` are words, `2026-11-23` is no date, `1e3` is a number and `010` is ten."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.sizes: dict[yaml.Node, int] = {}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node in self.recursive_objects:
            raise _wrong("an alias is a part of what it stands for", node)
        made = super().construct_object(node, deep=True)
        if node not in self.sizes:
            self.sizes[node] = size = 1 + sum(self.sizes.get(each, 1) for each in _below(node))
            if size > _MOST_VALUES:
                raise _wrong("its aliases make it too large to be sent", node)
        return made


class _Words(_Loader):
    """All values are texts, exactly as written."""


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _wrong(detail: str, node: yaml.Node) -> Wrong:
    """What is wrong, and where. Of the document it quotes a key at most, or the beginning of a number."""
    return Wrong(f"line {node.start_mark.line + 1}: {detail}")


def _mapping(loader: _Loader, node: yaml.Node) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong("a mapping is expected", node)
    found: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    merges = False
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _wrong("a key must be text", key_node)
        key, value = key_node.value, loader.construct_object(value_node)
        if key_node.tag == "tag:yaml.org,2002:merge":
            if merges:
                raise _wrong('the key "<<" is given twice', key_node)
            merges = True
            merged = _merged(value, value_node)
        elif key in found:
            raise _wrong(f'the key "{key}" is given twice', key_node)
        else:
            found[key] = value
    return {**merged, **found}


def _merged(value: Any, node: yaml.Node) -> dict[str, Any]:
    """What `<<` brings in: of a list the first that has a key counts."""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, dict) for part in parts):
        raise _wrong("<< takes mappings only", node)
    return {key: member for part in reversed(parts) for key, member in part.items()}


def _sequence(loader: _Loader, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong("a list is expected", node)
    return [loader.construct_object(each) for each in node.value]


def _scalar(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong("a single value is expected", node)
    return str(node.value)


def _text(_: _Loader, node: yaml.Node) -> str:
    text = _scalar(node)
    try:
        # YAML's escapes may spell one character in two halves, as JSON's do.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _wrong("the text isn't valid Unicode", node) from None


def _number(_: _Loader, node: yaml.Node) -> int | float:
    try:
        found = literals.number(_scalar(node))
    except Wrong as wrong:
        raise _wrong(str(wrong), node) from None
    if found is None or (node.tag.endswith(":int") and not isinstance(found, int)):
        raise _wrong(f"{_scalar(node)[:40]} isn't a number that JSON allows", node)
    return found


def _boolean(_: _Loader, node: yaml.Node) -> bool:
    text = _scalar(node).lower()
    if text not in ("true", "false"):
        raise _wrong("true or false is expected", node)
    return text == "true"


def _null(_: _Loader, node: yaml.Node) -> None:
    if _scalar(node).lower() not in ("", "~", "null"):
        raise _wrong("nothing is expected after !!null", node)


def _unknown(_: _Loader, node: yaml.Node) -> Any:
    tag = node.tag.replace("tag:yaml.org,2002:", "!!")
    raise _wrong(f"a value of the kind {tag} can't be sent: give text, numbers, lists or mappings", node)


_MERGE = ("merge", "<<", "<")
_NULL = ("null", r"~|null|Null|NULL|", "~nN\0")
_PLAIN = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    _NULL,
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    # Infinity and what is no number are known to be refused.
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    _MERGE,
)
for _loader, _resolved in ((_Loader, _PLAIN), (_Words, (_NULL,))):
    _loader.yaml_implicit_resolvers = {}
    for _tag, _pattern, _first in _resolved:
        _loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), [c if c != "\0" else "" for c in _first]
        )
    _loader.yaml_constructors = {
        "tag:yaml.org,2002:map": _mapping,
        "tag:yaml.org,2002:seq": _sequence,
        "tag:yaml.org,2002:str": _text,
        "tag:yaml.org,2002:int": _number,
        "tag:yaml.org,2002:float": _number,
        "tag:yaml.org,2002:bool": _boolean,
        "tag:yaml.org,2002:null": _null,
        None: _unknown,
    }


def read_mapping(what: str, file: Path | None, *, example: str, secret: bool = False) -> dict[str, Any]:
    """The mapping in a YAML or JSON file; of an empty file, an empty one.

    Args:
        what: words for the file that begin a sentence.
        file: None is stdin.
        example: what the file might hold.
        secret: as for `load`.

    Raises:
        UsageError: the file is missing or broken.
    """
    try:
        text = file.read_text(encoding="utf-8-sig") if file else sys.stdin.read()
        content = load(text, secret=secret)
    except OSError as error:
        raise UsageError(f"{what} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{what} isn't text in UTF-8.") from None
    except Wrong as wrong:
        raise UsageError(f"{what} can't be used: {wrong}.") from None
    if not isinstance(content, dict | None):
        raise UsageError(f"{what} must hold lines such as `{example}`.")
    return content or {}


def load(text: str, *, secret: bool = False) -> Any:
    """The value in a YAML or JSON document; keys are texts.

    Args:
        secret: take every value but nothing (`null`, `~`) for text, and never quote one in an error.

    Raises:
        Wrong: it isn't YAML, or it holds something that this module doesn't take.
    """
    if not secret and text.lstrip().startswith("{"):
        # YAML takes almost all JSON, but not tabs and some escapes.
        with suppress(ValueError):  # a mapping of YAML in braces, say
            return literals.loads(text)
    try:
        return yaml.load(text, Loader=_Words if secret else _Loader)  # noqa: S506 - a SafeLoader
    except RecursionError:
        raise Wrong("it is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        if secret:  # the parser quotes what it stumbles over
            raise Wrong(f"{where}it isn't valid YAML") from None
        words = " ".join(str(getattr(error, "problem", None) or error).split())
        raise Wrong(f"{where}it is neither valid YAML nor valid JSON ({words})") from None
