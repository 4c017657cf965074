"""Makes the inputs of an execution ready, and finds out what is wrong with them before anything is uploaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import companions, inputs, jobfile, prompts
from .api import calls
from .client import Client
from .earlier_outputs import EarlierOutputs, resolved
from .errors import NotFound, UsageError
from .examples import needed
from .mistakes import Mistakes
from .planned import local_files, planned, with_locations
from .schemas import Schema, changed, properties
from .state import State
from .text import is_file

_FOR_THE_SERVICE = ("cwl:requirements", "cwltool:overrides", "http://commonwl.org/cwltool#overrides")
"""What isn't left out of a job file though it is no input: the service says why it isn't taken."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be executed, and where.

    Attributes:
        schema: JSON Schema of the workflow's inputs; None when the service is too old to tell.
        site: None for the only one that is possible.
        asks: whether the user can be asked for what is missing.
    """

    workflow_id: str
    schema: Schema | None
    site: str | None
    asks: bool


def prepared(state: State, wanted: Wanted, given: Sequence[inputs.Given], inputs_file: str | None) -> dict[str, Any]:
    """The inputs, in which local files aren't uploaded yet.

    Args:
        given: the inputs of the command line.

    Raises:
        UsageError: all that is wrong with them, as far as it can be told before something is uploaded.
    """
    mistakes = Mistakes()
    values: dict[str, Any] = {}
    if inputs_file:
        values = jobfile.read(inputs_file, planned, mistakes, state.note)
    own = {item.name for item in given}
    mistakes.found = [each for each in mistakes.found if each[0] not in own]
    schema = wanted.schema
    if schema is not None:
        values = _known(state, values, schema, mistakes)
    values |= inputs.values(given, schema, planned, mistakes, state.note)
    if schema is None:
        mistakes.throw()
        return values
    values = resolved(values, schema, EarlierOutputs(state.client).found, mistakes)
    missing = [name for name in needed(schema) if values.get(name) is None and name not in mistakes.names()]
    if wanted.asks and missing:
        mistakes.throw()  # nobody answers questions for what is refused then
        values |= prompts.missing_values(missing, schema, planned, state.note)
    values = companions.added(
        values, schema, lambda some: companions_of(state.client, wanted.workflow_id, some), mistakes
    )
    if schema.get("x-announced") and (mistakes.found or next(local_files(values), None)):
        values = _tried(state, wanted, schema, values, mistakes)
    mistakes.throw()
    return values


def _known(state: State, values: Mapping[str, Any], schema: Schema, mistakes: Mistakes) -> dict[str, Any]:
    """The values of a job file that are inputs: one may serve several workflows. Mistakes in others are forgotten."""
    if schema.get("additionalProperties") is not False:
        return dict(values)
    known = {*properties(schema), *_FOR_THE_SERVICE}
    extra = [name for name in [*values, *mistakes.names()] if name not in known]
    if extra:
        state.note(f"The workflow has no input {', '.join(extra)}: left out of the inputs file.")
    mistakes.found = [each for each in mistakes.found if each[0] in known]
    return {name: value for name, value in values.items() if name in known}


def companions_of(client: Client, workflow_id: str, values: dict[str, Any]) -> dict[str, list[companions.Need]]:
    """What the service says that belongs beside the files in some inputs."""
    try:
        answer = client.call(calls.find_companions(workflow_id, announced(values)))
    except NotFound as failure:
        if failure.problem is not None:
            raise
        return {}
    return {
        each["input"]: [(need["basename"], need["required"]) for need in each["needs"]] for each in answer["companions"]
    }


def announced(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as they are shown to the service before their files are uploaded."""
    found: dict[str, Any] = with_locations(dict(values), lambda _, __: None)
    return found


def _tried(state: State, wanted: Wanted, schema: Schema, values: dict[str, Any], mistakes: Mistakes) -> dict[str, Any]:
    """The inputs, after the service has looked at them; what it has found is a mistake. Formats are asked for."""
    while True:
        try:
            state.client.call(calls.try_workflow(wanted.workflow_id, announced(values), wanted.site))
        except UsageError as failure:
            listed = (failure.problem or {}).get("inputs") or ()
            wrong = [each for each in listed if isinstance(each, dict)]
            ways = [str(each.get("input")) for each in wrong]
            formats = [way.removesuffix(".format") for way in ways if way.endswith(".format")]
            if wanted.asks and not mistakes.found and ways and len(formats) == len(ways):
                values = _with_formats(values, schema, formats)
                continue
            mistakes.told(failure, properties(schema))
        return values


def _with_formats(values: dict[str, Any], schema: Schema, ways: Sequence[str]) -> dict[str, Any]:
    """The inputs with the formats that the user chooses for the files at `ways`.

    Raises:
        UsageError: one of them can't be chosen.
    """
    left = set(ways)

    def act(value: Any, own: Schema, rule: Schema, way: str) -> Any:
        formats = [str(each) for each in rule.get("x-format") or ()]
        if way not in left or not is_file(value) or not formats:
            return value
        left.discard(way)
        return {**value, "format": prompts.choice(f"Format of {value.get('basename') or way}", formats)}

    found = {
        name: changed(value, properties(schema).get(name, {}), schema, name, act) for name, value in values.items()
    }
    if left:
        raise UsageError(f"The service asks for the format of {', '.join(sorted(left))}: give it in an inputs file.")
    return found
