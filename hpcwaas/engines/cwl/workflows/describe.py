"""Describes CWL documents with cwltool: `python -I -m hpcwaas.engines.cwl.workflows.describe`, in a process of its own.

Web processes never load cwltool, and what a document does to this process does nothing to them. The working directory
is the catalogue, the only argument the bytes of memory that it may take. Standard output gets the line ready. Then each
line of standard input holds `[SECONDS, {"id", "main", "fragment", "root"}]`, and is answered by a line:
`{"description": …}`, or `{"error": "name.cwl:12: reason"}` with the `files`, `directories` and names `missing` that
were looked at, and what else the error means: `unsure` (it may come from the machine), `swollen` (with more memory it
may go), `spent` (this process ends).
"""

from __future__ import annotations

import glob
import json
import logging
import os
import re
import resource
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from cwltool.context import LoadingContext
from cwltool.load_tool import fetch_document, make_tool, resolve_and_validate_document
from cwltool.workflow import default_make_tool
from schema_salad.exceptions import SchemaSaladException, ValidationException
from schema_salad.fetcher import DefaultFetcher

from hpcwaas.common import kernel
from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.dangers import find_dangers
from hpcwaas.engines.cwl.workflows.declare import (
    Declarations,
    as_list,
    in_written_order,
    is_expression,
    short,
    steps,
    text,
)
from hpcwaas.engines.cwl.workflows.needs import MPI, step_needs
from hpcwaas.engines.cwl.workflows.parameters import Secondary

DOCUMENT_LIMIT = 16 * 2**20
"""Largest document that is read, in bytes."""

_GROWN = 2**19
"""Resident memory, in KiB, from which on a process has suffered enough from its documents."""

_POSITION = re.compile(r"^\s*(?P<file>\S[^:\n]*):(?P<line>\d+):(?:\d+:)?\s*", re.MULTILINE)

_WRONG_CLASS = re.compile(r"Expected class '\S+' but this is (?P<given>'\S+')")


class _Files:
    """Files of the catalogue that one entry is made of, as absolute paths."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = root.resolve()
        self.files: set[Path] = set()
        self.directories: set[Path] = set()
        self.missing: set[Path] = set()
        self.refused: str | None = None

    def refuse(self, reference: str, reason: str) -> ValidationException:
        """The error about a reference that isn't followed, which `problem` will look for in the document."""
        self.refused = reference
        return ValidationException(reason)

    def inside(self, url: str) -> Path:
        """The path of a `file:` URL.

        Raises:
            ValidationException: it leads out of the catalogue.
        """
        path = Path(os.path.normpath(unquote(urlsplit(url).path)))
        if not path.is_relative_to(self.root):
            raise self.refuse(path.name, f"{path.name} lies outside the catalogue directory; put a copy into it")
        if not path.resolve().is_relative_to(self._real_root):
            self.missing.add(path)  # it may yet become a file
            shown = path.relative_to(self.root)
            raise self.refuse(path.name, f"{shown} is a link out of the catalogue directory; put a copy into it")
        return path

    def add(self, path: Path) -> None:
        """Takes in a file, or a directory with all it holds. What isn't there (yet) is remembered as missing."""
        if path.is_dir():
            self.directories.add(path)
            for child in path.iterdir():
                self.add(self.inside(child.as_uri()))
        elif path.is_file():
            self.files.add(path)
        else:
            self.missing.add(path)

    def names(self) -> dict[str, list[str]]:
        """All paths, relative to the root."""
        return {
            kind: sorted(str(path.relative_to(self.root)) for path in paths)
            for kind, paths in (("files", self.files), ("directories", self.directories), ("missing", self.missing))
        }

    def add_referenced(self, node: Any) -> Iterator[str]:
        """Takes in what File and Directory objects anywhere in `node` point at; yields what isn't there."""
        if isinstance(node, Mapping):
            place = node.get("location") or node.get("path")
            if node.get("class") in ("File", "Directory") and isinstance(place, str) and place.startswith("file:"):
                path = self.inside(place)
                self.add(path)
                if path in self.missing:
                    yield f"{path.relative_to(self.root)} does not exist"
            for value in node.values():
                yield from self.add_referenced(value)
        elif isinstance(node, list):
            for value in node:
                yield from self.add_referenced(value)


def _fetcher(files: _Files) -> type[DefaultFetcher]:
    class Fetcher(DefaultFetcher):  # type: ignore[misc]
        """Reads files of the catalogue only, notes which, and never opens a connection."""

        def __init__(self, cache: Any, session: Any) -> None:
            super().__init__(cache, None)

        def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
            if url in self.cache and isinstance(self.cache[url], str):
                return str(self.cache[url])
            if urlsplit(url).scheme != "file":
                raise files.refuse(url, f"{url} is not fetched: put a copy into the catalogue and refer to that")
            path = files.inside(url)
            files.add(path)
            if path.is_file() and path.stat().st_size > DOCUMENT_LIMIT:
                raise ValidationException(f"{path.relative_to(files.root)} is over {DOCUMENT_LIMIT >> 20} MiB")
            return str(super().fetch_text(url, content_types))

        def check_exists(self, url: str) -> bool:
            if urlsplit(url).scheme != "file":
                return True
            path = files.inside(url)
            files.add(path)
            return path.exists()

    return Fetcher


def describe(entry: Mapping[str, JSON], files: _Files) -> dict[str, JSON]:
    """Describes one entry.

    Args:
        entry: `id`, `main` (path relative to the catalogue), `fragment` (process inside the document, or None).
        files: takes in the files that the entry is made of.

    Raises:
        SchemaSaladException: the document isn't valid.
    """
    root = files.root
    context = LoadingContext(
        {
            "construct_tool_object": default_make_tool,
            "fetcher_constructor": _fetcher(files),
            # Both would start programs or open connections, and neither changes what is described.
            "disable_js_validation": True,
            "skip_schemas": True,
        }
    )
    url = (root / entry["main"]).as_uri()
    context, document, _ = fetch_document(url, context)
    if not isinstance(document, Mapping):
        raise ValidationException(
            "this is no CWL document: a map with cwlVersion and class, or with $graph, is expected"
        )
    _refuse_double("process", [str(item.get("id", item)) for item in as_list(document.get("$graph"))])
    fragment = entry["fragment"] or _fragment(document, entry)
    written = _written(document, fragment)
    context, uri = resolve_and_validate_document(context, document, f"{url}#{fragment}" if fragment else url)
    tool = make_tool(uri, context)
    process = tool.tool
    tool.visit(lambda node: _refuse_abstract(files, node))
    tool.visit(_refuse_doubles)
    warnings: list[str] = []
    tool.visit(lambda node: warnings.extend(files.add_referenced(node)))
    tool.visit(lambda node: _add_default_secondary_files(files, node))
    for place, loaded in list(context.loader.idx.items()):
        if isinstance(loaded, Mapping):
            _add_ontologies(files, place, loaded)
    definitions = tool.get_requirement("SchemaDefRequirement")[0] or {}
    declarations = Declarations(definitions.get("types", ()))
    described = {
        section: [
            declarations.parameter(node, short(node["id"]))
            for node in in_written_order(process[section], written[section])
        ]
        for section in ("inputs", "outputs")
    }
    return {
        "main": entry["main"],
        "fragment": fragment,
        "class": process["class"],
        "cwlVersion": tool.metadata.get("http://commonwl.org/cwltool#original_cwlVersion")
        or document.get("cwlVersion"),
        "label": process.get("label"),
        "doc": text(process.get("doc")),
        **described,
        "steps": (declared := steps(process, written["steps"], entry["id"])),
        "needs": step_needs(tool, [step["name"] for step in declared]),
        **files.names(),
        "warnings": sorted({*warnings, *declarations.warnings}),
        "dangers": find_dangers(tool, str(root), entry["main"]),
    }


def problem(error: BaseException, main: str, files: _Files) -> str:
    """An error as `file:line: reason` in one line, with paths relative to the catalogue."""
    root = files.root
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
    if line is None and files.refused:
        lines = (root / main).read_text("utf-8", "replace").splitlines()
        line = next((number for number, content in enumerate(lines, 1) if files.refused in content), None)
    where = (where or main).removeprefix("file://").removeprefix(f"{root}/")
    place = f"{where}:{line}" if line else where
    reason = " ".join(reason.replace(f"{root.as_uri()}/", "").replace(f"{root}/", "").split())
    return f"{place}: {reason[:500]}" + (f" (and {more} more)" if more else "")


def _reason(error: BaseException) -> str:
    match error:
        case StopIteration():
            return "the document is empty"
        case UnicodeDecodeError():
            return "the document isn't UTF-8 text"
        case RecursionError() | MemoryError():
            return "the document is nested too deeply or grows too large"
        case _TooLong():
            return f"reading it takes longer than {error} seconds"
    return str(error) or type(error).__name__


def _fragment(document: Mapping[str, Any], entry: Mapping[str, JSON]) -> str | None:
    """The process to run of a `$graph`, where the document leaves no choice and doesn't call it `main`."""
    processes = [item for item in document.get("$graph", ()) if isinstance(item, Mapping)]
    names = [str(item.get("id", "")).removeprefix("#") for item in processes]
    if "main" in names or not processes:
        return None
    workflows = [name for name, item in zip(names, processes, strict=True) if item.get("class") == "Workflow"]
    candidates = workflows or names
    if len(candidates) != 1:
        each = ", ".join(f'{{document: "{entry["main"]}#{name}", id: {entry["id"]}.{name}}}' for name in candidates[:3])
        raise ValidationException(
            f"none of {', '.join(names)} is called main; say which to run in the metadata file: "
            f'`main: "#{candidates[0]}"`, or publish several by catalogue.yaml: `workflows: [{each}]`'
        )
    return candidates[0]


def _written(document: Mapping[str, Any], fragment: str | None) -> dict[str, list[str]]:
    """Keys of the process's maps as they stand in the file: loading sorts them, and changes the document in place."""
    process: Mapping[str, Any] = document
    for item in document.get("$graph", ()):
        if isinstance(item, Mapping) and str(item.get("id", "")).removeprefix("#") == (fragment or "main"):
            process = item
    sections = {name: process.get(name) for name in ("inputs", "outputs", "steps")}
    return {name: [*section] if isinstance(section, Mapping) else [] for name, section in sections.items()}


def _refuse_abstract(files: _Files, process: Mapping[str, Any]) -> None:
    if process["class"] == "Operation":
        document = urldefrag(process["id"])[0].rpartition("/")[2]
        raise files.refuse(document, "an Operation is abstract and can't be run")


def _refuse_doubles(node: Mapping[str, Any]) -> None:
    """Refuses two things with one name in a list: runners take either of them silently."""
    for section, word in (("inputs", "input"), ("outputs", "output"), ("steps", "step")):
        items = [item for item in as_list(node.get(section)) if isinstance(item, Mapping)]
        _refuse_double(word, [str(item["id"]) for item in items if "id" in item])
        for item in items:
            _refuse_double_members(item.get("type"))
            _refuse_double("input of a step", [str(port["id"]) for port in as_list(item.get("in"))])
    for section in ("requirements", "hints"):
        items = [item for item in as_list(node.get(section)) if isinstance(item, Mapping)]
        different = {json.dumps(item, sort_keys=True, default=str): str(item.get("class")) for item in items}
        _refuse_double(f"class of {section}", list(different.values()))


def _refuse_double_members(kind: Any) -> None:
    for option in as_list(kind):
        if isinstance(option, Mapping):
            fields = as_list(option.get("fields"))
            _refuse_double("member of a record", [str(field["name"]) for field in fields])
            for inner in (option.get("items"), *(field.get("type") for field in fields)):
                _refuse_double_members(inner)


def _refuse_double(what: str, names: list[str]) -> None:
    for name, number in Counter(names).items():
        if number > 1:
            raise ValidationException(f"the {what} {short(name)} is given {number} times")


def _add_default_secondary_files(files: _Files, process: Mapping[str, Any]) -> None:
    for node in process.get("inputs", ()):
        _add_secondary_files(files, node, node.get("default"))


def _add_secondary_files(files: _Files, node: Mapping[str, Any], default: Any) -> None:
    """Files that a runner looks for beside a default file by the declared patterns."""
    match default:
        case list():
            for item in default:
                _add_secondary_files(files, node, item)
        case {"class": "File", "location": str(place)} | {"class": "File", "path": str(place)}:
            if place.startswith("file:"):
                _add_beside(files, files.inside(place), as_list(node.get("secondaryFiles")))
        case Mapping():
            for field in _fields(node["type"]):
                _add_secondary_files(files, field, default.get(short(field["name"])))


def _add_beside(files: _Files, primary: Path, patterns: list[Mapping[str, Any]]) -> None:
    for entry in patterns:
        if not is_expression(entry["pattern"]):
            name = Secondary(entry["pattern"], required=False).name(primary.name)
            files.add(files.inside(primary.with_name(name).as_uri()))
        elif primary.parent.is_dir():
            # Only the runner can evaluate it; what begins alike is what it may name.
            for path in primary.parent.glob(glob.escape(primary.name.partition(".")[0]) + "*"):
                files.add(files.inside(path.as_uri()))


def _fields(kind: Any) -> Iterator[Mapping[str, Any]]:
    """The members of a record type, and of one inside a union or an array."""
    for option in as_list(kind):
        if isinstance(option, Mapping):
            yield from option.get("fields") or _fields(option.get("items"))


def _add_ontologies(files: _Files, place: str, document: Mapping[str, Any]) -> None:
    schemas = document.get("$schemas")
    for schema in [schemas] if isinstance(schemas, str) else schemas or ():
        location = urljoin(urldefrag(place)[0], schema)
        if urlsplit(location).scheme == "file":
            files.add(files.inside(location))


class _Warnings(logging.Handler):
    """Collects cwltool's warnings about one document."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(" ".join(re.sub(r"\x1b\[[0-9;]*m", "", record.getMessage()).split()))


class _TooLong(BaseException):
    """The time for a document is over. Not an `Exception`, of which cwltool catches any in some places."""


def _too_long(seconds: float) -> None:
    def stop(_signal: int, _frame: object) -> None:
        raise _TooLong(f"{seconds:g}")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(seconds: float, entry: Mapping[str, JSON], files: _Files, collected: _Warnings) -> dict[str, JSON]:
    """Describes an entry, or says why that can't be done."""
    collected.messages.clear()
    try:
        try:
            _too_long(seconds)
            description = describe(entry, files)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        description["warnings"] += collected.messages
        json.dumps(description, allow_nan=False)
        return {"description": description}
    except (Exception, _TooLong) as error:
        # cwltool meets odd documents with any exception at all; each is a finding about that document.
        files.files.add(files.root / entry["main"])
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > _GROWN
        return {
            "error": problem(error, entry["main"], files),
            **files.names(),
            "unsure": isinstance(error, _TooLong),
            "swollen": grown and not isinstance(error, _TooLong),
            "spent": grown or isinstance(error, _TooLong),
        }


def main() -> None:
    """Runs the program."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    collected = _Warnings()
    for name in ("cwltool", "salad"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [collected]
        logger.propagate = False
    catalogue = Path.cwd()
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        seconds, entry = json.loads(line)
        files = _Files(Path(entry["root"]) if entry["root"] else catalogue)
        answer = _answer(seconds, entry, files, collected)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if answer.get("spent"):
            break


if __name__ == "__main__":
    main()
