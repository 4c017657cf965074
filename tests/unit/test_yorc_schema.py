"""Definitions of workflows and inputs: from what Yorc declares to what it is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hpcwaas.core.models import JSON, Workflow, WorkflowDetails
from hpcwaas.engines.yorc import schema
from hpcwaas.engines.yorc.inputs import prepare_inputs
from hpcwaas.engines.yorc.settings import PublicationSettings
from hpcwaas.errors import InvalidInputs, UpstreamFailed

RECORDED = json.loads((Path(__file__).parents[1] / "simulators/recordings/yorc/042-workflow-get.json").read_text())[
    "response"
]["body"]
WORKFLOW = Workflow("d@w", "w", "yorc", "d", "yorc", "yorc")

TYPES = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "float": {"type": "number"},
    "boolean": {"type": "boolean"},
    "timestamp": {"type": "string", "format": "date-time"},
    "version": {"type": "string"},
    "scalar-unit.size": {"type": "string"},
    "scalar-unit.time": {"type": "string"},
    "scalar-unit.frequency": {"type": "string"},
    "scalar-unit.bitrate": {"type": "string"},
    "range": {"type": "array", "minItems": 2, "maxItems": 2},
    "list": {"type": "array"},
    "map": {"type": "object"},
    "org.example.datatypes.Grid": {},
}


def details(definition: dict[str, Any], **settings: Any) -> WorkflowDetails:
    publication = PublicationSettings.model_validate({"deployments": ["*"], "workflows": ["*"], **settings})
    found = schema.details(definition, WORKFLOW, publication)
    Draft202012Validator.check_schema(found.inputs)
    return found


def inputs(settings: dict[str, Any] | None = None, **declared: dict[str, Any]) -> Any:
    """The schema of inputs, declared as Yorc writes them."""
    written = {name: {"type": "string", "entry_schema": {"type": ""}, **it} for name, it in declared.items()}
    return details({"name": "w", "inputs": written}, **settings or {}).inputs


def sent(definition: dict[str, Any], given: JSON) -> str:
    return prepare_inputs(inputs(a={"required": True, **definition}), {"a": given})["a"]


def problem(definition: dict[str, Any], given: JSON) -> str:
    with pytest.raises(InvalidInputs) as caught:
        sent(definition, given)
    (found,) = caught.value.problems
    assert found.input.startswith("a")
    return found.detail


def test_the_recorded_definition() -> None:
    found = details(RECORDED)
    assert found.inputs["properties"] == {
        "times": {"type": "integer", "default": 2, "x-type": "integer"},
        "who": {"type": "string", "x-type": "string"},
    }
    assert found.inputs["required"] == ["who"]
    (output,) = found.outputs
    assert (output.name, output.type, output.description) == ("greeting", "string", "the greeting made")
    first, second = schema.steps(RECORDED)
    assert (first.name, first.after, first.silent) == ("Greeter_say_hello", (), False)
    assert (second.name, second.after, second.silent) == ("Greeter_greeted", ("Greeter_say_hello",), True)
    assert (first.description, second.description) == ("custom.say_hello of Greeter", "Greeter becomes greeted")
    assert prepare_inputs(found.inputs, {"who": "bob"}) == {"who": "bob", "times": "2"}


@pytest.mark.parametrize(("kind", "expected"), TYPES.items())
def test_types(kind: str, expected: dict[str, Any]) -> None:
    assert inputs(a={"type": kind})["properties"]["a"] == {**expected, "x-type": kind}


def test_entry_schemas() -> None:
    found = inputs(
        numbers={"type": "list", "entry_schema": {"type": "integer"}},
        sizes={"type": "map", "entry_schema": {"type": "scalar-unit.size", "description": "of a file"}},
    )["properties"]
    assert found["numbers"]["items"] == {"type": "integer", "x-type": "integer"}
    assert found["sizes"]["additionalProperties"] == {"type": "string", "x-type": "scalar-unit.size"}


def test_what_is_required() -> None:
    found = inputs(
        must={"required": True},
        may={"required": False},
        as_tosca_says={},
        literal={"required": True, "default": {"type": 0, "value": "x"}},
        function={"required": False, "default": {"type": 1, "value": "get_secret: /secret/data/x"}},
        empty={"required": False, "default": {"type": 0, "value": ""}},
        none={"required": False, "default": {"type": 0}},
        wrong={"type": "integer", "required": False, "default": {"type": 0, "value": "many"}},
    )
    assert found["required"] == ["as_tosca_says", "empty", "function", "must", "none", "wrong"]
    for name in ("empty", "function", "none", "wrong"):
        assert (
            found["properties"][name]["description"] == "Yorc can't use its own default for this input: give a value."
        )
        assert "default" not in found["properties"][name]


@pytest.mark.parametrize(
    ("definition", "default", "text"),
    [
        ({"type": "integer", "default": {"type": 0, "value": "007"}}, 7, "007"),
        ({"type": "float", "default": {"type": 0, "value": "1.10"}}, 1.1, "1.10"),
        ({"type": "boolean", "default": {"type": 0, "value": "true"}}, True, "true"),
        ({"type": "string", "default": {"type": 0, "value": "12345678901234567890"}}, "12345678901234567890", None),
        ({"type": "list", "default": {"type": 2, "value": ["a", "b"]}}, ["a", "b"], '["a","b"]'),
        (
            {"type": "list", "entry_schema": {"type": "integer"}, "default": {"type": 2, "value": ["1", "20"]}},
            [1, 20],
            "[1,20]",
        ),
        (
            {"type": "map", "entry_schema": {"type": "float"}, "default": {"type": 3, "value": {"a": "0.50"}}},
            {"a": 0.5},
            '{"a":0.50}',
        ),
        ({"type": "list", "default": {"type": 0, "value": "[1, 2]"}}, [1, 2], "[1,2]"),
        ({"type": "org.example.Grid", "default": {"type": 3, "value": {"x": {"y": "1"}}}}, {"x": {"y": "1"}}, None),
    ],
)
def test_defaults_are_filled_in_as_their_types_have_them(
    definition: dict[str, Any], default: JSON, text: str | None
) -> None:
    found = inputs(a={"required": False, **definition})
    assert found["properties"]["a"]["default"] == default
    expected = text or (default if isinstance(default, str) else json.dumps(default, separators=(",", ":")))
    assert prepare_inputs(found, {}) == {"a": expected}


def test_an_optional_input_that_is_left_out_is_not_sent() -> None:
    found = inputs(may={"required": False}, must={})
    assert prepare_inputs(found, {"must": "x"}) == {"must": "x"}
    assert prepare_inputs(found, {"must": "x", "may": None}) == {"must": "x"}


@pytest.mark.parametrize(
    ("definition", "given", "text"),
    [
        ({}, "zoé\nligne2 \"q\" 'x' $HOME", "zoé\nligne2 \"q\" 'x' $HOME"),
        ({}, " kept ", " kept "),
        ({}, 12345678, "12345678"),
        ({"type": "integer"}, 12345678901234567890123, "12345678901234567890123"),
        ({"type": "integer"}, " 42 ", "42"),
        ({"type": "integer"}, -0, "0"),
        ({"type": "float"}, "1.10", "1.10"),
        ({"type": "float"}, "1e3", "1e3"),
        ({"type": "float"}, 7, "7"),
        ({"type": "boolean"}, True, "true"),
        ({"type": "boolean"}, False, "false"),
        ({"type": "boolean"}, "true", "true"),
        ({"type": "timestamp"}, "2026-11-28T10:00:00Z", "2026-11-28T10:00:00Z"),
        ({"type": "version"}, "1.10", "1.10"),
        ({"type": "scalar-unit.size"}, "10 GiB", "10 GiB"),
        ({"type": "range"}, [1, "UNBOUNDED"], '[1,"UNBOUNDED"]'),
        ({"type": "list"}, ["a b", 1, None, "é"], '["a b",1,null,"é"]'),
        ({"type": "list"}, "[1.10, 2]", "[1.10,2]"),
        ({"type": "map"}, {"a": {"b": [True]}}, '{"a":{"b":[true]}}'),
        ({"type": "map"}, {}, "{}"),
        ({"type": "org.example.Grid"}, {"x": 12345678901234567890}, '{"x":12345678901234567890}'),
        ({"type": "org.example.Grid"}, "small", "small"),
    ],
)
def test_everything_is_sent_as_a_text(definition: dict[str, Any], given: JSON, text: str) -> None:
    assert sent(definition, given) == text


@pytest.mark.parametrize(
    ("definition", "given", "said"),
    [
        ({}, "", "a text that is empty can't be given"),
        ({}, "  ", "a text that is blank can't be given"),
        ({}, "null", "`null`"),
        ({}, "get_secret: [/secret/data/ssh-credentials/x, data=privateKey]", "TOSCA function"),
        ({}, "{{ lookup('pipe', 'id') }}", "template"),
        ({}, "a\0b", "NUL"),
        ({}, "\ud800", "expected a text"),
        ({"type": "map"}, {"get_input": "who"}, "TOSCA function"),
        ({"type": "map"}, {"a": ["{{x}}"]}, "template"),
        ({"type": "list"}, ["\ud800"], "surrogate"),
        ({"type": "org.example.Grid"}, {"concat": ["a"]}, "TOSCA function"),
        ({"type": "integer"}, "1.5", "expected a whole number"),
        ({"type": "integer"}, True, "expected a whole number"),
        ({"type": "float"}, "NaN", "expected a number"),
        ({"type": "boolean"}, "yes", "expected true or false"),
        ({"type": "timestamp"}, "tomorrow", "expected a time such as"),
        ({"type": "range"}, [1], "of at least 2 items"),
        ({"type": "list", "entry_schema": {"type": "integer"}}, [1, "x"], 'a[1]: "x" was given'),
        ({"type": "list"}, "a,b", "expected a list"),
        ({"type": "map"}, [1], "expected an object"),
        ({"type": "version"}, 1.1, "expected a text"),
    ],
)
def test_what_is_refused(definition: dict[str, Any], given: JSON, said: str) -> None:
    assert said in problem(definition, given)


def test_names_that_are_not_declared() -> None:
    with pytest.raises(InvalidInputs) as caught:
        prepare_inputs(inputs(who={}), {"whom": "x"})
    assert [it.input for it in caught.value.problems] == ["whom", "who"]


def test_keys_and_secrets() -> None:
    found = details(
        {
            "name": "w",
            "inputs": {"key": {"type": "string"}, "pin": {"type": "string", "default": {"type": 0, "value": "1"}}},
        },
        ssh_keys=["key"],
        secret_inputs=["pin"],
    )
    assert found.inputs["properties"]["key"]["x-ssh-key"] is True
    assert found.secret_inputs == {"pin"}
    assert "default" not in found.inputs["properties"]["pin"]
    assert list(found.named_keys({"key": "k1", "pin": "k2"})) == [("key", "k1")]
    with pytest.raises(InvalidInputs) as caught:
        prepare_inputs(found.inputs, {"key": "k", "pin": ["hush"]})
    assert "hush" not in str(caught.value.problems)
    assert schema.undeclared({"inputs": {"key": {}}}, ["key", "pin"]) == ["pin"]
    assert schema.undeclared({}, ["key"]) == ["key"]


def test_steps_of_branches() -> None:
    definition = {
        "name": "w",
        "steps": {
            "run": {
                "target": "Job",
                "activities": [{"call_operation": {"operation": "tosca.interfaces.node.lifecycle.Runnable.run"}}],
                "on_success": ["done"],
                "on_failure": ["mend"],
                "on_cancel": ["cancel"],
            },
            "cancel": {"target": "Job", "activities": [{"call_operation": {"operation": "Runnable.cancel"}}]},
            "done": {"target": "Job", "activities": [{"set_state": "executed"}], "on_success": ["gone"]},
            "mend": {"activities": [{"inline": {"workflow": "mend_all"}}], "on_success": ["done"]},
            "make": {"target": "Host", "activities": [{"delegate": {"workflow": "install"}}], "on_success": ["run"]},
        },
    }
    found = {step.name: step for step in schema.steps(definition)}
    assert list(found) == ["make", "run", "cancel", "mend", "done"]
    assert found["done"].after == ("mend", "run")
    assert found["done"].after_success == ("mend", "run")
    assert (found["mend"].after_success, found["mend"].after_failure) == ((), ("run",))
    assert (found["cancel"].after, found["cancel"].after_cancel) == (("run",), ("run",))
    assert [it.silent for it in found.values()] == [False, False, False, False, True]
    assert found["mend"].description == "the workflow mend_all"
    assert found["make"].description == "install of Host"


def test_a_circle_of_steps_ends() -> None:
    circle = {name: {"activities": [], "on_success": [other]} for name, other in (("a", "b"), ("b", "a"))}
    assert {step.name for step in schema.steps({"steps": circle})} == {"a", "b"}


def test_the_version_changes_with_the_workflow_and_with_what_is_said_of_its_inputs() -> None:
    changed = json.loads(json.dumps(RECORDED).replace("greeted", "welcomed"))
    versions = [
        details(RECORDED).version,
        details(changed).version,
        details({**RECORDED, "outputs": {}}).version,
        details({**RECORDED, "inputs": {}}).version,
        details(RECORDED, ssh_keys=["who"]).version,
    ]
    assert len(set(versions)) == len(versions)
    assert details(json.loads(json.dumps(RECORDED))).version == versions[0]


@pytest.mark.parametrize(
    "odd", [{"inputs": [1]}, {"inputs": {"a": 7}}, {"steps": {"a": None}}, {"outputs": {"a": "b"}}]
)
def test_a_definition_that_makes_no_sense(odd: dict[str, Any]) -> None:
    with pytest.raises(UpstreamFailed, match="can't be understood"):
        details({"name": "w", **odd})
