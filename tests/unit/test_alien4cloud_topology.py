"""Topologies and inputs: from what Alien4Cloud declares to what it is sent."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hpcwaas.core.models import Workflow
from hpcwaas.engines.alien4cloud import topology
from hpcwaas.engines.alien4cloud.inputs import prepare_inputs
from hpcwaas.errors import InvalidInputs

RECORDED = json.loads(
    (Path(__file__).parents[1] / "simulators/recordings/alien4cloud/depl-31-runtime-topology.json").read_text()
)["response"]["body"]["data"]


def workflow(name: str) -> Workflow:
    return Workflow(f"a@e@{name}", name, "alien4cloud", "a", "e", "Environment")


def made(**declared: dict[str, Any]) -> Any:
    """A topology whose workflow `w` declares these inputs."""
    inputs = {name: {"type": "string", "required": False, **definition} for name, definition in declared.items()}
    return {"topology": {"workflows": {"w": {"inputs": inputs}}}}


def schema(**declared: dict[str, Any]) -> dict[str, Any]:
    found = dict(topology.details(made(**declared), workflow("w")).inputs)
    Draft202012Validator.check_schema(found)
    return found


def test_the_recorded_topology() -> None:
    details = topology.details(RECORDED, workflow("exec_job"))
    assert details.inputs["properties"] == {
        "user_id": {"type": "string", "description": "the user who launches", "x-type": "string"},
        "debug": {"type": "boolean", "default": False, "x-type": "boolean"},
        "num": {"type": "integer", "minimum": 1, "maximum": 10, "x-type": "integer"},
    }
    assert details.inputs["required"] == ["user_id"]
    assert [(step.name, step.after) for step in details.steps] == [("run", ())]
    (output,) = details.outputs
    assert (output.name, output.type) == ("result", "string")
    assert topology.operations(RECORDED, "exec_job") == {("Job", "custom.run"): "run"}
    assert topology.details(RECORDED, workflow("fail_job")).inputs["properties"] == {}
    assert not topology.has_workflow(RECORDED, "nope")


def test_steps_come_after_those_they_follow() -> None:
    steps = [step.name for step in topology.steps(RECORDED, "install")]
    assert steps == ["Job_initial", "Job_creating", "Job_create", "Job_created"] or (
        steps.index("Job_creating") < steps.index("Job_create") < steps.index("Job_created")
    )
    cycle = {"a": {"precedingSteps": ["b"]}, "b": {"precedingSteps": ["a"]}, "c": {"precedingSteps": ["gone"]}}
    found = topology.steps({"topology": {"workflows": {"w": {"steps": cycle}}}}, "w")
    assert sorted(step.name for step in found) == ["a", "b", "c"]
    assert topology.steps({"topology": {"workflows": {}}}, "w") == ()


def test_outputs_of_the_same_name_are_told_apart() -> None:
    declared = {"topology": {"outputAttributes": {"A": ["x", "y"], "B": ["x"]}}}
    assert topology.output_attributes(declared) == {"A.x": ("A", "x"), "y": ("A", "y"), "B.x": ("B", "x")}
    assert topology.output_attributes({"topology": {}}) == {}


def test_constraints_become_json_schema() -> None:
    found = schema(
        more={"type": "integer", "constraints": [{"greaterThan": "1"}, {"lessOrEqual": "9"}]},
        ratio={"type": "float", "constraints": [{"inRange": ["0.5", "UNBOUNDED"]}], "default": {"value": "1.5"}},
        word={"constraints": [{"validValues": ["a", "b"]}], "default": {"value": "a"}},
        only={"type": "integer", "constraints": [{"equal": "3"}]},
        code={"constraints": [{"pattern": "[a-z]+|[0-9]"}, {"minLength": 2}, {"maxLength": 4}]},
        three={"type": "list", "constraints": [{"length": 3}], "entrySchema": {"type": "integer"}},
        pairs={"type": "map", "entrySchema": {"type": "float"}},
        size={"type": "scalar-unit.size"},
        own={"type": "org.example.Thing"},
        when={"type": "timestamp"},
        worked_out={"required": True, "default": {"function": "get_input", "parameters": ["x"]}},
        secret={"password": True, "default": {"value": "s3cret"}},
    )
    properties = found["properties"]
    assert properties["more"] == {"type": "integer", "exclusiveMinimum": 1, "maximum": 9, "x-type": "integer"}
    assert properties["ratio"] == {"type": "number", "minimum": 0.5, "default": 1.5, "x-type": "float"}
    assert properties["word"] == {"type": "string", "enum": ["a", "b"], "default": "a", "x-type": "string"}
    assert properties["only"]["const"] == 3
    assert properties["code"]["pattern"] == "^(?:[a-z]+|[0-9])$"
    assert (properties["code"]["minLength"], properties["code"]["maxLength"]) == (2, 4)
    assert (properties["three"]["minItems"], properties["three"]["items"]["type"]) == (3, "integer")
    assert properties["pairs"]["additionalProperties"]["type"] == "number"
    assert properties["size"]["type"] == "string"
    assert "type" not in properties["own"]
    assert properties["when"]["format"] == "date-time"
    assert "default" not in properties["worked_out"]
    assert properties["secret"] == {"type": "string", "writeOnly": True, "format": "password", "x-type": "string"}
    assert found["required"] == []


def test_the_version_changes_with_the_workflow() -> None:
    version = topology.details(made(a={}), workflow("w")).version
    assert topology.details(made(a={}), workflow("w")).version == version
    assert topology.details(made(a={"type": "integer"}), workflow("w")).version != version


@pytest.mark.parametrize(
    ("definition", "given", "sent"),
    [
        ({"type": "boolean"}, True, "true"),
        ({"type": "boolean"}, "False", "False"),
        ({"type": "integer"}, 3, "3"),
        ({"type": "integer"}, " 3", "3"),
        ({"type": "integer"}, 3.0, "3"),
        ({"type": "integer"}, 12345678901234567890, "12345678901234567890"),
        ({"type": "integer"}, "-12345678901234567890", "-12345678901234567890"),
        ({"type": "float"}, 1.5, "1.5"),
        ({"type": "float"}, "1e3", "1e3"),
        ({"type": "float"}, 2, "2"),
        ({}, "é\n", "é\n"),
        ({}, 5, "5"),
        ({"type": "list", "entrySchema": {"type": "boolean"}}, [True, "false"], ["true", "false"]),
        ({"type": "list"}, '["a", 1.5]', ["a", "1.5"]),
        ({"type": "map"}, {"a": True}, {"a": "true"}),
        ({"type": "timestamp"}, "2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z"),
        ({"type": "org.example.Thing"}, {"x": 1}, {"x": "1"}),
        ({"constraints": [{"pattern": "[a-z"}]}, "x", "x"),  # Alien4Cloud has the last word on it
    ],
)
def test_values_are_sent_as_alien4cloud_takes_them(definition: dict[str, Any], given: Any, sent: Any) -> None:
    order = prepare_inputs(schema(x=definition), {"x": given})["x"]
    assert order == sent
    assert type(order) is type(sent)


@pytest.mark.parametrize(
    ("definition", "given", "expected"),
    [
        ({"type": "integer"}, "abc", "a whole number"),
        ({"type": "integer"}, True, "a whole number"),
        ({"type": "integer"}, 1.5, "a whole number"),
        ({"type": "integer"}, float("inf"), "a whole number"),
        ({"type": "integer"}, float("nan"), "a whole number"),
        ({"type": "integer", "constraints": [{"inRange": ["1", "10"]}]}, "99", "at least 1 and at most 10"),
        ({"type": "float"}, "nan", "a number"),
        ({"type": "boolean"}, "yes", "true or false"),
        ({}, ["a"], "a text"),
        ({}, True, "a text"),
        ({}, {"function": "get_secret", "parameters": ["x"]}, "a text"),
        ({}, "\ud800", "a text"),
        ({"constraints": [{"validValues": ["a", "b"]}]}, "c", 'one of "a", "b"'),
        ({"constraints": [{"pattern": "[a-z]+"}]}, "aB", "matching"),
        ({"type": "list", "constraints": [{"minLength": 2}]}, [1], "of at least 2 items"),
        ({"type": "timestamp"}, "yesterday", "a time such as"),
        ({"type": "map"}, "[]", "an object"),
        ({"type": "list", "entrySchema": {"type": "integer"}}, "[1e999999999]", "a whole number"),
        ({"type": "list", "entrySchema": {"type": "float"}}, "[NaN]", "a list"),
        ({"type": "map"}, '{"a": Infinity}', "an object"),
        ({"type": "map"}, '{"a":' * 900 + "1" + "}" * 900, "an object"),
        ({"type": "list"}, "[" * 900 + "]" * 900, "a list"),
        ({"type": "list"}, "[" * 100_000 + "]" * 100_000, "a list"),
    ],
)
def test_wrong_values(definition: dict[str, Any], given: Any, expected: str) -> None:
    with pytest.raises(InvalidInputs) as caught:
        prepare_inputs(schema(x=definition), {"x": given})
    (problem,) = caught.value.problems
    assert problem.input.partition("[")[0] == "x"
    assert expected in (problem.expected or "")


def test_all_problems_at_once() -> None:
    declared = schema(
        name={"required": True},
        count={"type": "integer"},
        each={"type": "list", "entrySchema": {"type": "integer"}},
        secret={"password": True, "constraints": [{"minLength": 8}]},
        map={"type": "map"},
    )
    given = {
        "nam": "x",
        "count": "many",
        "each": [1, "b", None],
        "secret": "hunter2",
        "map": {"function": "get_secret", "parameters": ["vault"]},
    }
    with pytest.raises(InvalidInputs) as caught:
        prepare_inputs(declared, given)
    problems = {problem.input: problem for problem in caught.value.problems}
    assert set(problems) == {"nam", "name", "count", "each[1]", "each[2]", "secret", "map"}
    assert problems["nam"].suggestion == "name"
    assert "hunter2" not in caught.value.detail
    assert "hunter2" not in str(problems["secret"].given)


@pytest.mark.parametrize(
    ("definition", "given", "said"),
    [
        ({}, "get_secret: [/secret/data/ssh-credentials/x, data=privateKey]", "TOSCA function"),
        ({}, "{{ lookup('pipe', 'id') }}", "template"),
        ({}, "", "Failed to parse TOSCA function"),
        ({"type": "list"}, ["fine", "{{ x }}"], "template"),
        ({"type": "map"}, {"a": {"function": "get_secret"}}, 'a member called "function"'),
        ({"type": "org.example.Grid"}, {"concat": ["a", "b"]}, "TOSCA function"),
    ],
)
def test_what_yorc_behind_it_would_evaluate_is_refused(definition: dict[str, Any], given: Any, said: str) -> None:
    with pytest.raises(InvalidInputs, match=said):
        prepare_inputs(schema(x=definition), {"x": given})


def test_defaults_are_filled_in_and_nothing_else() -> None:
    declared = schema(
        debug={"type": "boolean", "default": {"value": "true"}, "required": True},
        big={"type": "integer", "default": {"value": "12345678901234567890"}},
        optional={},
        secret={"password": True, "default": {"value": "s3cret"}},
    )
    assert prepare_inputs(declared, {"optional": None}) == {
        "debug": "true",
        "big": "12345678901234567890",
        "secret": None,
    }


@pytest.mark.parametrize(
    ("pattern", "given"), [("(x+x+)+y", "x" * 50_000), ("(a{1,1000}){1,1000}b", "a" * 1000), ("(a|aa)+b", "a" * 10_000)]
)
def test_a_pattern_that_takes_ages_is_left_to_alien4cloud(pattern: str, given: str) -> None:
    declared = schema(x={"type": "list", "entrySchema": {"type": "string", "constraints": [{"pattern": pattern}]}})
    begin = time.process_time()
    assert prepare_inputs(declared, {"x": [given] * 50})["x"] == [given] * 50
    assert time.process_time() - begin < 5


def test_a_list_that_is_wrong_in_every_item_is_given_up_early() -> None:
    declared = schema(x={"type": "list", "entrySchema": {"type": "integer"}})
    with pytest.raises(InvalidInputs) as caught:
        prepare_inputs(declared, {"x": ["no"] * 100_000})
    assert len(caught.value.problems) <= 101
