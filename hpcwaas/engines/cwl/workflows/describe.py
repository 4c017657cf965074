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
import random
import re
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urlsplit

from cwltool.context import LoadingContext
from cwltool.load_tool import fetch_document, make_tool, resolve_and_validate_document
from cwltool.workflow import default_make_tool
from schema_salad.exceptions import ValidationException

from hpcwaas.common import kernel
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
from hpcwaas.engines.cwl.workflows.doubles import refuse_double, refuse_doubles
from hpcwaas.engines.cwl.workflows.followed import Files, fetcher
from hpcwaas.engines.cwl.workflows.lint import lint
from hpcwaas.engines.cwl.workflows.mistakes import TooLong, problem, warnings_in
from hpcwaas.engines.cwl.workflows.needs import step_needs
from hpcwaas.engines.cwl.workflows.ontologies import named
from hpcwaas.engines.cwl.workflows.parameters import Secondary
from hpcwaas.engines.cwl.workflows.quicker import quicken

if TYPE_CHECKING:
    from hpcwaas.core.models import JSON  # whose module loads what a describing process has no use for

_GROWN = 2**19
"""Resident memory, in KiB, from which on a process has suffered enough from its documents."""


def describe(entry: Mapping[str, JSON], files: Files) -> dict[str, JSON]:
    """Describes one entry.

    Args:
        entry: `id`, `main` (path relative to the catalogue), `fragment` (process inside the document, or None).
        files: takes in the files that the entry is made of.

    Raises:
        Exception: the document isn't valid; see `problem`.
    """
    root = files.root
    context = LoadingContext(
        {
            "construct_tool_object": default_make_tool,
            "fetcher_constructor": fetcher(files),
            # Both would start programs or open connections, and neither changes what is described.
            "disable_js_validation": True,
            "skip_schemas": True,
            "doc_cache": False,
        }
    )
    url = (root / entry["main"]).as_uri()
    context, document, _ = fetch_document(url, context)
    if not isinstance(document, Mapping):
        raise ValidationException(
            "this is no CWL document: a map with cwlVersion and class, or with $graph, is expected"
        )
    refuse_double("process", [str(item.get("id", item)) for item in as_list(document.get("$graph"))])
    fragment = entry["fragment"] or _fragment(document, entry)
    written = _written(document, fragment)
    context, uri = resolve_and_validate_document(context, document, f"{url}#{fragment}" if fragment else url)
    tool = make_tool(uri, context)
    process = tool.tool
    tool.visit(lambda node: _refuse_abstract(files, node))
    tool.visit(refuse_doubles)
    warnings: list[str] = []
    tool.visit(lambda node: warnings.extend(files.add_referenced(node)))
    tool.visit(lambda node: _add_default_secondary_files(files, node))
    schemas = {
        schema
        for place, loaded in list(context.loader.idx.items())
        if isinstance(loaded, Mapping)
        for schema in named(place, loaded)
    }
    elsewhere = {schema for schema in schemas if urlsplit(schema).scheme != "file" or files.elsewhere(schema)}
    for schema in schemas - elsewhere:
        files.add(files.inside(schema))
    definitions = tool.get_requirement("SchemaDefRequirement")[0] or {}
    declarations = Declarations(definitions.get("types", ()), schemas - elsewhere, complete=not elsewhere)
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
        "namespaces": dict(tool.metadata.get("$namespaces") or {}),
        "javascript": tool.get_requirement("InlineJavascriptRequirement")[0],
        **files.names(),
        "warnings": [f"{entry['main']}: {each}" for each in sorted({*warnings, *declarations.warnings})],
        "dangers": find_dangers(tool, str(root), entry["main"]),
        "lint": _look_through(tool, root, entry["main"]),
    }


def _look_through(tool: Any, root: Path, main: str) -> dict[str, list[JSON]]:
    """What fails only when it runs. Whatever a document does to this look, it can be published all the same."""
    try:
        return lint(tool, root, main)
    except Exception:  # a look at documents of any form, whose defects must not withhold one that runs
        sentence = f"{main}: what may fail only when it runs can't be told of this document"
        return {"findings": [sentence], "scripts": [], "libraries": [], "resources": []}


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


def _refuse_abstract(files: Files, process: Mapping[str, Any]) -> None:
    if process["class"] == "Operation":
        document = urldefrag(process["id"])[0].rpartition("/")[2]
        raise files.refuse(document, "an Operation is abstract and can't be run")


def _add_default_secondary_files(files: Files, process: Mapping[str, Any]) -> None:
    for node in process.get("inputs", ()):
        _add_secondary_files(files, node, node.get("default"))


def _add_secondary_files(files: Files, node: Mapping[str, Any], default: Any) -> None:
    """Files that a runner looks for beside a default file by the declared patterns."""
    match default:
        case list():
            for item in default:
                _add_secondary_files(files, node, item)
        case {"class": "File", "location": str(place)} | {"class": "File", "path": str(place)}:
            if place.startswith("file:") and not files.elsewhere(place):
                _add_beside(files, files.inside(place), as_list(node.get("secondaryFiles")))
        case Mapping():
            for field in _fields(node["type"]):
                _add_secondary_files(files, field, default.get(short(field["name"])))


def _add_beside(files: Files, primary: Path, patterns: list[Mapping[str, Any]]) -> None:
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


class _Warnings(logging.Handler):
    """Collects cwltool's warnings about one document."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(re.sub(r"\x1b\[[0-9;]*m", "", record.getMessage()))


def _too_long(seconds: float) -> None:
    def stop(_signal: int, _frame: object) -> None:
        raise TooLong(f"{seconds:g}")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(seconds: float, entry: Mapping[str, JSON], files: Files, collected: _Warnings) -> dict[str, JSON]:
    """Describes an entry, or says why that can't be done."""
    collected.messages.clear()
    try:
        try:
            _too_long(seconds)
            random.seed(0)  # cwltool shuffles steps: what it says of them must not differ from time to time
            description = describe(entry, files)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        said = [each for text in collected.messages for each in warnings_in(text, entry["main"], files.root)]
        description["warnings"] = list(dict.fromkeys([*description["warnings"], *said]))
        json.dumps(description, allow_nan=False)
        return {"description": description}
    except (Exception, TooLong) as error:
        # cwltool meets odd documents with any exception at all; each is a finding about that document.
        files.files.add(files.root / entry["main"])
        grown = _most_memory() > _GROWN
        return {
            "error": problem(error, entry["main"], files.root, files.refused),
            **files.names(),
            "unsure": isinstance(error, TooLong),
            "swollen": grown and not isinstance(error, TooLong),
            "spent": grown or isinstance(error, TooLong),
        }


def _most_memory() -> int:
    """KiB that this process had resident at most. What `getrusage` tells begins with that of who started it."""
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


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
    quicken()
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        seconds, entry = json.loads(line)
        files = Files(Path(entry["root"]) if entry["root"] else catalogue)
        answer = _answer(seconds, entry, files, collected)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if answer.get("spent"):
            break


if __name__ == "__main__":
    main()
