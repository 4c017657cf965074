"""`waas workflows show`: what one must know of the inputs, and the file to fill in."""

from __future__ import annotations

import re
from typing import Any

import pytest
from waas_cli import plain_yaml
from waas_cli.examples import command_line, example
from waas_cli.template import template
from waas_cli.workflow_view import input_rows

FILE = {"$ref": "#/$defs/File"}
FORMATS = {
    "x-format": ["http://x/bam", "http://x/fq"],
    "x-format-endings": {".bam": "http://x/bam", ".sam": "http://x/bam"},
}
SAMPLE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "x-type": "string"},
        "reads": {**FILE, **FORMATS, "x-type": "File", "x-secondaryFiles": [".bai", "^.idx?", "$(self.nameroot).exp"]},
        "maybe": {"type": ["integer", "null"], "x-type": "int?"},
    },
    "required": ["name", "reads"],
}
SCHEMA: dict[str, Any] = {
    "$defs": {"File": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
    "properties": {
        "samples": {"type": "array", "items": SAMPLE, "x-type": "Sample[]", "description": "Many #\x1b[1m\nof them"},
        "on": {"type": "array", "items": {"type": "string", "enum": ["no", "1e3", "a: b"]}, "x-type": "enum[]"},
        "a b: #c": {"type": "integer", "minimum": 5, "x-type": "int"},
        "größe": {"type": "number", "exclusiveMaximum": 0, "x-type": "double"},
        "pairs": {"type": "array", "items": {"type": "array", "items": FILE}, "x-type": "File[][]"},
        "text": {"type": "string", "default": "two\nlines: 'x'", "x-type": "string"},
        "none": {"type": ["string", "null"], "default": None, "x-type": "string?"},
        "kept": {"type": "object", "default": {"a": [1, {"b": []}], "on": "off"}, "x-type": "Any"},
        "file": {**FILE, "default": {"class": "File", "basename": "own.txt"}, "x-type": "File?"},
        "key": {"type": "string", "x-ssh-key": True, "x-type": "string"},
    },
    "required": ["samples", "on", "a b: #c", "größe", "pairs", "key"],
}  # fmt: skip
WORKFLOW = {"name": "w", "label": "A\nworkflow", "inputs": SCHEMA}


def test_members_of_records_words_formats_and_files_beside_are_told() -> None:
    rows = {row[0]: row[1:] for row, _ in input_rows(SCHEMA)}
    assert [*rows][:4] == ["samples", "samples[].name", "samples[].reads", "samples[].maybe"]
    beside = "*.bai, ^.idx (if it is there), $(self.nameroot).exp"
    assert rows["samples[].reads"] == (
        "File",
        "yes",
        "",
        f"Format: http://x/bam (.bam, .sam) or http://x/fq. Beside each file: {beside}.",
    )
    assert rows["samples[].maybe"][:2] == ("int?", "no")
    assert rows["file"][2] == "own.txt"
    assert rows["key"][3] == "The id of an SSH key: see `waas ssh_keys list`."
    assert rows["on"][0] == "enum[]: no, 1e3, a: b"


def test_the_file_to_fill_in_is_what_is_needed() -> None:
    content = template("w", WORKFLOW)
    assert plain_yaml.load(content) == {
        "samples": [{"name": "TEXT", "reads": {"class": "File", "path": "FILE.bam"}}],
        "on": ["no"],
        "a b: #c": 5,
        "größe": example(SCHEMA["properties"]["größe"], SCHEMA),
        "pairs": [[{"class": "File", "path": "FILE"}]],
        "key": "KEY_ID",
    }
    assert "\x1b" not in content
    assert "# File?; may be left out: then own.txt is used" in content
    assert "# samples[].reads: File, required. Format: http://x/bam" in content


def test_what_is_commented_out_can_be_taken_in() -> None:
    lines = template("w", WORKFLOW).splitlines()
    starts = [index for index, line in enumerate(lines) if re.fullmatch(r"# (text|none|kept|file):.*", line)]
    taken = []
    for start in starts:
        for line in lines[start:]:
            if not line:
                break
            taken.append(line.removeprefix("# "))
    assert plain_yaml.load("\n".join(taken)) == {
        "text": "two\nlines: 'x'",
        "none": None,
        "kept": {"a": [1, {"b": []}], "on": "off"},
        "file": {"class": "File", "path": "FILE"},
    }


@pytest.mark.parametrize(("inputs", "content"), [({}, {}), ({"a": {"type": "string"}}, {})])
def test_nothing_is_needed(inputs: Any, content: Any) -> None:
    assert (plain_yaml.load(template("w", {"inputs": {"properties": inputs}})) or {}) == content


@pytest.mark.parametrize(
    ("own", "argument"),
    [
        ({"type": "string"}, "x=TEXT"),
        ({"type": "string", "minLength": 6}, "x=TEXTTE"),
        ({"type": "string", "enum": ["a,b=c"]}, "'x:=\"a,b=c\"'"),
        ({"type": "array", "items": {"type": "integer"}}, "x=1"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "'x:=[[1]]'"),
        ({"anyOf": [{"type": "null"}, FILE]}, "x=@FILE"),
        ({"anyOf": [FILE, {"type": "array", "items": FILE}]}, "x=@FILE"),
        ({"$ref": "#/$defs/Directory"}, "x=@DIRECTORY"),
        ({"type": ["boolean", "number", "string", "array", "object"]}, "x=TEXT"),
        ({"type": "integer", "minimum": 3, "maximum": 9}, "x=3"),
        ({"type": "integer", "exclusiveMinimum": 3}, "x=4"),
        ({"type": "boolean"}, "x=true"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, '\'x:={"a":"TEXT"}\''),
    ],
)
def test_the_line_gives_each_type_as_it_is_read(own: Any, argument: str) -> None:
    schema = {"$defs": SCHEMA["$defs"], "properties": {"x": own}, "required": ["x"]}
    assert command_line("w", schema) == f"waas workflows trigger w -i {argument} --follow"


@pytest.mark.parametrize("name", ["a=b", "-x", "x:", "new\nline"])
def test_what_no_option_can_name_is_given_by_a_file(name: str) -> None:
    schema = {"properties": {name: {"type": "string"}}, "required": [name]}
    line = command_line("w", schema)
    assert line == (
        "waas workflows show w --template > inputs.yml && waas workflows trigger w --inputs-file inputs.yml --follow"
    )
    assert plain_yaml.load(template("w", {"inputs": schema})) == {name: "TEXT"}
