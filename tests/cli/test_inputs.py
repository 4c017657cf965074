"""Inputs from the command line and from files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waas_cli import inputs, jobfile
from waas_cli.errors import UsageError

NUMBERS = {"type": "array", "items": {"type": "integer"}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "$defs": {"colour": {"type": "string", "enum": ["red", "true"]}, "loop": {"$ref": "#/$defs/loop"}},
    "properties": {
        "count": {"type": "integer"},
        "maybe": {"type": ["integer", "null"]},
        "ratio": {"anyOf": [{"type": "null"}, {"type": "number"}]},
        "flag": {"type": "boolean"},
        "text": {"type": "string"},
        "colour": {"$ref": "#/$defs/colour"},
        "loop": {"$ref": "#/$defs/loop"},
        "either": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        "numbers": NUMBERS,
        "optional_numbers": {"anyOf": [{"type": "null"}, NUMBERS]},
        "names": {"type": "array", "items": {"type": "string"}},
        "record": {"type": "object"},
        "file": {"type": ["string", "object"], "x-type": "File"},
        "files": {"type": "array", "items": {"type": ["string", "object"]}, "x-type": "File[]"},
        "handle": {"type": "string", "x-type": "string"},
        "anything": {"x-type": "Any"},
    },
}


def no_upload(path: Path, kind: str) -> Any:
    raise AssertionError(f"{path} is not to be uploaded")


def upload(path: Path, kind: str) -> Any:
    return {"class": kind, "location": f"id-of-{path.stem}", "basename": path.name}


def parse(*arguments: str, schema: Any = SCHEMA) -> Any:
    return inputs.values(inputs.split(arguments), schema, no_upload)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a=1,b=2", "c=x=y"], {"a": "1", "b": "2", "c": "x=y"}),
        (["text=a,b"], {"text": "a,b"}),
        (["text=a,b c=d"], {"text": "a,b c=d"}),
        (["url=http://h/?a=1,2"], {"url": "http://h/?a=1,2"}),
        (["a="], {"a": ""}),
        (["a:=[1, 2]"], {"a": [1, 2]}),
        (["a=@file"], {"a": "@file"}),
    ],
)
def test_without_a_schema_values_are_strings(arguments: list[str], expected: Any) -> None:
    assert parse(*arguments, schema=None) == expected


@pytest.mark.parametrize("argument", ["novalue", "=x", "", ":=1"])
def test_what_is_no_input(argument: str) -> None:
    with pytest.raises(UsageError, match="expected NAME=VALUE, NAME:=JSON or NAME=@FILE"):
        inputs.split([argument])


def test_broken_json_is_named() -> None:
    with pytest.raises(UsageError, match="count:=… isn't JSON"):
        parse("count:={")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("count=5", 5),
        ("count=12345678901234567890", 12345678901234567890),
        ("count=five", "five"),
        ("maybe=null", None),
        ("ratio=1e-3", 0.001),
        ("ratio=2", 2),
        ("ratio=inf", "inf"),
        ("ratio=", None),
        ("flag=True", True),
        ("flag=yes", "yes"),
        ("text=5", "5"),
        ("text=null", "null"),
        ("colour=true", "true"),
        ("loop=x", "x"),
        ("either=5", 5),
        ("either=x", "x"),
        ("numbers=1,2,3", [1, 2, 3]),
        ("numbers=[1,2]", [1, 2]),
        ("optional_numbers=7", [7]),
        ("names=a,b", ["a,b"]),
        ('record={"a": 1}', {"a": 1}),
        ("record={broken", "{broken"),
        ("file=file-123", "file-123"),
        ("handle=@alice", "@alice"),
        ("unknown=5", "5"),
        ("anything=5", "5"),
        ("numbers:=[[1]]", [[1]]),
    ],
)
def test_values_take_the_type_of_the_workflow(argument: str, value: Any) -> None:
    found = next(iter(parse(argument).values()))
    assert found == value
    assert isinstance(found, type(value))
    assert isinstance(found, bool) == isinstance(value, bool)


def test_a_list_grows() -> None:
    assert parse("numbers=1", "numbers=2,3", "names=a", "names=b") == {"numbers": [1, 2, 3], "names": ["a", "b"]}


def test_files_are_uploaded(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    given = inputs.split([f"file=@{tmp_path}/a.txt", f"files=@{tmp_path}/a.txt", f"files=@{tmp_path}/b.txt"])
    a, b = (upload(tmp_path / name, "File") for name in ("a.txt", "b.txt"))
    assert inputs.values(given, SCHEMA, upload) == {"file": a, "files": [a, b]}


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UsageError, match=r"there is no file nowhere\.txt"):
        parse("file=@nowhere.txt")


# What begins with @ is a file to upload; `~` and `.` name something local, and the user hears of the @.
@given(
    st.text().filter(lambda text: text[:1] not in ("@", "~", ".", "/")), st.sampled_from(sorted(SCHEMA["properties"]))
)
def test_any_text_is_taken(text: str, name: str) -> None:
    assert json.dumps(parse(f"{name}={text}"), allow_nan=False)


@given(st.dictionaries(st.sampled_from(["text", "handle"]), st.text().filter(lambda text: "," not in text)))
def test_strings_arrive_unchanged(values: dict[str, str]) -> None:
    assert parse(*(f"{name}={value}" for name, value in values.items())) == values


JOB = """\
count: 5
date: 2026-11-23
answer: on
ratio: 1e3
octal: 010
nothing:
texts:
  - class: File
    path: a.txt
  - {class: File, location: sub/b.txt, basename: renamed.txt, secondaryFiles: [{class: File, path: a.txt}]}
  - {class: File, location: "https://example.org/c.txt"}
  - {class: File, location: file-0b8f2c1a}
  - {class: File, basename: literal.txt, contents: hello}
folder: {class: Directory, path: sub}
"""


def test_job_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "sub" / "b.txt").write_text("b")
    (tmp_path / "job.yml").write_text(JOB)
    a = {"class": "File", "location": "id-of-a", "basename": "a.txt"}
    assert jobfile.read(str(tmp_path / "job.yml"), upload) == {
        "count": 5,
        "date": "2026-11-23",
        "answer": "on",
        "ratio": 1000.0,
        "octal": 10,
        "nothing": None,
        "texts": [
            a,
            {"class": "File", "location": "id-of-b", "basename": "renamed.txt", "secondaryFiles": [a]},
            {"class": "File", "location": "https://example.org/c.txt"},
            {"class": "File", "location": "file-0b8f2c1a"},
            {"class": "File", "basename": "literal.txt", "contents": "hello"},
        ],
        "folder": {"class": "Directory", "location": "id-of-sub", "basename": "sub"},
    }


def test_job_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"count": 5, "path": {"path": "x"}}'))
    assert jobfile.read("-", no_upload) == {"count": 5, "path": {"path": "x"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("a: [", "neither valid YAML nor valid JSON"),
        ("- a", "must hold lines such as"),
        ("a: !!python/object:os.system {}", "line 1: a value of the kind !!python/object:os.system can't be sent"),
        ("a: {class: File, path: nowhere.txt}", "input a in the inputs file names .*nowhere.txt, which doesn't exist"),
        ("a: {class: File, location: ./nowhere.txt}", "input a in the inputs file names"),
    ],
)
def test_broken_job_files(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "job.yml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message):
        jobfile.read(str(path), no_upload)


def test_an_empty_job_file(tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text("")
    assert jobfile.read(str(tmp_path / "job.yml"), no_upload) == {}
