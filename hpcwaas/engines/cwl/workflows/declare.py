"""What a loaded CWL process declares, as JSON that `parameters.py` reads back. Pure; knows no CWL library."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlparse

from hpcwaas.engines.cwl.workflows.ontologies import Ontologies
from hpcwaas.engines.cwl.workflows.parameters import PRIMITIVES

if TYPE_CHECKING:
    from hpcwaas.core.models import JSON

Node: TypeAlias = Mapping[str, Any]

_STREAMS = frozenset({"stdin", "stdout", "stderr"})


def short(identifier: str) -> str:
    """The last part of an identifier: `file:///x.cwl#main/step/out` gives `out`. The rule by which CWL runners
    name inputs, members and symbols."""
    url = urlparse(identifier)
    return (url.fragment or url.path).rpartition("/")[2]


def in_written_order(items: Iterable[Node], written: Sequence[str]) -> list[Node]:
    """Undoes the alphabetical sorting that loading a map does.

    Args:
        written: keys of the map as they stand in the file; empty when it was a list.
    """
    place = {name: index for index, name in enumerate(written)}
    return sorted(items, key=lambda item: place.get(short(item["id"]), len(place)))


class Declarations:
    """Turns parameters into JSON, with named types written out in place.

    Args:
        types: those of SchemaDefRequirement.
        schemas: places of the ontologies that say which formats are kinds of others; read when there is need.
        complete: whether these are all.

    Attributes:
        warnings: what could not be expressed.
    """

    def __init__(self, types: Iterable[Node], schemas: Collection[str] = (), *, complete: bool = True) -> None:
        self._schemas = schemas
        self._complete = complete
        self._ontologies: Ontologies | None = None
        self._types: dict[str, Node] = {item["name"]: item for item in types}
        self._open: list[str] = []
        self.warnings: list[str] = []

    def parameter(self, node: Node, name: str) -> JSON:
        """One input, output or record member."""
        declared: dict[str, JSON] = {"name": name, "type": self._type(node["type"])}
        if node.get("label"):
            declared["label"] = str(node["label"])
        if document := text(node.get("doc")):
            declared["doc"] = document
        if "default" in node:
            declared["default"] = node["default"]
        formats = as_list(node.get("format"))
        if formats and not any(is_expression(item) for item in formats):
            declared["formats"] = formats
            if not self._complete:
                declared["narrower"] = None
            elif self._schemas:
                self._ontologies = self._ontologies or Ontologies(self._schemas)
                declared["narrower"] = self._ontologies.narrower(formats)
        if secondary := [*_secondary_files(node)]:
            declared["secondary_files"] = secondary
        return declared

    def _type(self, node: Any) -> JSON:
        if isinstance(node, list):
            options = list(_unique(self._type(option) for option in node))
            return options[0] if len(options) == 1 else options
        if isinstance(node, str):
            if node in _STREAMS:
                return "File"
            return node if node in PRIMITIVES else self._named(node)
        if node["type"] == "array":
            return {"type": "array", "items": self._type(node["items"])}
        if "name" in node:
            self._types.setdefault(node["name"], node)
            return self._named(node["name"])
        return self._compound(node)

    def _named(self, name: str) -> JSON:
        if name in self._open:
            self.warnings.append(f"type {short(name)} contains itself: what lies inside is left to the runner to check")
            return "Any"
        if name not in self._types:
            raise ValueError(f"type {short(name)} is not defined")
        self._open.append(name)
        try:
            return self._compound(self._types[name])
        finally:
            self._open.pop()

    def _compound(self, node: Node) -> JSON:
        compound: dict[str, JSON] = {"type": node["type"]}
        if "name" in node:
            compound["name"] = short(node["name"])
        if node["type"] == "array":
            return {"type": "array", "items": self._type(node["items"])}
        if node["type"] == "enum":
            return compound | {"symbols": [short(symbol) for symbol in node["symbols"]]}
        fields = node.get("fields") or []
        return compound | {"fields": [self.parameter(field, short(field["name"])) for field in fields]}


def steps(process: Node, written: Sequence[str], lone_name: str) -> list[JSON]:
    """The steps of a workflow, each after those whose outputs it takes; a lone tool is one step.

    Args:
        lone_name: name of that one step if the tool has no id of its own.
    """
    if process["class"] != "Workflow":
        fragment = urlparse(process["id"]).fragment
        name = short(process["id"]) if fragment and fragment != "main" else lone_name
        return [{"name": name, "label": process.get("label"), "doc": text(process.get("doc")), "after": []}]
    declared = {step["id"]: step for step in in_written_order(process["steps"], written)}
    maker = {_identifier(out): key for key, step in declared.items() for out in step["out"]}
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(declared, ()))
    after: dict[str, list[str]] = {}
    for key, step in declared.items():
        sources = [source for port in step["in"] for source in as_list(port.get("source"))]
        after[key] = list(_unique(maker[source] for source in sources if source in maker))
        order.add(key, *after[key])
    return [
        {
            "name": short(key),
            "label": declared[key].get("label"),
            "doc": text(declared[key].get("doc")),
            "after": [short(other) for other in after[key]],
        }
        for key in order.static_order()
    ]


def text(value: Any) -> str | None:
    """CWL's `doc`: a string or a list of lines."""
    return "\n".join(str(line) for line in as_list(value)).strip() or None


def _secondary_files(node: Node) -> Iterable[JSON]:
    for entry in as_list(node.get("secondaryFiles")):
        required = entry.get("required")
        found = {"pattern": entry["pattern"], "required": required is None or required is True}
        # An expression may say either, for each file.
        yield found | ({"condition": required} if isinstance(required, str) else {})


def is_expression(value: str) -> bool:
    """Whether something has to be evaluated in it."""
    return "$(" in value or "${" in value


def _identifier(node: Any) -> str:
    return node if isinstance(node, str) else str(node["id"])


def as_list(value: Any) -> list[Any]:
    """CWL's short form undone: a lone value stands for a list of one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _unique(items: Iterable[Any]) -> Iterable[Any]:
    seen: list[Any] = []
    for item in items:
        if item not in seen:
            seen.append(item)
            yield item
