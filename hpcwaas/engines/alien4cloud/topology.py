"""What a deployed topology says about its workflows: inputs as JSON Schema, steps, outputs. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import regex

from hpcwaas.core.models import JSON, OutputDeclaration, StepDeclaration, Workflow, WorkflowDetails
from hpcwaas.engines.orchestrated import tosca
from hpcwaas.engines.orchestrated.tosca import Schema

_NUMBERS = {
    "greaterThan": "exclusiveMinimum",
    "greaterOrEqual": "minimum",
    "lessThan": "exclusiveMaximum",
    "lessOrEqual": "maximum",
}

_LENGTHS = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


@dataclass(frozen=True, slots=True)
class StepInTopology(StepDeclaration):
    """A step as a topology has it.

    Attributes:
        silent: it calls nothing, it only sets a state: Alien4Cloud never tells what became of it.
        after_success, after_failure: names of the steps that it follows when these went well, or failed.
    """

    silent: bool = False
    after_success: tuple[str, ...] = ()
    after_failure: tuple[str, ...] = ()


def has_workflow(topology: Mapping[str, Any], name: str) -> bool:
    """Whether there is a workflow of this name."""
    return name in topology["topology"]["workflows"]


def details(topology: Mapping[str, Any], workflow: Workflow) -> WorkflowDetails:
    """A workflow with its inputs, outputs and steps."""
    definition = topology["topology"]["workflows"][workflow.name]
    inputs = definition.get("inputs") or {}
    outputs = output_attributes(topology)
    return WorkflowDetails(
        workflow=workflow,
        inputs=_inputs(inputs),
        outputs=tuple(_output(topology, name, *place) for name, place in outputs.items()),
        steps=steps(topology, workflow.name),
        version=tosca.digest([inputs, definition.get("steps"), sorted(outputs)]),
    )


def steps(topology: Mapping[str, Any], workflow: str) -> tuple[StepInTopology, ...]:
    """The steps of a workflow, each after those it follows."""
    declared = (topology["topology"]["workflows"].get(workflow) or {}).get("steps") or {}
    found = {}
    for name, step in declared.items():
        success, failure = (
            tuple(sorted(other for other in step.get(word) or () if other in declared))
            for word in ("precedingSteps", "precedingFailSteps")
        )
        activities = step.get("activities") or ()
        found[name] = StepInTopology(
            name,
            description=_activity(step),
            after=tuple(sorted({*success, *failure})),
            silent=bool(activities) and all(it.get("stateName") and not it.get("operationName") for it in activities),
            after_success=success,
            after_failure=failure,
        )
    return tosca.in_order(tuple(found.values()))


def operations(topology: Mapping[str, Any], workflow: str) -> dict[tuple[str, str], str]:
    """Names of the steps by the node and the operation (`interface.operation` in lower case) that they call."""
    found = {}
    for name, step in ((topology["topology"]["workflows"].get(workflow) or {}).get("steps") or {}).items():
        for activity in step.get("activities") or ():
            if activity.get("operationName"):
                operation = f"{activity.get('interfaceName')}.{activity['operationName']}"
                found[step.get("target") or "", operation.lower()] = name
    return found


def output_attributes(topology: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The outputs' nodes and attributes. An output is called like its attribute, with the node before it where several
    nodes have one of that name: the names that their author gave them, Alien4Cloud doesn't tell."""
    declared = topology["topology"].get("outputAttributes") or {}
    places = [(node, attribute) for node in sorted(declared) for attribute in sorted(declared[node])]
    names = [attribute for _, attribute in places]
    return {
        attribute if names.count(attribute) == 1 else f"{node}.{attribute}": (node, attribute)
        for node, attribute in places
    }


def _activity(step: Mapping[str, Any]) -> str | None:
    for activity in step.get("activities") or ():
        if activity.get("operationName"):
            return f"{activity.get('interfaceName')}.{activity['operationName']} of {step.get('target')}"
        if activity.get("stateName"):
            return f"{step.get('target')} becomes {activity['stateName']}"
    return None


def _output(topology: Mapping[str, Any], name: str, node: str, attribute: str) -> OutputDeclaration:
    template = (topology["topology"].get("nodeTemplates") or {}).get(node) or {}
    declared: Mapping[str, Any] = next(
        (item.get("value") or {} for item in template.get("attributes") or () if item["key"] == attribute), {}
    )
    kind = declared.get("type") or "string"
    return OutputDeclaration(name, kind, description=declared.get("description"), schema=_typed(kind, {}))


def _inputs(declared: Mapping[str, Mapping[str, Any]]) -> Schema:
    return tosca.inputs_schema(
        {name: _input(definition) for name, definition in declared.items()},
        (name for name, it in declared.items() if it.get("required") and not _has_default(it)),
    )


def _input(definition: Mapping[str, Any]) -> Schema:
    kind = definition["type"]
    schema = _typed(kind, definition)
    if definition.get("description"):
        schema["description"] = definition["description"]
    default = definition.get("default")
    # A default that is a function (`get_input`, say) is for Alien4Cloud to work out.
    if _has_default(definition) and isinstance(default, Mapping) and default.get("value") is not None:
        value = tosca.value(kind, default["value"])
        if value is not None:
            schema["default"] = value
    if definition.get("password"):
        schema["writeOnly"] = True
        schema["format"] = "password"
        schema.pop("default", None)
    schema["x-type"] = kind
    return schema


def _has_default(definition: Mapping[str, Any]) -> bool:
    """Whether an input has a default that can be sent. The orchestrator fails on an empty text."""
    default = definition.get("default")
    return default is not None and not (isinstance(default, Mapping) and default.get("value") == "")


def _typed(kind: str, definition: Mapping[str, Any]) -> Schema:
    entry = definition.get("entrySchema")
    schema = tosca.typed(kind, {**_typed(entry["type"], entry), "x-type": entry["type"]} if entry else None)
    for constraint in definition.get("constraints") or ():
        schema |= {key: it for key, it in _constraint(schema.get("type"), kind, constraint) if it is not None}
    return schema


def _constraint(shape: str | None, kind: str, constraint: Mapping[str, Any]) -> Iterator[tuple[str, JSON]]:
    """A constraint of TOSCA in the words of JSON Schema. Alien4Cloud writes all values as strings."""
    lower, upper = _LENGTHS.get(shape or "", (None, None))
    for word, value in constraint.items():
        if value is None:
            continue
        if word in _NUMBERS and shape in ("integer", "number"):
            yield _NUMBERS[word], tosca.number(value)
        elif word == "inRange" and shape in ("integer", "number"):
            for key, bound in zip(("minimum", "maximum"), value, strict=True):
                yield key, tosca.number(bound)  # None for UNBOUNDED
        elif word == "equal":
            yield "const", tosca.value(kind, value)
        elif word == "validValues":
            yield "enum", [tosca.value(kind, item) for item in value]
        elif word == "pattern" and shape == "string":
            whole = f"^(?:{value})$"  # in TOSCA it is the whole that has to match
            yield ("pattern" if _compiles(whole) else "x-pattern"), whole
        elif lower and upper and word in ("length", "minLength", "maxLength"):
            if word != "maxLength":
                yield lower, int(value)
            if word != "minLength":
                yield upper, int(value)


def _compiles(pattern: str) -> bool:
    """Whether a pattern means something here: Java's dialect knows more. Alien4Cloud checks it in any case."""
    try:
        regex.compile(pattern)
    except regex.error:
        return False
    return True
