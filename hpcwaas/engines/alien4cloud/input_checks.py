"""Checks the inputs of an execution against the workflow's schema, and writes them as Alien4Cloud takes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import regex

from hpcwaas.core.models import JSON
from hpcwaas.engines.alien4cloud.values import READERS, sent
from hpcwaas.engines.input_problems import Problems
from hpcwaas.errors import InputProblem

_HIDDEN = "(hidden)"

_PATTERNS_SECONDS = 1.0
"""Seconds for all patterns of one request."""

_EMPTY = (
    "an empty text can't be given: the orchestrator behind Alien4Cloud (Yorc) fails on it with `Failed to parse TOSCA "
    "function`. Leave the input out, or give another text."
)

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "array": "a list",
    "object": "an object",
}


def prepare_inputs(schema: Mapping[str, Any], inputs: Mapping[str, JSON]) -> dict[str, JSON]:
    """Checks inputs completely, because Alien4Cloud answers many mistakes with a stack trace or with a run that fails.

    Texts stand for numbers and the like: some clients can send nothing else.

    Args:
        schema: of the `inputs` object, as `topology.details` makes it.

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
    patterns = _Patterns()
    for name, definition in declared.items():
        given = inputs.get(name)
        if given is None:
            if name in schema["required"]:
                problems.add_missing(name, _in_words(definition))
            elif "default" in definition:
                order[name] = sent(definition["default"])
            elif definition.get("writeOnly"):
                order[name] = None  # its default, if any, isn't known here; Alien4Cloud takes it for null
            continue
        start = len(problems)
        order[name] = sent(_checked(problems, patterns, definition, given, name))
        if definition.get("writeOnly"):
            problems.put_back([_hidden(problem) for problem in problems.take_back(start)])
        if order[name] == "":
            problems.add(name, _EMPTY)
    problems.throw()
    return order


def _hidden(problem: InputProblem) -> InputProblem:
    """A problem with a secret, without the secret."""
    expected = problem.expected or "another value"
    return InputProblem(
        problem.input, f"{problem.input}: the value given isn't {expected}.", given=_HIDDEN, expected=expected
    )


def _checked(problems: Problems, patterns: _Patterns, schema: Mapping[str, Any], given: JSON, way: str) -> JSON:
    """A value as its type has it. Problems are noted, not raised."""
    kind = schema.get("type")
    try:
        value = READERS[kind](given) if kind else given
    except (ValueError, TypeError, OverflowError, RecursionError):
        problems.add_wrong(way, given, _in_words(schema))
        return None
    start = len(problems)
    if isinstance(value, list) and "items" in schema:
        items, value = value, []
        for index, item in enumerate(items):
            value.append(_checked(problems, patterns, schema["items"], item, f"{way}[{index}]"))
            if problems.enough(start):
                break
    elif isinstance(value, dict):
        if "function" in value:
            # Alien4Cloud would evaluate it, `get_secret` included, with the rights of this service.
            problems.add(way, 'a member called "function" isn\'t allowed.')
            return None
        inner = schema.get("additionalProperties")
        if isinstance(inner, Mapping):
            members, value = value, {}
            for name, item in members.items():
                value[name] = _checked(problems, patterns, inner, item, f"{way}.{name}")
                if problems.enough(start):
                    break
    if len(problems) == start and not all(_holds(patterns, schema, value)):
        problems.add_wrong(way, given, _in_words(schema))
    # `True` and `true` are the same to Alien4Cloud, and not to a script.
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
    takes ages for a few characters. What isn't compared here is compared by Alien4Cloud, as all is."""

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
