"""How the simulated Alien4Cloud receives the inputs of a launch: seldom with a proper refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import ge, gt, le, lt
from typing import Any, TypeAlias

from tests.simulators.alien4cloud_state import Input, Workflow

JSON: TypeAlias = Any

INT = 2**31
"""Java's int ends here: a greater JSON number is of another class there."""


class Refusal(Exception):
    """An answer that isn't the one asked for.

    Args:
        status: of HTTP; 200 for many.
        code: of Alien4Cloud; None for an answer without its envelope.
        trace: name of the Java exception whose stack trace comes as `data`.
    """

    def __init__(self, status: int, code: int | None, message: str, trace: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.trace = trace


def null_pointer(call: str, because: str) -> Refusal:
    """A NullPointerException in the words of the Java runtime."""
    return Refusal(500, 500, f'Cannot invoke "{call}" because {because}', "java.lang.NullPointerException")


def check_inputs(workflow: Workflow | None, inputs: dict[str, JSON]) -> None:
    """Goes through inputs as Alien4Cloud does.

    Raises:
        Refusal: for the first of them that it doesn't take.
    """
    for name, value in inputs.items():
        if workflow is None:
            raise null_pointer(
                "org.alien4cloud.tosca.model.workflow.Workflow.getInputs()",
                'the return value of "org.alien4cloud.tosca.model.templates.Topology.getWorkflow(String)" is null',
            )
        if workflow.inputs is None:
            raise null_pointer(
                "java.util.Map.get(Object)",
                'the return value of "org.alien4cloud.tosca.model.workflow.Workflow.getInputs()" is null',
            )
        if name not in workflow.inputs:
            raise null_pointer(
                "org.alien4cloud.tosca.model.definitions.PropertyDefinition.getType()", '"propertyDefinition" is null'
            )
        _check(value, workflow.inputs[name])


def _check(value: JSON, definition: Input) -> None:
    if value is None or (isinstance(value, dict) and value.get("function") == "get_secret"):
        return
    java = _java_class(value)
    if java is not None:
        raise Refusal(400, 501, f"Method argument is invalid Property type {java} is invalid")
    kind = "list" if isinstance(value, list) else "map" if isinstance(value, dict) else "scalar"
    if (definition.type in _COLLECTIONS or kind in _COLLECTIONS) and definition.type != kind:
        raise _violation(f"The property definition should be a {kind} but we found {definition.type}")
    if kind in _COLLECTIONS:
        return
    typed = _typed(str(value), definition.type)
    for constraint in definition.constraints:
        for name, limit in constraint.items():
            if name in _CONSTRAINTS:
                _CONSTRAINTS[name](typed, limit, definition.type)


def received(value: JSON) -> str:
    """What a script gets of an input: text as it is, anything else as Go prints it."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() | int():
            digits, _, exponent = f"{float(value):e}".partition("e")
            shortest = repr(float(value)) if abs(int(exponent)) < 6 else f"{digits.rstrip('0').rstrip('.')}e{exponent}"
            return shortest.removesuffix(".0")
        case list():
            return f"[{' '.join(map(received, value))}]"
        case dict():
            return f"map[{' '.join(f'{name}:{received(item)}' for name, item in sorted(value.items()))}]"
        case None:
            return "<nil>"
    return str(value)


_COLLECTIONS = ("list", "map")


def _java_class(value: JSON) -> str | None:
    """The Java class of a JSON value that no property can have."""
    if isinstance(value, bool):
        return "java.lang.Boolean"
    if isinstance(value, float):
        return "java.lang.Double"
    if isinstance(value, int) and not -INT <= value < INT:
        return "java.lang.Long" if -(2**63) <= value < 2**63 else "java.math.BigInteger"
    return None


def _violation(message: str) -> Refusal:
    return Refusal(200, 800, message)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_TYPES: dict[str, Callable[[str], JSON]] = {"string": str, "integer": int, "float": float, "boolean": _boolean}


def _typed(text: str, type_name: str) -> JSON:
    try:
        return _TYPES.get(type_name, str)(text)
    except ValueError:
        raise _violation(f"Cannot parse {type_name} value {text}") from None


def _in_range(value: JSON, limits: list[str], type_name: str) -> None:
    if not _typed(limits[0], type_name) <= value <= _typed(limits[1], type_name):
        raise _violation(f"The value [{value}] is out of range [{limits[0]}, {limits[1]}]")


def _comparison(holds: Callable[[JSON, JSON], bool], sign: str) -> Callable[[JSON, JSON, str], None]:
    def check(value: JSON, limit: str, type_name: str) -> None:
        if not holds(value, _typed(limit, type_name)):
            raise _violation(f"{value} {sign} {limit}")

    return check


def _length(holds: Callable[[int, int], bool], words: str) -> Callable[[JSON, JSON, str], None]:
    def check(value: JSON, limit: int, type_name: str) -> None:
        if not holds(len(str(value)), limit):
            raise _violation(f"The length of the value is {words} [{limit}]")

    return check


def _valid_values(value: JSON, allowed: list[str], type_name: str) -> None:
    if value not in [_typed(one, type_name) for one in allowed]:
        raise _violation(f"The value <{value}> is not in the list of valid values")


def _equal(value: JSON, reference: str, type_name: str) -> None:
    if value != _typed(reference, type_name):
        raise _violation(
            f"Equal constraint violation, the reference is <{reference}> but the value to compare is <{value}>"
        )


def _pattern(value: JSON, pattern: str, type_name: str) -> None:
    if not re.fullmatch(pattern, str(value)):
        raise _violation(f"The value do not match pattern {pattern}")


_CONSTRAINTS: dict[str, Callable[[JSON, JSON, str], None]] = {
    "inRange": _in_range,
    "greaterOrEqual": _comparison(ge, "<="),
    "greaterThan": _comparison(gt, "<"),
    "lessOrEqual": _comparison(le, ">="),
    "lessThan": _comparison(lt, ">"),
    "validValues": _valid_values,
    "equal": _equal,
    "pattern": _pattern,
    "length": _length(lambda given, limit: given == limit, "not equals to"),
    "minLength": _length(ge, "less than"),
    "maxLength": _length(le, "greater than"),
}
