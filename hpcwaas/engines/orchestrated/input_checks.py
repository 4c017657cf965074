"""Checks the inputs of an execution against the workflow's schema, and writes them as its server takes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import regex

from hpcwaas.core.models import JSON
from hpcwaas.engines.input_problems import Problems
from hpcwaas.engines.orchestrated.values import READERS
from hpcwaas.errors import InputProblem

_HIDDEN = "(hidden)"

_PATTERNS_SECONDS = 1.0
"""Seconds for all patterns of one request."""

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "array": "a list",
    "object": "an object",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a server takes inputs.

    Attributes:
        sent: the form in which a checked value is sent.
        unfit: why a checked value can't be given to the server, in a whole sentence; None when it can.
        null_for_secrets: whether a secret input that is left out is sent as null.
    """

    sent: Callable[[JSON], JSON]
    unfit: Callable[[JSON], str | None]
    null_for_secrets: bool = False


def checked_inputs(schema: Mapping[str, Any], inputs: Mapping[str, JSON], manner: Manner) -> dict[str, JSON]:
    """Checks inputs completely: a server may answer a mistake with a stack trace, or with a run that fails.

    Args:
        schema: of the `inputs` object, as `tosca.inputs_schema` makes it.

    Returns:
        the inputs to send, defaults included.

    Raises:
        InvalidInputs: with all problems at once.
    """
    problems = Problems()
    declared: Mapping[str, Mapping[str, Any]] = schema["properties"]
    for name in inputs:
        if name not in declared and not problems.enough(0):
            problems.add_unknown(name, name, declared, "input")
    order: dict[str, JSON] = {}
    checks = _Checks(problems)
    for name, definition in declared.items():
        given = inputs.get(name)
        if given is None:
            if name in schema["required"]:
                problems.add_missing(name, _in_words(definition))
            elif "default" in definition:
                order[name] = manner.sent(definition["default"])
            elif definition.get("writeOnly") and manner.null_for_secrets:
                order[name] = None
            continue
        start = len(problems)
        value = checks.checked(definition, given, name)
        if len(problems) == start:
            if (why := manner.unfit(value)) is not None:
                problems.add(name, why)
            else:
                order[name] = manner.sent(value)
        elif definition.get("writeOnly"):
            problems.put_back([_hidden(problem) for problem in problems.take_back(start)])
    problems.throw()
    return order


def _hidden(problem: InputProblem) -> InputProblem:
    """A problem with a secret, without the secret."""
    expected = problem.expected or "another value"
    return InputProblem(
        problem.input, f"{problem.input}: the value given isn't {expected}.", given=_HIDDEN, expected=expected
    )


class _Checks:
    """Checks the values of one request. Problems are noted, not raised."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._patterns = _Patterns()

    def checked(self, schema: Mapping[str, Any], given: JSON, way: str) -> JSON:
        """A value as its type has it."""
        kind = schema.get("type")
        try:
            value = READERS[kind](given) if kind else given
        except (ValueError, TypeError, OverflowError, RecursionError):
            self._problems.add_wrong(way, given, _in_words(schema))
            return None
        start = len(self._problems)
        if isinstance(value, list) and "items" in schema:
            items, value = value, []
            for index, item in enumerate(items):
                value.append(self.checked(schema["items"], item, f"{way}[{index}]"))
                if self._problems.enough(start):
                    break
        elif isinstance(value, dict):
            inner = schema.get("additionalProperties")
            if isinstance(inner, Mapping):
                members, value = value, {}
                for name, item in members.items():
                    value[name] = self.checked(inner, item, f"{way}.{name}")
                    if self._problems.enough(start):
                        break
        if len(self._problems) == start and not all(_holds(self._patterns, schema, value)):
            self._problems.add_wrong(way, given, _in_words(schema))
        # `True` and `true` are the same to an orchestrator, and not to a script.
        return given.strip() if isinstance(value, bool) and isinstance(given, str) else value


def _holds(patterns: _Patterns, schema: Mapping[str, Any], value: JSON) -> Iterator[bool]:
    """Whether each constraint holds."""
    if "pattern" in schema:
        yield patterns.match(schema["pattern"], value)
    for word, holds in _CONSTRAINTS.items():
        if word in schema:
            yield holds(value, schema[word])
    if schema.get("format") == "date-time":
        yield _is_time(value)


_CONSTRAINTS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "const": lambda value, only: bool(value == only),
    "enum": lambda value, words: value in words,
    "minLength": lambda value, bound: len(value) >= bound,
    "maxLength": lambda value, bound: len(value) <= bound,
    "minItems": lambda value, bound: len(value) >= bound,
    "maxItems": lambda value, bound: len(value) <= bound,
    "minProperties": lambda value, bound: len(value) >= bound,
    "maxProperties": lambda value, bound: len(value) <= bound,
}


class _Patterns:
    """Compares the texts of one request with the patterns of their inputs, as long as there is time: many a pattern
    takes ages for a few characters. What isn't compared here is left to the server."""

    def __init__(self) -> None:
        self._left = _PATTERNS_SECONDS

    def match(self, pattern: str, value: Any) -> bool:
        """Whether the whole of a value matches, as far as can be said in time."""
        if self._left <= 0:
            return True
        begin = time.monotonic()
        try:
            # Others go on meanwhile, which they can't with Python's own patterns.
            return regex.fullmatch(pattern, value, timeout=self._left, concurrent=True) is not None
        except TimeoutError:
            return True
        finally:
            self._left -= time.monotonic() - begin


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _in_words(schema: Mapping[str, Any]) -> str:
    """What is expected, in a few words."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(json.dumps(word, ensure_ascii=False) for word in schema['enum'])}"
    kind = schema.get("type")
    if schema.get("format") == "date-time":
        words = "a time such as 2026-11-01T12:00:00Z"
    else:
        words = _WORDS.get(kind or "", "a value")
    if "items" in schema:
        words += f" whose items are each {_in_words(schema['items'])}"
    limits = [text.format(schema[word]) for word, text in _LIMITS.items() if word in schema]
    return f"{words}, {' and '.join(limits)}" if limits else words


_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "of at least {} characters",
    "maxLength": "of at most {} characters",
    "minItems": "of at least {} items",
    "maxItems": "of at most {} items",
    "minProperties": "of at least {} members",
    "maxProperties": "of at most {} members",
    "pattern": "matching {}",
}
