"""Why a document can't be described, in words for its author. A part of `describe.py`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from schema_salad.exceptions import SchemaSaladException

from hpcwaas.engines.cwl.workflows.needs import MPI

_POSITION = re.compile(r"^\s*(?P<file>\S[^:\n]*):(?P<line>\d+):(?:\d+:)?\s*", re.MULTILINE)

_WRONG_CLASS = re.compile(r"Expected class '\S+' but this is (?P<given>'\S+')")

_WORDS = {"int": "a number", "float": "a number", "bool": "true or false", "str": "a string", "NoneType": "nothing"}
_PYTHON = (
    (re.compile(r"<class '(?:\w+\.)*(?P<name>\w+)'>"), lambda match: _WORDS.get(match["name"], "a list or a map")),
    (re.compile(r"\b(?:ordereddict|CommentedMap|OrderedDict)\(.*?\)(?=[\s,.;:]|$)", re.DOTALL), lambda _: "a map"),
    (re.compile(r"\bCommentedSeq\(.*?\)(?=[\s,.;:]|$)", re.DOTALL), lambda _: "a list"),
    (re.compile(r"<(?:[\w.]+ )+(?:object )?at 0x[0-9a-f]+>|<(?:cwltool|schema_salad|ruamel)[^>]*>"), lambda _: "it"),
    (re.compile(r"\{'[\w$:#/.]+': (?:[^{}]|\{[^{}]*\})*\}"), lambda _: "a map"),
)
"""What texts of other programs show of Python, and the words for it."""


class TooLong(BaseException):
    """The time for a document is over. Not an `Exception`, of which cwltool catches any in some places."""


def problem(error: BaseException, main: str, root: Path, refused: str | None) -> str:
    """An error as `file:line: reason` in one line, with paths relative to the root.

    Args:
        main: path of the document.
        root: directory that paths are relative to.
        refused: a reference that isn't followed, to be looked for in the document.
    """
    if isinstance(error, SchemaSaladException) and (leaves := error.leaves()):
        leaf = leaves[0]
        reason, where, line = str(leaf.message), leaf.file, leaf.start[0] if leaf.start else None
        more = len(leaves) - 1
        if match := _WRONG_CLASS.fullmatch(reason):  # said of every class that would be right
            reason, more = f"{match['given']} is not a class of CWL", 0
            if MPI in reason:
                reason += "'s standard; write it under `hints`, where runners that don't know it pass over it"
    else:
        reason, where, line, more = _reason(error), None, None, 0
    if where is None and (match := _POSITION.search(reason)):
        where, line = match["file"], int(match["line"])
        reason = _POSITION.sub("", reason)
    if line is None and refused:
        lines = (root / main).read_text("utf-8", "replace").splitlines()
        line = next((number for number, content in enumerate(lines, 1) if refused in content), None)
    where = below(where.removeprefix("file://"), root) if where else main
    place = f"{where}:{line}" if line else where
    reason = " ".join(reason.replace(f"{root.as_uri()}/", "").replace(f"{root}/", "").split())
    return f"{place}: {in_words(reason)[:500]}" + (f" (and {more} more)" if more else "")


def below(path: str, root: Path) -> str:
    """A path relative to the root where it lies there; libraries shorten it by the working directory."""
    whole = os.path.normpath(Path.cwd() / path)
    return os.path.relpath(whole, root) if Path(whole).is_relative_to(root) else path


def in_words(reason: str) -> str:
    """A text of another program without Python's spelling of values."""
    for pattern, words in _PYTHON:
        reason = pattern.sub(words, reason)
    return reason


def _reason(error: BaseException) -> str:
    match error:
        case StopIteration():
            return "the document is empty"
        case UnicodeDecodeError():
            return "the document isn't UTF-8 text"
        case RecursionError() | MemoryError():
            return "the document is nested too deeply or grows too large"
        case TooLong():
            return f"reading it takes longer than {error} seconds"
        case KeyError():
            return f"something in it has no {error}, without which cwltool can't read it"
        case TypeError() | AttributeError() | IndexError() | AssertionError():
            # Defects of the library: their texts speak of its own values.
            return (
                "cwltool can't read it: something is a map, a list or a plain value where the standard wants another "
                "of these; `cwltool --validate --debug` shows where"
            )
    return str(error) or "cwltool can't read it, and doesn't say why"
