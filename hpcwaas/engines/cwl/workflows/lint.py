"""What of a loaded workflow fails only when it runs, with the lines that say so. A part of `describe.py`.

Nothing is evaluated. The JavaScript that is found is checked by `jshint.py`, outside of the process that describes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cwl_utils.errors import SubstitutionError
from cwl_utils.expression import scanner
from cwl_utils.sandboxjs import code_fragment_to_js, param_re

from hpcwaas.engines.cwl.workflows.declare import Declarations, as_list, is_expression, short
from hpcwaas.engines.cwl.workflows.mistakes import below
from hpcwaas.engines.cwl.workflows.parameters import (
    Array,
    CWLType,
    Enum,
    Primitive,
    Record,
    Secondary,
    Union,
    in_words,
    load_type,
)
from hpcwaas.engines.cwl.workflows.taint import library_of

if TYPE_CHECKING:
    from hpcwaas.core.models import JSON

_JAVASCRIPT = "InlineJavascriptRequirement"
_PLAIN = frozenset(
    (
        *("baseCommand", "class", "cwlVersion", "default", "doc", "hints", "id", "itemSeparator", "label", "linkMerge"),
        *("name", "out", "outputSource", "pickValue", "prefix", "requirements", "run", "scatter", "source", "steps"),
        "symbols",
    )
)
"""Members in which no expression is evaluated, and those that are looked at apart."""
_INPUT = re.compile(r"\(inputs\.(\w+)")
_MUCH_JAVASCRIPT = 4 * 2**20
"""Characters of more JavaScript than anybody writes."""

_IRI = re.compile(r"(https?|file|urn):", re.IGNORECASE)


def lint(tool: Any, root: Path, main: str) -> dict[str, list[JSON]]:
    """Looks through a workflow and all that it runs.

    Args:
        tool: as cwltool loads it.
        root: directory that the paths of places are relative to.
        main: path of its document.

    Returns:
        `findings`: sentences that begin with file and line; `scripts`: the JavaScript, each with its `place`, its
        `code` and the number of the library that it may call, one of `libraries`; `resources`: constants that tools ask
        for, each with its `place`.
    """
    found = _Lint(root)
    found.process(tool)
    scripts = [{"place": place, "code": code, "library": library} for place, code, library in found.scripts]
    if sum(len(code) for _, code, _ in found.scripts) + sum(map(len, found.libraries)) > _MUCH_JAVASCRIPT:
        found.findings.append(f"{main}: its JavaScript isn't checked: it has over {_MUCH_JAVASCRIPT >> 20} MiB")
        scripts, found.libraries = [], {}
    return {
        "findings": list(dict.fromkeys(found.findings)),
        "scripts": scripts,
        "libraries": list(found.libraries),
        "resources": found.resources,
    }


class _Lint:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.findings: list[JSON] = []
        self.scripts: dict[tuple[str, str, int], None] = {}
        self.libraries: dict[str, int] = {}
        self.resources: list[JSON] = []

    def process(self, tool: Any) -> None:
        node = tool.tool
        names = {short(each["id"]) for each in node["inputs"]}
        self._expressions(tool, node, names)
        for requirement in tool.requirements:
            # An expression that a workflow hands down is looked at where it is obeyed.
            if node["class"] != "Workflow" and requirement["class"] != _JAVASCRIPT:
                self._expressions(tool, requirement, names)
        if resources := tool.get_requirement("ResourceRequirement")[0]:
            self._resources(resources)
        declarations = Declarations((tool.get_requirement("SchemaDefRequirement")[0] or {}).get("types", ()))
        for each in node["inputs"]:
            self._input(each, declarations)
        for each in (*node["inputs"], *node["outputs"]):
            self._format(each)
        for step in getattr(tool, "steps", ()):
            ports = {short(port["id"]) for port in as_list(step.tool.get("in"))}
            for port in as_list(step.tool.get("in")):
                self._expressions(step, port, ports)
            if "when" in step.tool:
                self._expressions(step, {"when": step.tool["when"]}, ports, at=(step.tool, "when"))
            self.process(step.embedded_tool)
        if getattr(tool, "steps", ()):
            self._links(tool)

    def _say(self, node: Any, key: Any, sentence: str) -> None:
        self.findings.append(f"{self._place(node, key)}: {sentence}")

    def _place(self, node: Any, key: Any) -> str:
        """File and line of a member; the line of what it stands in where the member was made by loading."""
        marks = getattr(node, "lc", None)
        if marks is None:
            return "?"
        known = (marks.data or {}).get(key)
        name = below(unquote(urlsplit(str(getattr(marks, "filename", ""))).path), self._root)
        return f"{name}:{(known[0] if known else marks.line or 0) + 1}"

    def _expressions(self, tool: Any, node: Any, names: set[str], at: tuple[Any, Any] | None = None) -> None:
        items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            if isinstance(key, str) and (key in _PLAIN or ":" in key):
                continue
            if isinstance(value, str):
                if is_expression(value):
                    self._expression(tool, value, names, at or (node, key))
            else:
                self._expressions(tool, value, names, at)

    def _expression(self, tool: Any, text: str, names: set[str], at: tuple[Any, Any]) -> None:
        javascript = tool.get_requirement(_JAVASCRIPT)[0] is not None
        rest = text.strip()
        try:
            while found := scanner(rest):
                begin, end = found
                if rest[begin] == "$":
                    self._fragment(tool, rest[begin + 1 : end], names, at, javascript=javascript)
                rest = rest[end:]
        except SubstitutionError:
            self._say(*at, f"the expression {_short(text)} has no end: a bracket or a quote isn't closed")

    def _fragment(self, tool: Any, fragment: str, names: set[str], at: tuple[Any, Any], *, javascript: bool) -> None:
        # cwltool takes such for a reference without JavaScript.
        if param_re.fullmatch(fragment) and _known_root(fragment):
            if (match := _INPUT.match(fragment)) and match[1] not in names:
                self._say(*at, f"the expression ${fragment} names the input {match[1]}, which there isn't")
        elif javascript:
            place = self._place(*at)
            library = self.libraries.setdefault(library_of(tool), len(self.libraries))
            self.scripts[place, code_fragment_to_js(fragment, ""), library] = None
        else:
            self._say(*at, f"the expression ${_short(fragment)} is JavaScript, which needs {_JAVASCRIPT}")

    def _resources(self, node: Mapping[str, Any]) -> None:
        for key, unit in (("coresMin", "cores"), ("ramMin", "memory")):
            value = node.get(key)
            if isinstance(value, int | float):
                amount = value if unit == "cores" else value * 2**20
                self.resources.append({"place": self._place(node, key), "unit": unit, "amount": amount})

    def _input(self, node: Mapping[str, Any], declarations: Declarations) -> None:
        default = node.get("default")
        if default is None:
            return
        name = short(node["id"])
        kind = load_type(declarations.parameter(node, name)["type"])
        if isinstance(default, str) and is_expression(default):
            self._say(node, "default", f"the default of {name} is an expression, which isn't evaluated there")
        elif not fits(default, kind):
            self._say(node, "default", f"the default of {name} is not {in_words(kind)}")
        for file in _files(default):
            self._default_file(node, name, file)

    def _default_file(self, node: Mapping[str, Any], name: str, file: Mapping[str, Any]) -> None:
        url = file.get("location") or file.get("path")
        if not isinstance(url, str) or urlsplit(url).scheme != "file":
            return
        path = Path(unquote(urlsplit(url).path))
        if not path.exists():
            shown = below(str(path), self._root)
            self._say(node, "default", f"the default of {name} is {shown}, which does not exist")
            return
        given = {short(str(each.get("location", ""))) for each in as_list(file.get("secondaryFiles"))}
        for each in as_list(node.get("secondaryFiles")):
            pattern, required = each["pattern"], each.get("required")
            beside = Secondary(pattern, required=True).name(path.name)
            if required not in (None, True) or is_expression(pattern) or beside in given:
                continue
            if not path.with_name(beside).exists():
                self._say(node, "default", f"the default of {name} needs {beside} beside it, which does not exist")
        if file["class"] == "File" and node.get("format") and "format" not in file:
            self._say(node, "default", f"the default of {name} has no format, and the input asks for one")

    def _format(self, node: Mapping[str, Any]) -> None:
        name = short(node["id"])
        for each in as_list(node.get("format")):
            if not is_expression(each) and not _IRI.match(each):
                prefix = each.partition(":")[0]
                reason = f"the prefix {prefix} isn't among $namespaces" if ":" in each else "it isn't an IRI"
                self._say(node, "format", f"the format {each} of {name} means nothing: {reason}")
        for word in ("format", "secondaryFiles"):
            if node.get(word) and not re.search(r"File|Directory|stdout|stderr|stdin|Any|#", json.dumps(node["type"])):
                self._say(node, word, f"{word} of {name} says nothing: its type holds no files")

    def _links(self, tool: Any) -> None:
        """Formats and secondary files that a step's input wants, and what leads there doesn't promise."""
        promised = {each["id"]: each for each in tool.tool["inputs"]}
        for step in tool.steps:
            declared = {short(each["id"]): each for each in step.embedded_tool.tool["outputs"]}
            for out in as_list(step.tool["out"]):
                identifier = out if isinstance(out, str) else out["id"]
                if short(identifier) in declared:
                    promised[identifier] = declared[short(identifier)]
        for step in tool.steps:
            wanted = {short(each["id"]): each for each in step.embedded_tool.tool["inputs"]}
            for port in as_list(step.tool.get("in")):
                want = wanted.get(short(port["id"]))
                if want is None or "valueFrom" in port:
                    continue
                for source in as_list(port.get("source")):
                    if source in promised:
                        self._link(promised[source], want, port, f"{short(step.tool['id'])}/{short(port['id'])}")

    def _link(self, source: Mapping[str, Any], want: Mapping[str, Any], port: Any, name: str) -> None:
        where, given = short(source["id"]), as_list(source.get("format"))
        asked = as_list(want.get("format"))
        if asked and not any(is_expression(each) for each in (*asked, *given)):
            if not given:
                self._say(port, "source", f"{name} asks for a format, and {where} has none: it fails when it runs")
            elif not {*given} & {*asked}:
                shown = " or ".join(short(each) for each in asked)
                self._say(port, "source", f"{name} asks for the format {shown}, and {where} has {short(given[0])}")
        patterns = [each["pattern"] for each in as_list(source.get("secondaryFiles"))]
        for each in as_list(want.get("secondaryFiles")):
            plain = not any(is_expression(pattern) for pattern in (each["pattern"], *patterns))
            if plain and each.get("required") in (None, True) and each["pattern"] not in patterns:
                self._say(
                    port, "source", f"{name} needs the secondary file {each['pattern']}, which {where} doesn't declare"
                )


def fits(value: Any, kind: CWLType) -> bool:
    """Whether a value is of a type."""
    match kind:
        case Primitive("null"):
            return value is None
        case Primitive("Any"):
            return value is not None
        case Primitive("boolean"):
            return isinstance(value, bool)
        case Primitive("int" | "long"):
            return isinstance(value, int) and not isinstance(value, bool)
        case Primitive("float" | "double"):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Primitive("string"):
            return isinstance(value, str)
        case Primitive(name):
            return isinstance(value, Mapping) and value.get("class") == name
        case Enum(symbols):
            return value in symbols
        case Array(items):
            return isinstance(value, list) and all(fits(item, items) for item in value)
        case Record(fields):
            return isinstance(value, Mapping) and all(fits(value.get(each.name), each.type) for each in fields)
        case Union(options):
            return any(fits(value, option) for option in options)


def _files(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if value.get("class") in ("File", "Directory"):
            yield value
        else:
            for item in value.values():
                yield from _files(item)
    elif isinstance(value, list):
        for item in value:
            yield from _files(item)


def _known_root(fragment: str) -> bool:
    return re.match(r"\((inputs|self|runtime|null)\b", fragment) is not None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
