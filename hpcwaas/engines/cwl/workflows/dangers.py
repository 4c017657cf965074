"""What a published workflow lets its users do that its publisher may not have meant.

Nothing is run. What users' text may reach is followed through expressions and steps: rather too far than too little.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from hpcwaas.engines.cwl.workflows.declare import as_list, is_expression, short
from hpcwaas.engines.cwl.workflows.taint import (
    CLEAN,
    Inputs,
    Kind,
    Taint,
    all_of,
    expression,
    holds,
    library_of,
    named_types,
    ports,
)

MOST = 50
"""Sentences about one workflow."""

_STREAMS = {
    "stdin": "which file a tool reads",
    "stdout": "which file a tool writes",
    "stderr": "which file a tool writes",
}
_FILES = re.compile(r"\b(location|path|File|Directory)\b")
_WRITES = re.compile(
    r"-{1,2}(o|O|out|output|outfile|outdir|out[-_].*|output[-_].*|log|log[-_]?file|dest|target)=?|of=|>+"
)
_PROGRAMS = re.compile(
    r"(ba|da|k|z|c|tc|fi)?sh|busybox|python[0-9.]*|perl[0-9.]*|ruby[0-9.]*|node|nodejs|php|lua[0-9.]*|tclsh[0-9.]*|awk|gawk|"
    r"mawk|nawk|sed|gsed|Rscript|R|julia|octave|matlab|gnuplot|expect|java|env|xargs|sudo|ssh|nohup|nice|timeout|time|setsid|"
    r"stdbuf|eval|exec|parallel|srun|sbatch|mpirun|mpiexec|make|bc|jq|sqlite3|psql|vim?|ed"
)
"""Programs that run what they are given."""
_CODE = re.compile(r"-[A-Za-z]*[ceErp]|--(eval|exec|execute|command|expression|program|vanilla-eval)=?")
_ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
_VARIABLES = re.compile(
    r"PATH|LD_\w+|DYLD_\w+|PYTHON\w*|PERL\w*|RUBY\w*|NODE\w*|JAVA\w*|_JAVA\w*|R_\w+|LUA\w*|BASH_ENV|ENV|IFS|SHELL|HOME|TMPDIR|"
    r"PAGER|EDITOR|GIT_\w+|SSH_\w+|\w*PRELOAD\w*|PROMPT_COMMAND|\w*_OPTS|\w*_OPTIONS"
)
"""Variables that change which programs run."""


def find_dangers(tool: Any, root: str, main: str) -> list[str]:
    """What users of a process could do with their inputs, a sentence each.

    Args:
        tool: as cwltool loads it.
        root: directory of the catalogue.
        main: path of the document in it.
    """
    types = named_types(tool)
    inputs = {}
    for node in tool.tool["inputs"]:
        name = short(node["id"])
        kind = holds(node["type"], types)
        inputs[name] = Taint(kind, frozenset({name})) if kind else CLEAN
    found = list(dict.fromkeys(_of(tool, inputs, root, main)))
    more = [f"There are {len(found) - MOST} more warnings of this kind."] if len(found) > MOST else []
    return found[:MOST] + more


def _of(tool: Any, inputs: Inputs, root: str, around: str) -> Iterator[str]:
    place = _place(tool.tool["id"], root) or around
    if tool.tool["class"] == "Workflow":
        yield from _of_steps(tool, inputs, root, place)
        return
    types = named_types(tool)
    kinds = {short(node["id"]): holds(node["type"], types) for node in tool.tool["inputs"]}
    # A number stays a number, whatever it comes from.
    given = {name: inputs.get(name, CLEAN).at_most(kind) for name, kind in kinds.items()}
    for what, taint in _Tool(tool, given, library_of(tool)).dangers():
        names = ", ".join(f"`{name}`" for name in sorted(taint.inputs))
        yield f"{place}: whoever gives {names} chooses {what}"


def _of_steps(tool: Any, inputs: Inputs, root: str, place: str) -> Iterator[str]:
    """Follows what users give from step to step until nothing new is found."""
    known = {node["id"]: inputs.get(short(node["id"]), CLEAN) for node in tool.tool["inputs"]}
    before = None
    while before != known:
        before = dict(known)
        for step in tool.steps:
            all_given = all_of(ports(step, known).values())
            types = named_types(step.embedded_tool)
            kinds = {short(node["id"]): holds(node["type"], types) for node in step.embedded_tool.tool["outputs"]}
            for out in as_list(step.tool["out"]):
                name = out if isinstance(out, str) else out["id"]
                kind = kinds.get(short(name), Kind.NOTHING)
                # A text may have been read from a file, or made of a file's name.
                known[name] = Taint(kind, all_given.inputs) if all_given.kind and kind else CLEAN
    for step in tool.steps:
        yield from _of(step.embedded_tool, ports(step, known), root, f"{place}, step {short(step.tool['id'])}")


def _place(identifier: str, root: str) -> str | None:
    """Where a process stands; None when it has no name of its own."""
    document, fragment = urldefrag(identifier)
    if not document.startswith("file:"):
        return None
    path = os.path.relpath(unquote(urlsplit(document).path), root)
    return f"{path}#{fragment}" if fragment else path


@dataclass(slots=True)
class _Word:
    """A part of a command line.

    Attributes:
        text: None when it isn't constant.
        certain: it is there whatever users give.
    """

    text: str | None
    taint: Taint = CLEAN
    prefix: str = ""
    certain: bool = True


class _Tool:
    """Looks through one tool."""

    def __init__(self, tool: Any, inputs: Inputs, library: str) -> None:
        self._get = tool.get_requirement
        self._node: Mapping[str, Any] = tool.tool
        self._inputs = inputs
        self._library = library

    def dangers(self) -> Iterator[tuple[str, Taint]]:
        """What is chosen, and what it depends on."""
        if self._node["class"] == "ExpressionTool":
            text = str(self._node.get("expression"))
            text = text if is_expression(text) else f"$({text})"
            if _FILES.search(text):
                yield from self._text("which files are outputs", self._depends(text))
        for name, what in _STREAMS.items():
            yield from self._text(f"{what} as {name}", self._depends(self._node.get(name)))
        for output in self._node["outputs"]:
            yield from self._output(output)
        yield from self._working_directory()
        yield from self._environment()
        if self._node["class"] == "CommandLineTool":
            yield from self._command()

    def _depends(self, text: Any, itself: Taint = CLEAN) -> Taint:
        return expression(text, self._inputs, self._library, itself)

    def _text(self, what: str, taint: Taint) -> Iterator[tuple[str, Taint]]:
        if taint.kind is Kind.TEXT:
            yield what, taint

    def _output(self, node: Mapping[str, Any]) -> Iterator[tuple[str, Taint]]:
        name = short(node.get("id") or node.get("name") or "")
        binding = node.get("outputBinding") or {}
        yield from self._text(f"which files are the output `{name}` (glob)", self._depends(binding.get("glob")))
        made = binding.get("outputEval")
        if isinstance(made, str) and _FILES.search(made):
            yield from self._text(f"which files are the output `{name}` (outputEval)", self._depends(made))
        for entry in as_list(node.get("secondaryFiles")):
            pattern = entry.get("pattern") if isinstance(entry, Mapping) else entry
            yield from self._text(f"which files lie beside the output `{name}`", self._depends(pattern))
        for option in as_list(node.get("type")):
            if isinstance(option, Mapping):
                for field in as_list(option.get("fields")):
                    yield from self._output(field)

    def _working_directory(self) -> Iterator[tuple[str, Taint]]:
        listing = (self._get("InitialWorkDirRequirement")[0] or {}).get("listing")
        for item in as_list(listing):
            if not isinstance(item, Mapping):
                yield from self._text("which files are put into the working directory", self._depends(item))
                continue
            name = item.get("entryname") or item.get("basename")
            yield from self._text("the name of a file that is written (entryname)", self._depends(name))
            shown = name if isinstance(name, str) and not is_expression(name) else "a file"
            content = self._depends(item.get("entry"))
            yield from self._text(f"what stands in {shown}, which tools may run (entry)", content)

    def _environment(self) -> Iterator[tuple[str, Taint]]:
        for item in as_list((self._get("EnvVarRequirement")[0] or {}).get("envDef")):
            if _VARIABLES.fullmatch(str(item["envName"])):
                what = f"the variable {item['envName']}, which changes what programs do"
                yield from self._text(what, self._depends(item.get("envValue")))
        for value in (self._get("DockerRequirement")[0] or {}).values():
            yield from self._text("the container that tools run in", self._depends(value))

    def _command(self) -> Iterator[tuple[str, Taint]]:
        shell = self._get("ShellCommandRequirement")[0] is not None
        words: list[tuple[float, _Word]] = []
        for argument in as_list(self._node.get("arguments")):
            binding = argument if isinstance(argument, Mapping) else {"valueFrom": argument}
            taint = self._depends(binding.get("valueFrom"))
            words.append((_position(binding), _word(binding, taint, constant=True)))
            yield from self._unquoted(binding, taint, shell=shell)
        for node in self._node["inputs"]:
            for binding in _bindings(node):
                itself = self._inputs.get(short(node["id"]), CLEAN)
                made = binding.get("valueFrom")
                taint = self._depends(made, itself) if made is not None else itself
                word = _word(binding, taint, constant=made is not None)
                words.append((_position(binding), replace(word, certain=_certain(node))))
                yield from self._unquoted(binding, taint, shell=shell)
                if _WRITES.fullmatch(str(binding.get("prefix") or "")):
                    what = f"the file that a tool may write, wherever it is (prefix {binding['prefix']})"
                    yield from self._text(what, taint)
        base = [_Word(str(word)) for word in as_list(self._node.get("baseCommand"))]
        yield from _run([*base, *(word for _, word in sorted(words, key=lambda item: item[0]))])

    def _unquoted(self, binding: Mapping[str, Any], taint: Taint, *, shell: bool) -> Iterator[tuple[str, Taint]]:
        if shell and binding.get("shellQuote") is False and taint.kind:
            yield "commands that a shell runs (shellQuote: false)", taint


def _bindings(node: Any) -> Iterator[Mapping[str, Any]]:
    """What puts an input, or parts of it, on the command line."""
    for option in as_list(node):
        if isinstance(option, Mapping):
            if isinstance(binding := option.get("inputBinding"), Mapping):
                yield binding
            for inner in (option.get("type"), option.get("items"), option.get("fields")):
                yield from _bindings(inner)


def _certain(node: Mapping[str, Any]) -> bool:
    """Whether an input always puts something on the command line."""
    kinds = as_list(node["type"])
    return all(kind in ("string", "int", "long", "float", "double", "File", "Directory") for kind in kinds) or (
        node.get("default") not in (None, [], False)
    )


def _position(binding: Mapping[str, Any]) -> float:
    """Where a part stands. One that an expression places may come first."""
    position = binding.get("position", 0)
    return float(position) if isinstance(position, int | float) else -float("inf")


def _word(binding: Mapping[str, Any], taint: Taint, *, constant: bool) -> _Word:
    made = binding.get("valueFrom")
    text = made if constant and isinstance(made, str) and not is_expression(made) else None
    return _Word(text, taint, str(binding.get("prefix") or ""))


def _run(words: list[_Word]) -> Iterator[tuple[str, Taint]]:
    """What of a command line names a program, or is one."""
    if not words:
        return
    runs, program, code = True, "", False
    for word in words:
        code = code or bool(_CODE.fullmatch(word.prefix) and program)
        if word.taint.kind and (code or (runs and not word.prefix)):
            yield (f"what {program} runs" if program else "the program that is run"), word.taint
        if word.text is None:
            # An option's value, or nothing at all: what comes next may still be the program.
            runs, code = runs and (bool(word.prefix) or not word.certain), False
            continue
        name = word.text.rpartition("/")[2]
        if runs and _PROGRAMS.fullmatch(name):
            program, code = name, False
        elif word.text.startswith("-"):
            code = bool(program) and bool(_CODE.fullmatch(word.text))
        elif not _ASSIGNMENT.fullmatch(word.text):
            runs, code = False, False
