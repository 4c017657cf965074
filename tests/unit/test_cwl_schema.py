"""CWL's types as JSON Schema and in words."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from hpcwaas.engines.cwl.workflows.declare import Declarations, short, steps, text
from hpcwaas.engines.cwl.workflows.parameters import (
    PRIMITIVES,
    Secondary,
    in_words,
    load_parameter,
    load_type,
    spelling,
)
from hpcwaas.engines.cwl.workflows.schema import inputs_schema, output_declaration, shown_default

RECORD = {
    "type": "record",
    "name": "Pair",
    "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "File"]}],
}


def property_of(kind: Any, **more: Any) -> dict[str, Any]:
    schema = inputs_schema([load_parameter({"name": "x", "type": kind, **more})])
    jsonschema.Draft202012Validator.check_schema(schema)
    return dict(schema["properties"]["x"])


def allows(kind: Any, value: Any) -> bool:
    schema = inputs_schema([load_parameter({"name": "x", "type": kind})])
    return bool(jsonschema.Draft202012Validator(schema).is_valid({"x": value}))


@pytest.mark.parametrize(
    ("kind", "spelt"),
    [
        *((name, name) for name in sorted(PRIMITIVES)),
        (["null", "int"], "int?"),
        (["int", "string"], "int | string"),
        (["null", "int", "string"], "(int | string)?"),
        ({"type": "array", "items": "File"}, "File[]"),
        (["null", {"type": "array", "items": "File"}], "File[]?"),
        ({"type": "array", "items": ["null", "int"]}, "(int?)[]"),
        ({"type": "array", "items": {"type": "array", "items": "int"}}, "int[][]"),
        (RECORD, "Pair"),
        ({"type": "record", "fields": []}, "record"),
        ({"type": "enum", "symbols": ["a"]}, "enum"),
        ({"type": "enum", "symbols": ["a"], "name": "Letter"}, "Letter"),
    ],
)
def test_every_type_has_a_spelling_a_schema_and_words(kind: Any, spelt: str) -> None:
    assert spelling(load_type(kind)) == spelt
    assert property_of(kind)["x-type"] == spelt
    assert in_words(load_type(kind))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("null", [None], [0]),
        ("boolean", [True], [1, "true"]),
        ("int", [0, -(2**31), 2**31 - 1], [2**31, 1.5, True, "1"]),
        ("long", [2**31, -(2**63)], [2**63]),
        ("float", [1, 1.5], ["1", None]),
        ("string", [""], [1]),
        ("Any", [1, "a", [None], {"a": None}], [None]),
        (["null", "int"], [None, 1], ["a"]),
        (["null", {"type": "enum", "symbols": ["a", "b"]}], [None, "a"], ["c"]),
        (["null", "File"], [None, "id"], [1]),
        ({"type": "array", "items": "int"}, [[], [1]], [1, ["a"]]),
        (["null", "int", {"type": "array", "items": "string"}], [None, 1, ["a"]], ["a", [1]]),
        (RECORD, [{"a": 1}, {"a": 1, "b": None}, {"a": 1, "b": "id"}], [{}, {"a": 1, "c": 2}, {"a": "x"}]),
        (
            "File",
            [
                "id",
                {"class": "File", "location": "id", "basename": "a", "secondaryFiles": ["id"]},
                {"class": "File", "contents": "text", "basename": "a"},
            ],
            [1, {"class": "File"}, {"class": "Directory", "location": "id"}, {"class": "File", "path": "/x"}],
        ),
        (
            "Directory",
            [
                "id",
                {"class": "Directory", "location": "id"},
                {"class": "Directory", "listing": [{"class": "File", "location": "id"}]},
            ],
            [{"class": "Directory"}, {"class": "Directory", "listing": [1]}],
        ),
    ],
)
def test_schemas_allow_what_the_type_allows(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not allows(kind, value)] == []
    assert [value for value in bad if allows(kind, value)] == []


def test_labels_docs_defaults_formats_and_secondary_files_are_shown() -> None:
    shown = property_of(
        "File",
        label="Reads",
        doc="All of them",
        default={"class": "File", "location": "file:///srv/secret/x.bam", "path": "/srv/secret/x.bam", "checksum": "c"},
        formats=["http://x.org/bam"],
        secondary_files=[{"pattern": ".bai", "required": True}, {"pattern": "^.idx", "required": False}],
    )
    assert shown["title"] == "Reads"
    assert shown["description"] == "All of them"
    assert shown["default"] == {"class": "File", "basename": "x.bam"}
    assert shown["x-format"] == ["http://x.org/bam"]
    assert shown["x-secondaryFiles"] == [".bai", "^.idx?"]
    assert {"type": "null"} in shown["anyOf"], "null stands for the default"


def test_required_inputs() -> None:
    declared: list[dict[str, Any]] = [
        {"name": "a", "type": "int"},
        {"name": "b", "type": ["null", "int"]},
        {"name": "c", "type": "int", "default": 1},
        {"name": "d", "type": "Any"},
    ]
    schema = inputs_schema([load_parameter(item) for item in declared])
    assert schema["required"] == ["a", "d"]
    assert schema["properties"]["c"]["default"] == 1
    assert "$defs" not in schema, "nothing about files where there are none"


def test_defaults_show_no_places() -> None:
    directory = {
        "class": "Directory",
        "location": "file:///srv/data/",
        "listing": [
            {"class": "File", "location": "file:///srv/data/a%20b"},
            {"class": "File", "basename": "c", "contents": "x"},
        ],
    }
    shown = shown_default([{"deep": directory}])
    assert "/srv" not in str(shown)
    assert shown[0]["deep"]["basename"] == "data"
    assert shown[0]["deep"]["listing"][0] == {"class": "File", "basename": "a b"}
    assert shown[0]["deep"]["listing"][1] == {"class": "File", "basename": "c", "contents": "x"}


def test_outputs_are_declared() -> None:
    declared = output_declaration(
        load_parameter({"name": "o", "type": {"type": "array", "items": "File"}, "label": "L"})
    )
    assert (declared.name, declared.type, declared.label) == ("o", "File[]", "L")
    shown = {
        "class": "File",
        "basename": "a",
        "size": 1,
        "checksum": "sha1$0",
        "location": "/executions/1/outputs/o?path=0",
    }
    jsonschema.Draft202012Validator(declared.schema).validate([shown])


@pytest.mark.parametrize(
    ("pattern", "name"),
    [(".bai", "a.b.bam.bai"), ("^.bai", "a.b.bai"), ("^^.x", "a.x"), ("^^^^.x", "a.x"), ("x", "a.b.bamx")],
)
def test_patterns_of_secondary_files(pattern: str, name: str) -> None:
    assert Secondary(pattern, required=True).name("a.b.bam") == name


def test_identifiers_and_docs() -> None:
    assert short("file:///a/b.cwl#main/step/out") == "out"
    assert short("file:///a/b.cwl") == "b.cwl"
    assert text(["a", "b"]) == "a\nb"
    assert text(None) is None


def test_steps_come_after_those_they_need() -> None:
    def step(name: str, *sources: str) -> dict[str, Any]:
        return {"id": f"#{name}", "in": [{"id": "x", "source": list(sources)}], "out": [f"#{name}/out"]}

    process = {"class": "Workflow", "steps": [step("a", "#c/out"), step("b"), step("c", "#b/out", "#input")]}
    found = [(item["name"], item["after"]) for item in steps(process, ["a", "b", "c"], "x")]
    assert found == [("b", []), ("c", ["b"]), ("a", ["c"])]


def test_an_undefined_type_is_told() -> None:
    with pytest.raises(ValueError, match="Nope is not defined"):
        Declarations(()).parameter({"type": "file:///x#Nope"}, "x")
