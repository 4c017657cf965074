"""Inputs are checked completely, told about in words, and turned into an order that stays in its directory."""

from __future__ import annotations

import io
import json
import math
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcwaas.core.models import StoredUpload, Upload, Workflow, WorkflowDetails
from hpcwaas.engines.cwl.inputs import prepare_job
from hpcwaas.engines.cwl.job import FetchedFile, Job, StagedFile, dump_order
from hpcwaas.engines.cwl.parameters import load_parameter
from hpcwaas.engines.cwl.schema import inputs_schema
from hpcwaas.engines.cwl.snapshot import Snapshot
from hpcwaas.errors import InputProblem, InvalidInputs

COLOUR = {"type": "enum", "symbols": ["red", "green"], "name": "Colour"}
SAMPLE = {
    "type": "record",
    "name": "Sample",
    "fields": [{"name": "name", "type": "string"}, {"name": "depth", "type": ["null", "int"]}],
}
DECLARED = [
    {"name": "threads", "type": "int"},
    {"name": "total", "type": ["null", "long"]},
    {"name": "ratio", "type": "double", "default": 0.5},
    {"name": "flag", "type": ["null", "boolean"]},
    {"name": "title", "type": ["null", "string"]},
    {"name": "colour", "type": ["null", COLOUR]},
    {"name": "numbers", "type": ["null", {"type": "array", "items": "int"}]},
    {"name": "samples", "type": ["null", {"type": "array", "items": SAMPLE}]},
    {"name": "either", "type": ["null", "int", {"type": "array", "items": "string"}]},
    {"name": "reads", "type": ["null", "File"]},
    {"name": "many", "type": ["null", {"type": "array", "items": "File"}]},
    {"name": "folder", "type": ["null", "Directory"]},
    {"name": "anything", "type": ["null", "Any"]},
    {"name": "text_or_file", "type": ["null", "File", "string"]},
    {"name": "word_or_file", "type": ["null", "File", COLOUR]},
]


class World:
    """A workflow with inputs and a user with uploads."""

    def __init__(self, directory: Path, declared: list[dict[str, Any]]) -> None:
        self.directory = directory
        self.uploads: dict[str, StoredUpload] = {}
        parameters = tuple(load_parameter(item) for item in declared)
        self.snapshot = Snapshot("v1", directory / "main.cwl", "main", None, None, parameters, (), ())
        workflow = Workflow("wf", "wf", "cwl", "wf", "local", "local")
        self.details = WorkflowDetails(workflow, inputs_schema(parameters), (), (), "v1")

    def upload(self, key: str, name: str, content: bytes = b"x") -> Path:
        path = self.directory / key
        path.write_bytes(content)
        upload = Upload(key, "alice", name, "text/plain", len(content), "0" * 64, datetime.now(UTC))
        self.uploads[key] = StoredUpload(upload, path)
        return path

    def prepare(self, http_inputs: bool = False, **inputs: Any) -> Job:
        return prepare_job(self.details, self.snapshot, inputs, self.uploads.get, http_inputs)

    def order(self, **inputs: Any) -> Any:
        """The order, with the required input given."""
        return {key: value for key, value in self.prepare(threads=1, **inputs).order.items() if key != "threads"}

    def problems(self, http_inputs: bool = False, **inputs: Any) -> list[InputProblem]:
        with pytest.raises(InvalidInputs) as caught:
            self.prepare(http_inputs, **{"threads": 1, **inputs})
        return list(caught.value.problems)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, DECLARED)


def zipped(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return target.getvalue()


def test_all_problems_come_at_once_each_at_its_place(world: World) -> None:
    problems = world.problems(
        threads="abc",
        colour="gren",
        numbers=[1, "two", 3],
        samples=[{"name": 5, "dept": 1}],
        tittle="x",
        reads="nobody",
    )
    assert {problem.input for problem in problems} == {
        "threads",
        "colour",
        "numbers[1]",
        "samples[0].name",
        "samples[0].dept",
        "tittle",
        "reads",
    }
    by_input = {problem.input: problem for problem in problems}
    assert by_input["threads"].detail == 'threads: "abc" was given, expected a whole number (int).'
    assert by_input["tittle"].suggestion == "title"
    assert by_input["samples[0].dept"].suggestion == "depth"
    assert by_input["colour"].suggestion == "green"
    assert "'red'" in str(by_input["colour"].expected)
    assert by_input["numbers[1]"].given == '"two"'
    assert "You have no upload with this id" in by_input["reads"].detail


def test_missing_required_inputs_are_named(world: World) -> None:
    with pytest.raises(InvalidInputs, match="threads is required"):
        world.prepare()
    assert world.problems(threads=None)[0].given is None
    assert [problem.input for problem in world.problems(samples=[{"depth": 1}])] == ["samples[0].name"]


def test_null_means_not_given(world: World) -> None:
    assert world.prepare(threads=2, ratio=None, title=None, reads=None).order == {"threads": 2}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("total", "9000000000", 9_000_000_000),
        ("total", 3.0, 3),
        ("ratio", "1e-3", 0.001),
        ("ratio", 2, 2),
        ("flag", "true", True),
        ("numbers", "[1, 2]", [1, 2]),
        ("samples", '[{"name": "a", "depth": null}]', [{"name": "a"}]),
        ("either", "7", 7),
        ("title", "7", "7"),
        ("anything", "7", "7"),
        ("anything", {"a": [1, None, {"b": "c"}]}, {"a": [1, None, {"b": "c"}]}),
        ("colour", "red", "red"),
        ("text_or_file", "a", "a"),
        ("word_or_file", "red", "red"),
    ],
)
def test_values_are_accepted(world: World, name: str, value: Any, expected: Any) -> None:
    given = world.order(**{name: value})[name]
    assert given == expected
    assert type(given) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", True),
        ("threads", 3.5),
        ("threads", 2**31),
        ("threads", -(2**31) - 1),
        ("threads", "2147483648"),
        ("threads", "1x"),
        ("threads", "[1]"),
        ("threads", "null"),
        ("total", 2**63),
        ("ratio", math.nan),
        ("ratio", math.inf),
        ("ratio", "NaN"),
        ("ratio", 10**400),
        ("ratio", False),
        ("flag", 1),
        ("flag", "yes"),
        ("title", 5),
        ("title", "\ud800"),
        ("numbers", 1),
        ("numbers", [1.5]),
        ("numbers", [None]),
        ("samples", [[]]),
        ("either", 1.5),
        ("either", "text"),
        ("reads", 5),
        ("reads", {"class": "Directory"}),
        ("reads", {"class": "File"}),
        ("many", "a-string"),
        ("anything", {"$include": "/etc/passwd"}),
        ("anything", [{"deep": {"$import": "x"}}]),
        ("anything", {"__id": "/etc/", "f": "x"}),
        ("anything", math.inf),
        ("anything", {"class": "File", "location": "file:///etc/passwd"}),
        ("anything", {"x": [{"class": "File", "path": "/etc/passwd"}]}),
        ("anything", {"class": "Directory", "location": "/etc"}),
    ],
)
def test_values_are_refused(world: World, name: str, value: Any) -> None:
    problems = world.problems(**{name: value})
    assert problems[0].input.startswith(name)
    assert problems[0].detail


def test_a_union_says_what_it_accepts(world: World) -> None:
    [problem] = world.problems(either=False)
    assert problem.expected == "a whole number (int) or a list (string[]), each item a string"
    [problem] = world.problems(either=["a", 1])
    assert problem.input == "either[1]", "one option is meant, so its own problem is told"


def test_range_is_told(world: World) -> None:
    [problem] = world.problems(threads=2**31)
    assert "2147483647" in problem.detail


def test_nesting_and_numbers_of_problems_are_bounded(world: World) -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    assert "nested too deeply" in world.problems(anything=deep)[0].detail
    listing: Any = {"class": "Directory", "basename": "d", "listing": []}
    for _ in range(500):
        listing = {"class": "Directory", "basename": "d", "listing": [listing]}
    assert "nested too deeply" in world.problems(folder=listing)[0].detail
    assert len(world.problems(numbers=["x"] * 100_000)) <= 101
    assert len(world.problems(**{f"unknown{number}": 1 for number in range(1000)})) <= 101
    long = world.problems(title=["word"] * 10_000)[0].given
    assert long is not None
    assert len(long) < 100


def test_files_are_staged_under_their_names(world: World) -> None:
    first, second = world.upload("u1", "my file ä.txt"), world.upload("u2", "my file ä.txt")
    job = world.prepare(threads=1, reads="u1", many=["u2", {"class": "File", "location": "u1", "basename": "other"}])
    assert job.staged == (
        StagedFile(first, "inputs/0/my file ä.txt"),
        StagedFile(second, "inputs/1/my file ä.txt"),
        StagedFile(first, "inputs/2/other"),
    )
    assert job.order["reads"] == {
        "class": "File",
        "location": "inputs/0/my%20file%20%C3%A4.txt",
        "basename": "my file ä.txt",
    }
    assert job.document == world.snapshot.path
    assert (job.fragment, job.version, job.workflow_id) == ("main", "v1", "wf")


def test_a_file_inside_any_is_staged(world: World) -> None:
    world.upload("u1", "a.txt")
    job = world.prepare(threads=1, anything={"deep": [{"class": "File", "location": "u1"}]})
    assert job.order["anything"]["deep"][0]["location"] == "inputs/0/a.txt"


def test_a_string_is_a_string_where_one_is_accepted(world: World) -> None:
    world.upload("u1", "a.txt")
    assert world.order(text_or_file="u1") == {"text_or_file": "u1"}
    assert world.order(word_or_file="u1")["word_or_file"]["basename"] == "a.txt"
    assert world.prepare(threads=1, text_or_file="u1").staged == ()


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("file:///etc/passwd", "Paths can't be used"),
        ("/etc/passwd", "Paths can't be used"),
        ("../../etc/passwd", "Paths can't be used"),
        ("data/x", "Paths can't be used"),
        ("C:\\x", "Paths can't be used"),
        ("s3://bucket/key", "Paths can't be used"),
        ("s3:key", "s3: aren't supported"),
        ("https://example.org/x", "aren't fetched"),
        ("unknown", "no upload with this id"),
        ("", "no upload with this id"),
    ],
)
def test_locations_other_than_uploads_are_refused(world: World, location: str, words: str) -> None:
    for value in (location, {"class": "File", "location": location}):
        [problem] = world.problems(reads=value)
        assert words in problem.detail
        assert "Upload the file first" in problem.detail


@pytest.mark.parametrize("member", ["path", "listing", "dirname", "nameroot", "chekcsum"])
def test_unknown_members_of_files_are_refused(world: World, member: str) -> None:
    world.upload("u1", "a.txt")
    [problem] = world.problems(reads={"class": "File", "location": "u1", member: "x"})
    assert problem.input == f"reads.{member}"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "a\0b", "a\nb", "x" * 256, "ä" * 128, 5, None, "\udc80"]
)
def test_names_that_files_cannot_have_are_refused(world: World, name: Any) -> None:
    world.upload("u1", "a.txt")
    [problem] = world.problems(reads={"class": "File", "location": "u1", "basename": name})
    assert problem.input == "reads.basename"


def test_http_inputs_where_they_are_allowed(world: World) -> None:
    job = world.prepare(True, threads=1, reads="https://example.org/data/a%20b.txt?x=1")
    assert job.fetched == (FetchedFile("https://example.org/data/a%20b.txt?x=1", "inputs/0/a b.txt"),)
    assert job.order["reads"]["location"] == "inputs/0/a%20b.txt"
    named = {"class": "File", "location": "http://example.org/", "basename": "n.txt"}
    assert world.prepare(True, threads=1, reads=named).fetched[0].target == "inputs/0/n.txt"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://169.254.169.254/latest",
        "http://user:secret@example.org/x",
        "http:///x",
        "http://[/x",
        "http://example.org:99999/x",
        "http://example.org/a b",
        "http://example.org/%2e%2e",
        "http://example.org/a%00b",
    ],
)
def test_http_inputs_that_are_refused(world: World, url: str) -> None:
    assert len(world.problems(True, reads=url)) == 1


def test_literals(world: World) -> None:
    literal = {"class": "File", "basename": "a.txt", "contents": "hello"}
    assert world.order(reads=literal) == {"reads": literal}
    assert world.problems(reads={**literal, "contents": "x" * 65_537})[0].input == "reads.contents"
    assert world.problems(reads={**literal, "contents": "ä" * 40_000})[0].input == "reads.contents"
    assert world.problems(reads={**literal, "contents": 5})[0].input == "reads.contents"
    assert world.problems(reads={**literal, "location": "x"})


def test_directories_of_files_and_directories(world: World) -> None:
    source = world.upload("u1", "a.txt")
    inner = {
        "class": "Directory",
        "basename": "inner",
        "listing": [{"class": "File", "basename": "b", "contents": "x"}],
    }
    given = {"class": "Directory", "listing": [{"class": "File", "location": "u1"}, inner]}
    job = world.prepare(threads=1, folder=given)
    assert job.order["folder"] == {
        "class": "Directory",
        "basename": "folder",
        "listing": [{"class": "File", "location": "inputs/0/a.txt", "basename": "a.txt"}, inner],
    }
    assert job.staged == (StagedFile(source, "inputs/0/a.txt"),)
    twice = {"class": "Directory", "listing": ["u1", "u1"]}
    assert world.problems(folder=twice)[0].input == "folder.listing[1]"
    assert world.problems(folder={"class": "Directory", "listing": ["u1"], "location": "u1"})
    assert world.problems(folder={"class": "Directory", "listing": "u1"})[0].input == "folder.listing"


def test_a_directory_from_an_archive(world: World) -> None:
    source = world.upload("u1", "data set.zip", zipped("a.txt", "b/c.txt"))
    job = world.prepare(threads=1, folder="u1")
    assert job.staged == (StagedFile(source, "inputs/0/data set", "zip"),)
    assert job.order["folder"] == {
        "class": "Directory",
        "location": "inputs/0/data%20set",
        "basename": "data set",
    }


def test_archives_that_climb_out_are_refused_at_once(world: World) -> None:
    world.upload("zip", "a.zip", zipped("../evil"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    world.upload("tar", "a.tar.gz", buffer.getvalue())
    world.upload("text", "a.txt", b"no archive")
    assert "climbs out" in world.problems(folder="zip")[0].detail
    assert "link" in world.problems(folder="tar")[0].detail
    assert "neither zip nor tar" in world.problems(folder="text")[0].detail


def file_world(tmp_path: Path, **declared: Any) -> World:
    return World(tmp_path, [{"name": "threads", "type": "int"}, {"name": "bam", "type": "File", **declared}])


def test_secondary_files_lie_beside_the_primary_one(tmp_path: Path) -> None:
    patterns = [{"pattern": ".bai", "required": True}, {"pattern": "^.idx", "required": False}]
    world = file_world(tmp_path, secondary_files=patterns)
    bam, bai = world.upload("bam", "x.bam"), world.upload("bai", "x.bam.bai")
    given = {"class": "File", "location": "bam", "secondaryFiles": [{"class": "File", "location": "bai"}]}
    job = world.prepare(threads=1, bam=given)
    assert job.staged == (StagedFile(bam, "inputs/0/x.bam"), StagedFile(bai, "inputs/0/x.bam.bai"))
    assert job.order["bam"]["secondaryFiles"][0]["location"] == "inputs/0/x.bam.bai"
    [problem] = world.problems(bam="bam")
    assert problem.input == "bam.secondaryFiles"
    assert "x.bam.bai" in problem.detail
    same = {**given, "secondaryFiles": ["bai", "bai"]}
    assert world.problems(bam=same)[0].input == "bam.secondaryFiles[1]"
    nested = {"class": "File", "location": "bai", "secondaryFiles": ["bam"]}
    [problem] = world.problems(bam={**given, "secondaryFiles": [nested]})
    assert problem.input == "bam.secondaryFiles[0].secondaryFiles[0]"


def test_declared_formats(tmp_path: Path) -> None:
    world = file_world(tmp_path, formats=["http://x.org/bam"])
    world.upload("u", "x.bam")
    assert world.prepare(threads=1, bam="u").order["bam"]["format"] == "http://x.org/bam"
    own = {"class": "File", "location": "u", "format": "http://x.org/other"}
    assert world.prepare(threads=1, bam=own).order["bam"]["format"] == "http://x.org/other"
    world = file_world(tmp_path, formats=["http://x.org/a", "http://x.org/b"])
    world.upload("u", "x.bam")
    assert world.problems(bam="u")[0].input == "bam.format"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


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
