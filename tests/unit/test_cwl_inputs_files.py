"""Files and directories among the inputs: only the user's uploads, at places inside the execution's directory."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.inputs.job import FetchedFile, StagedFile
from tests.unit.cwl_world import DECLARED, DIGEST, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, DECLARED)


def zipped(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return target.getvalue()


def test_files_are_staged_under_their_names(world: World) -> None:
    first, second = world.upload("u1", "my file ä.txt"), world.upload("u2", "my file ä.txt")
    job = world.prepare(threads=1, reads="u1", many=["u2", {"class": "File", "location": "u1", "basename": "other"}])
    assert job.staged == (
        StagedFile(first, "inputs/0/my file ä.txt", sha256=DIGEST),
        StagedFile(second, "inputs/1/my file ä.txt", sha256=DIGEST),
        StagedFile(first, "inputs/2/other", sha256=DIGEST),
    )
    assert job.order["reads"] == {
        "class": "File",
        "location": "inputs/0/my%20file%20%C3%A4.txt",
        "basename": "my file ä.txt",
    }
    assert job.document == world.snapshot.path
    assert job.fragment == "main"


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


@pytest.mark.parametrize("member", ["path", "listing", "nameroot", "nameext", "size", "checksum", "chekcsum"])
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
    assert job.staged == (StagedFile(source, "inputs/0/a.txt", sha256=DIGEST),)
    twice = {"class": "Directory", "listing": ["u1", "u1"]}
    assert world.problems(folder=twice)[0].input == "folder.listing[1]"
    assert world.problems(folder={"class": "Directory", "listing": ["u1"], "location": "u1"})
    assert world.problems(folder={"class": "Directory", "listing": "u1"})[0].input == "folder.listing"


def test_a_directory_from_an_archive(world: World) -> None:
    source = world.upload("u1", "data set.zip", zipped("a.txt", "b/c.txt"))
    job = world.prepare(threads=1, folder="u1")
    assert job.staged == (StagedFile(source, "inputs/0/data set", "zip", DIGEST),)
    assert job.order["folder"] == {"class": "Directory", "location": "inputs/0/data%20set", "basename": "data set"}


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
    assert job.staged == (
        StagedFile(bam, "inputs/0/x.bam", sha256=DIGEST),
        StagedFile(bai, "inputs/0/x.bam.bai", sha256=DIGEST),
    )
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
    [problem] = world.problems(bam=own)
    assert (problem.input, problem.expected) == ("bam.format", "http://x.org/bam")
    world = file_world(tmp_path, formats=["http://x.org/a", "http://x.org/b"])
    world.upload("u", "x.bam")
    assert world.problems(bam="u")[0].input == "bam.format"
