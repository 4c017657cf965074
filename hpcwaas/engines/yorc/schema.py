"""What Yorc's definition of a workflow says: inputs as JSON Schema, outputs, steps. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hpcwaas.core.models import JSON, OutputDeclaration, StepDeclaration, Workflow, WorkflowDetails
from hpcwaas.engines.orchestrated import tosca
from hpcwaas.engines.orchestrated.tosca import Schema
from hpcwaas.engines.orchestrated.values import READERS
from hpcwaas.engines.orchestrated.yorc_texts import unfit_text
from hpcwaas.engines.yorc.faults import reading
from hpcwaas.engines.yorc.inputs import as_text
from hpcwaas.engines.yorc.settings import PublicationSettings

Definition = Mapping[str, Any]

_FUNCTION = 1
"""Type of a value. A literal is 0, a list 2, a map 3."""

_NO_DEFAULT = "Yorc can't use its own default for this input: give a value."

_RANGE: Schema = {"type": "array", "minItems": 2, "maxItems": 2}

_BRANCHES = ("on_success", "on_failure", "on_cancel")


@dataclass(frozen=True, slots=True)
class StepInDefinition(StepDeclaration):
    """A step as a definition has it.

    Attributes:
        silent: it calls nothing, it only sets a state: Yorc tells no times of it.
        after_success, after_failure, after_cancel: names of the steps that it follows when these went well, failed, or
            were cancelled.
    """

    silent: bool = False
    after_success: tuple[str, ...] = ()
    after_failure: tuple[str, ...] = ()
    after_cancel: tuple[str, ...] = ()


def details(definition: Definition, workflow: Workflow, publication: PublicationSettings) -> WorkflowDetails:
    """A workflow with its inputs, outputs and steps.

    Raises:
        UpstreamFailed: the definition isn't what Yorc writes.
    """
    with reading("a workflow"):
        declared: Mapping[str, Definition] = definition.get("inputs") or {}
        outputs: Mapping[str, Definition] = definition.get("outputs") or {}
        return WorkflowDetails(
            workflow=workflow,
            inputs=_inputs(declared, publication),
            outputs=tuple(_output(name, outputs[name]) for name in sorted(outputs)),
            steps=steps(definition),
            version=tosca.digest(
                [declared, definition.get("steps"), outputs, publication.ssh_keys, publication.secret_inputs]
            ),
        )


def undeclared(definition: Definition, names: Iterable[str]) -> list[str]:
    """Those of these names that no input of a workflow has."""
    with reading("a workflow"):
        return [name for name in names if name not in (definition.get("inputs") or {})]


def steps(definition: Definition) -> tuple[StepInDefinition, ...]:
    """The steps of a workflow, each after those it follows."""
    with reading("a workflow's steps"):
        declared: Mapping[str, Definition] = definition.get("steps") or {}
        before = {
            branch: {
                name: tuple(sorted(other for other, step in declared.items() if name in (step.get(branch) or ())))
                for name in declared
            }
            for branch in _BRANCHES
        }
        found = [
            StepInDefinition(
                name,
                description=_activity(declared[name]),
                after=tuple(sorted({other for branch in _BRANCHES for other in before[branch][name]})),
                silent=_silent(declared[name]),
                after_success=before["on_success"][name],
                after_failure=before["on_failure"][name],
                after_cancel=before["on_cancel"][name],
            )
            for name in sorted(declared)
        ]
    return tosca.in_order(found)


def _silent(step: Definition) -> bool:
    activities = step.get("activities") or ()
    return bool(activities) and all(set(it) == {"set_state"} for it in activities)


def _activity(step: Definition) -> str | None:
    for activity in step.get("activities") or ():
        for word, value in activity.items():
            match word, value:
                case "call_operation", {"operation": operation}:
                    return f"{operation} of {step.get('target')}"
                case "delegate", {"workflow": workflow}:
                    return f"{workflow} of {step.get('target')}"
                case "inline", {"workflow": workflow}:
                    return f"the workflow {workflow}"
                case "set_state", str():
                    return f"{step.get('target')} becomes {value}"
    return None


def _output(name: str, definition: Definition) -> OutputDeclaration:
    # Whatever its type, Yorc gives the value as a text.
    return OutputDeclaration(
        name,
        definition.get("type") or "string",
        description=definition.get("description") or None,
        schema={"type": "string"},
    )


def _inputs(declared: Mapping[str, Definition], publication: PublicationSettings) -> Schema:
    properties = {name: _input(name, definition, publication) for name, definition in sorted(declared.items())}
    return tosca.inputs_schema(
        properties,
        (
            name
            for name, schema in properties.items()
            # Yorc applies no defaults. One that can't be filled in here has to be given by the user.
            if "default" not in schema
            and (declared[name].get("required") is not False or declared[name].get("default"))
        ),
    )


def _input(name: str, definition: Definition, publication: PublicationSettings) -> Schema:
    kind = definition.get("type") or "string"
    schema = _typed(kind, (definition.get("entry_schema") or {}).get("type"))
    texts = [definition.get("description")]
    if default := definition.get("default"):
        if name in publication.secret_inputs or (value := _value(schema, default)) is None:
            texts.append(_NO_DEFAULT)
        else:
            schema["default"] = value
    if description := " ".join(filter(None, texts)):
        schema["description"] = description
    if name in publication.secret_inputs:
        schema |= {"writeOnly": True, "format": "password"}
    if name in publication.ssh_keys:
        schema["x-ssh-key"] = True
    return schema | {"x-type": kind}


def _typed(kind: str, entry: str | None) -> Schema:
    if kind == "range":
        return dict(_RANGE)
    return tosca.typed(kind, {**_typed(entry, None), "x-type": entry} if entry else None)


def _value(schema: Schema, default: Definition) -> JSON:
    """A default as its type has it; None when it can't be filled in."""
    value = default.get("value")
    if default.get("type") == _FUNCTION or value is None:
        return None
    try:
        found = _read(schema, value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return None if unfit_text(as_text(found)) else found


def _read(schema: Schema, value: JSON) -> JSON:
    """Scalars are texts, wherever they stand."""
    if kind := schema.get("type"):
        value = READERS[kind](value)
    if isinstance(value, list):
        return [_read(schema.get("items", {}), item) for item in value]
    if isinstance(value, Mapping):
        return {name: _read(schema.get("additionalProperties", {}), item) for name, item in value.items()}
    return value


def keys_and_secrets(publication: PublicationSettings) -> Collection[str]:
    """The inputs that a publication names."""
    return (*publication.ssh_keys, *publication.secret_inputs)
