"""Generated inputs: each is accepted or told about, and the published schema says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcwaas.engines.cwl.inputs.job import dump_order
from hpcwaas.errors import InputProblem, InvalidInputs
from tests.unit.cwl_world import DECLARED, World

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLAIN = [item for item in DECLARED if "File" not in json.dumps(item) and item["name"] not in ("folder", "anything")]
VALUES = {
    "total": st.integers(-(2**63), 2**63 - 1),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
    "title": st.text(st.characters(exclude_categories=["Cs"])),
    "colour": st.sampled_from(["red", "green"]),
    "numbers": st.lists(st.integers(-(2**31), 2**31 - 1)),
    "samples": st.lists(st.fixed_dictionaries({"name": st.text(st.characters(exclude_categories=["Cs"]))})),
    "either": st.integers(-5, 5) | st.lists(st.text(max_size=3)),
}


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([item["name"] for item in DECLARED]), JSON_VALUES)
def test_whatever_is_given_is_accepted_or_told_about(name: str, value: Any) -> None:
    world = World(Path(), DECLARED)
    problems: tuple[InputProblem, ...] = ()
    try:
        json.dumps(world.prepare(**{"threads": 1, name: value}).order, allow_nan=False).encode()
    except InvalidInputs as error:
        problems = error.problems
    assert all(problem.input.startswith(name) and problem.detail for problem in problems)


@settings(deadline=None, max_examples=150)
@given(st.fixed_dictionaries({"threads": st.integers(-(2**31), 2**31 - 1)}, optional=VALUES))
def test_what_the_schema_allows_is_accepted(inputs: dict[str, Any]) -> None:
    world = World(Path(), DECLARED)
    jsonschema.Draft202012Validator(world.details.inputs).validate(inputs)
    assert world.prepare(**inputs).order == inputs


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([item["name"] for item in PLAIN]), JSON_VALUES)
def test_what_the_schema_refuses_is_refused(name: str, value: Any) -> None:
    world = World(Path(), DECLARED)
    inputs = {"threads": 1, name: value}
    if isinstance(value, str) or (name == "threads" and value is None):
        return  # strings may stand for other values: more is accepted than the schema says
    try:
        json.dumps(value, allow_nan=False)
        jsonschema.Draft202012Validator(world.details.inputs).validate(inputs)
    except (ValueError, jsonschema.ValidationError):
        with pytest.raises(InvalidInputs):
            world.prepare(**inputs)
    else:
        world.prepare(**inputs)


@settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.text(max_size=9)))
def test_orders_are_dumped_as_json(order: dict[str, str]) -> None:
    assert json.loads(dump_order(order)) == order
