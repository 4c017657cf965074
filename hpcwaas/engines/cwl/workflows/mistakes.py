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

_UNKNOWN_TYPE = re.compile(
    r"(?:\S+ \S+ ){0,4}.*Could not make an Avro Schema object from (?P<name>\S+?)\.?(?:[\s;].*)?"
)
_NAMESPACE = re.compile(r".*\.(?:ya?ml|cwl|json)\.")
_AVRO = re.compile(r"\b(?:an? )?(?:valid )?Avro [Ss]chemas?(?: object)?")
_CONTEXT = re.compile(r"checking (?:field|item|object)\b")
_GONE = re.compile(r"Field '(?:location|path)' contains undefined reference to '(?:file://)?(?P<name>[^']+)'$")
_KIND = re.compile(r"^(?:Workflow checker warning|Warning):\s*")


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
    return f"{place}: {_plain(reason, root)[:500]}" + (f" (and {more} more)" if more else "")


def warnings_in(message: str, main: str, root: Path) -> list[str]:
    """What a warning of another program says, sentences of the form `file:line: reason`.

    Args:
        message: which may hold several, each with its place, and lines that go on with one.
        main: path of the document that is read.
        root: directory that paths are relative to.
    """
    message = _KIND.sub("", message)
    places, texts, begin, before = [main], [""], 0, None
    for match in _POSITION.finditer(message):
        texts[-1] += message[begin : match.start()]
        begin = match.end()
        place = f"{below(match['file'].removeprefix('file://'), root)}:{match['line']}"
        goes_on = place == before or message[begin : begin + 1].islower()  # "with sink …"
        if not goes_on or not texts[-1].strip():
            places.append(place)
            texts.append("")
        before = place
    texts[-1] += message[begin:]
    sentences = ((place, _plain(_KIND.sub("", text.strip()), root)) for place, text in zip(places, texts, strict=True))
    return [f"{place}: {sentence}" for place, sentence in sentences if sentence and not _CONTEXT.match(sentence)]


def _plain(reason: str, root: Path) -> str:
    """A text of another program in one line, without where the catalogue lies on this machine."""
    reason = " ".join(reason.split())
    for shown in (f"{root.as_uri()}/", f"{root}/", ".".join(root.parts[1:]) + "."):
        reason = reason.replace(shown, "")
    if match := _UNKNOWN_TYPE.fullmatch(reason):
        name = _NAMESPACE.sub("", match["name"])
        return (
            f"the type {name} is no record and no enum of SchemaDefRequirement: cwltool knows no others by their names"
        )
    return in_words(_AVRO.sub("a type", _GONE.sub(r"\g<name> does not exist", reason)))


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
