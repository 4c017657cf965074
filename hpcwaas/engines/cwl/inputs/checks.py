"""Checks the inputs of an execution against what the workflow declares, and makes its job of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hpcwaas.common import written
from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.inputs.files import DEPTH_LIMIT, NO_RULE, FileChecker
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.inputs.sources import Sources
from hpcwaas.engines.cwl.workflows.parameters import (
    NULL,
    Array,
    CWLType,
    Enum,
    Parameter,
    Primitive,
    Record,
    Union,
    in_words,
    nullable,
    without_null,
)
from hpcwaas.engines.cwl.workflows.schema import INTEGERS
from hpcwaas.engines.cwl.workflows.snapshot import Snapshot
from hpcwaas.engines.input_problems import Problems, closest, shown

_STRING = Primitive("string")
_FILES = (Primitive("File"), Primitive("Directory"))
_FOR_RUNNERS = (
    "this is an instruction of a job file to a runner, and no input. The command waas passes over it; leave it out of "
    "the inputs."
)
_JOB_FILE = {
    "cwl:tool": _FOR_RUNNERS,
    "$namespaces": _FOR_RUNNERS,
    "$schemas": _FOR_RUNNERS,
    "$graph": _FOR_RUNNERS,
    "cwl:requirements": (
        "requirements can't be given with the inputs: what a workflow needs is for whoever publishes it to say, in its "
        "document. Leave them out."
    ),
    "id": _FOR_RUNNERS,
}
"""Names at the top of job files that are no inputs, and what is said of them."""

_LARGEST_FLOAT = int(1.7976931348623157e308)


def prepare_job(snapshot: Snapshot, inputs: Mapping[str, JSON], sources: Sources) -> Job:
    """Checks inputs completely and says how to run the workflow with them. No side effects.

    Defaults are not filled in: that is the runner's.

    Args:
        snapshot: the version of the workflow that is to run.
        sources: where files may come from.

    Raises:
        InvalidInputs: with all problems at once.
    """
    problems = Problems()
    checker = _Checker(problems, sources, snapshot.namespaces)
    declared = {parameter.name: parameter for parameter in snapshot.inputs}
    for name in inputs:
        if name in _JOB_FILE and name not in declared:
            problems.add(name, _JOB_FILE[name])
        elif name not in declared and not problems.enough(0):
            problems.add_unknown(name, name, declared, "input")
    order = {}
    for name, parameter in declared.items():
        value = inputs.get(name)
        if value is not None:
            order[name] = checker.input(parameter, value)
        elif parameter.required:
            problems.add_missing(name, in_words(parameter.type))
    problems.throw()
    return Job(
        document=snapshot.path,
        fragment=snapshot.fragment,
        order={name: value for name, value in order.items() if value is not None},
        staged=tuple(checker.files.staged),
        fetched=tuple(checker.files.fetched),
        taken=tuple(checker.files.taken),
        steps=snapshot.steps,
        needs=snapshot.needs,
    )


class _Checker:
    """Checks values against types. Each check returns the value for the order; problems are noted, not raised."""

    def __init__(self, problems: Problems, sources: Sources, namespaces: Mapping[str, str]) -> None:
        self._problems = problems
        self.files = FileChecker(sources, namespaces, problems, self._any)

    def input(self, parameter: Parameter, value: JSON) -> JSON:
        """Checks a whole input. A string where something else is expected may stand for it: some clients can send
        strings only."""
        start, mark = len(self._problems), self.files.mark()
        checked = self._check(parameter.type, value, parameter.name, parameter)
        if len(self._problems) == start or not isinstance(value, str):
            return checked
        try:
            parsed = written.loads(value, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return None
        if isinstance(parsed, str) or (parsed is None and not nullable(parameter.type)):
            return None
        wrong = self._problems.take_back(start)
        self.files.rewind(mark)
        checked = self._check(parameter.type, parsed, parameter.name, parameter)
        if len(self._problems) > start and not isinstance(parsed, (dict, list)):
            # What was wrong with `3.5` is wrong with "3.5" too; but show what was given.
            self._problems.take_back(start)
            self._problems.put_back(wrong)
        return checked

    def _check(self, kind: CWLType, value: JSON, way: str, rule: Parameter = NO_RULE, depth: int = 0) -> JSON:
        match kind:
            case Primitive("File"):
                return self.files.file(value, way, rule, depth)
            case Primitive("Directory"):
                return self.files.directory(value, way, depth)
            case Primitive("Any"):
                if value is None:
                    return self._problems.add_wrong(way, value, in_words(kind))
                return self._any(value, way, depth)
            case Primitive(name):
                return self._primitive(name, value, way)
            case Enum(symbols):
                if isinstance(value, str) and value in symbols:
                    return value
                suggestion = closest(value, symbols) if isinstance(value, str) else None
                return self._problems.add_wrong(way, value, in_words(kind), suggestion)
            case Array(items):
                if not isinstance(value, list):
                    return self._problems.add_wrong(way, value, in_words(kind))
                return self._list(value, way, lambda item, here: self._check(items, item, here, rule, depth + 1))
            case Record(fields):
                return self._record(fields, kind, value, way, depth)
            case Union(options):
                return self._union(kind, options, value, way, rule, depth)

    def _list(self, values: list[JSON], way: str, check: Callable[[JSON, str], JSON]) -> list[JSON]:
        start = len(self._problems)
        checked = []
        for index, value in enumerate(values):
            checked.append(check(value, f"{way}[{index}]"))
            if self._problems.enough(start):
                break
        return checked

    def _primitive(self, name: str, value: JSON, way: str) -> JSON:
        number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(_bounded(value))
        match name:
            case "null" if value is None:
                return None
            case "boolean" if isinstance(value, bool):
                return value
            case "string" if isinstance(value, str):
                return self._string(value, way)
            case "float" | "double" if number:
                return value
            case "int" | "long" if number and (whole := written.whole(value)) is not None:
                low, high = INTEGERS[name]
                if low <= whole <= high:
                    return whole
                expected = f"{in_words(Primitive(name))} from {low} to {high}"
                return self._problems.add_wrong(way, value, expected)
        return self._problems.add_wrong(way, value, in_words(Primitive(name)))

    def _string(self, value: str, way: str) -> str | None:
        try:
            value.encode()
        except UnicodeEncodeError:
            self._problems.add(way, "this is not valid Unicode text.")
            return None
        return value

    def _record(self, fields: tuple[Parameter, ...], kind: CWLType, value: JSON, way: str, depth: int) -> JSON:
        if not isinstance(value, Mapping):
            return self._problems.add_wrong(way, value, in_words(kind))
        if depth > DEPTH_LIMIT:
            return self._problems.add(way, "this is nested too deeply.")
        start = len(self._problems)
        declared = {field.name: field for field in fields}
        for name in value:
            if name not in declared and not self._problems.enough(start):
                self._problems.add_unknown(f"{way}.{name}", name, declared, "member")
        checked = {}
        for name, field in declared.items():
            item = value.get(name)
            if item is not None:
                checked[name] = self._check(field.type, item, f"{way}.{name}", field, depth + 1)
            elif field.required:
                self._problems.add_missing(f"{way}.{name}", in_words(field.type))
        return checked

    def _union(
        self, kind: CWLType, options: tuple[CWLType, ...], value: JSON, way: str, rule: Parameter, depth: int
    ) -> JSON:
        if value is None and NULL in options:
            return None
        options = tuple(option for option in options if option != NULL)
        if len(options) == 1:
            return self._check(options[0], value, way, rule, depth)
        if isinstance(value, str):
            # A plain string is a string where one is accepted, whatever uploads there are, and an enum's word next.
            options = tuple(option for option in options if _STRING not in options or option not in _FILES)
            options = tuple(sorted(options, key=lambda option: option in _FILES))
        start, mark = len(self._problems), self.files.mark()
        near = []
        for option in options:
            checked = self._check(option, value, way, rule, depth)
            if len(self._problems) == start:
                return checked
            wrong = self._problems.take_back(start)
            self.files.rewind(mark)
            if _alike(option, value):
                near.append(wrong)
        if len(near) == 1:
            self._problems.put_back(near[0])
        else:
            self._problems.add_wrong(way, value, in_words(without_null(kind)))
        return None

    def _any(self, value: JSON, way: str, depth: int) -> JSON:
        """A value of no particular type. Files in it are files like others; names are refused that runners take for
        directives to read some file, or to look for files elsewhere."""
        if depth > DEPTH_LIMIT:
            return self._problems.add(way, "this is nested too deeply.")
        start = len(self._problems)
        match value:
            case {"class": "File"}:
                return self.files.file(value, way, depth=depth)
            case {"class": "Directory"}:
                return self.files.directory(value, way, depth=depth)
            case Mapping():
                checked = {}
                for name, item in value.items():
                    if name.startswith(("$", "__")):
                        self._problems.add(way, f"a name can't begin with '$' or '__' here: {shown(name)}.")
                    if self._string(name, way) is not None:
                        checked[name] = self._any(item, f"{way}.{name}", depth + 1)
                    if self._problems.enough(start):
                        break
                return checked
            case list():
                return self._list(value, way, lambda item, here: self._any(item, here, depth + 1))
            case str():
                return self._string(value, way)
            case float() | int() if not math.isfinite(_bounded(value)):
                return self._problems.add_wrong(way, value, "a finite number")
        return value


def _alike(kind: CWLType, value: Any) -> bool:
    """Whether a value looks as if this type was meant, so that its own problems say more than that none fits."""
    match kind, value:
        case (Array(), list()) | (Primitive("int" | "long" | "float" | "double"), int() | float()):
            return not isinstance(value, bool)
        case Record(), Mapping():
            return value.get("class") not in ("File", "Directory")
        case Primitive("File" | "Directory" as name), Mapping():
            return bool(value.get("class") == name)
        case (Primitive("File" | "Directory") | Enum(), str()):
            return True
    return False


def _bounded(value: float) -> float:
    """A number as a float; infinite when it is too large for one."""
    return math.inf if isinstance(value, int) and abs(value) > _LARGEST_FLOAT else float(value)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
