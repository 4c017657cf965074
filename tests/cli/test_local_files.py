"""Local files as inputs: several by one word, those that belong beside others, and what is left out of directories."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from waas_cli.ignored import Ignore

FILE = {"$ref": "#/$defs/File"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the command is run in."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in ("a.bam", "a.bam.bai", "b.bam", "b.bam.bai", "b.idx", "notes.txt"):
        (place / name).write_text(name)
    return place


@pytest.fixture
def declare(service: Any) -> Any:
    """Declares inputs of the workflow `word-statistics`."""

    def declared(required: list[str] | None = None, **inputs: Any) -> None:
        schema = service.details["word-statistics"]["inputs"]
        schema["properties"] = inputs
        schema["required"] = required or []

    return declared


READS = {**FILE, "x-type": "File", "x-secondaryFiles": [".bai", "^.idx?"]}


def _trigger(alice: Any, *words: str) -> Any:
    return alice("workflows", "trigger", "word-statistics", *words)


def _sent(service: Any) -> Any:
    """The inputs that were sent, with contents in place of the ids of uploads."""

    def with_contents(value: Any) -> Any:
        if isinstance(value, list):
            return [with_contents(item) for item in value]
        if not isinstance(value, dict):
            return value
        members = {key: with_contents(member) for key, member in value.items() if key != "location"}
        content = service.files.get(value.get("location"))
        return members | ({"holds": content[1].decode(errors="replace")} if content else {})

    (request,) = service.sent("POST", "/workflows/")
    return with_contents(request.json["inputs"])


def _file(name: str, **more: Any) -> dict[str, Any]:
    return {"class": "File", "basename": name, "holds": name, **more}


def test_files_beside_others_are_sent_with_them(alice: Any, service: Any, declare: Any, data: Path) -> None:
    declare(reads=READS)
    assert _trigger(alice, "-i", "reads=@b.bam").code == 0
    assert _sent(service)["reads"] == _file("b.bam", secondaryFiles=[_file("b.bam.bai"), _file("b.idx")])


def test_files_beside_those_of_a_job_file(alice: Any, service: Any, declare: Any, data: Path) -> None:
    pair = {"type": "object", "properties": {"reads": READS}}
    declare(pairs={"type": "array", "items": pair})
    job = {"pairs": [{"reads": {"class": "File", "path": "a.bam"}}, {"reads": {"class": "File", "path": "b.bam"}}]}
    (data / "job.json").write_text(json.dumps(job))
    assert _trigger(alice, "--inputs-file", "job.json").code == 0
    first, second = (each["reads"]["secondaryFiles"] for each in _sent(service)["pairs"])
    assert (first, second) == ([_file("a.bam.bai")], [_file("b.bam.bai"), _file("b.idx")])


def test_what_a_job_file_gives_beside_a_file_is_kept(alice: Any, service: Any, declare: Any, data: Path) -> None:
    declare(reads=READS)
    reads = {"class": "File", "path": "a.bam", "secondaryFiles": [{"class": "File", "path": "b.bam.bai"}]}
    reads["secondaryFiles"][0]["basename"] = "a.bam.bai"  # type: ignore[index]
    (data / "job.json").write_text(json.dumps({"reads": reads}))
    assert _trigger(alice, "--inputs-file", "job.json").code == 0
    assert _sent(service)["reads"]["secondaryFiles"] == [_file("b.bam.bai", basename="a.bam.bai")]


def test_what_is_missing_beside_files_is_told_for_all_before_anything_is_sent(
    alice: Any, service: Any, declare: Any, data: Path
) -> None:
    declare(reads=READS, more=READS, top={"type": "integer"})
    (data / "b.bam.bai").unlink()
    result = _trigger(alice, "-i", "reads=@notes.txt", "-i", "more=@b.bam", "-i", "top:=[")
    assert (result.code, result.out, service.sent("POST", "/")) == (2, "", [])
    assert "3 inputs are wrong:" in result.err
    assert "The input reads needs notes.txt.bai beside notes.txt" in result.err
    assert "The input more needs b.bam.bai beside b.bam" in result.err
    assert "--inputs top:=… isn't JSON" in result.err


def test_a_pattern_gives_the_files_of_a_list(alice: Any, service: Any, declare: Any, data: Path) -> None:
    declare(reads={"type": "array", "items": FILE, "x-type": "File[]", "x-secondaryFiles": [".bai"]})
    result = _trigger(alice, "-i", "reads=@*.bam")
    assert (result.code, result.err) == (0, "reads: 2 files of *.bam\n")
    assert [each["basename"] for each in _sent(service)["reads"]] == ["a.bam", "b.bam"]


def test_a_directory_gives_its_files_but_for_those_that_belong_beside_others(
    alice: Any, service: Any, declare: Any, data: Path
) -> None:
    (data / ".hidden").touch()
    (data / ".waasignore").write_text("notes.*\n")
    (data / "sub").mkdir()
    declare(reads={"type": "array", "items": FILE, "x-secondaryFiles": [".bai", "^.idx?"]})
    assert _trigger(alice, "-i", "reads=@.").code == 0
    assert [each["basename"] for each in _sent(service)["reads"]] == ["a.bam", "b.bam"]


def test_a_pattern_for_one_file(alice: Any, service: Any, declare: Any, data: Path) -> None:
    declare(reads=FILE)
    result = _trigger(alice, "-i", "reads=@*.bam")
    assert (result.code, service.sent("POST", "/")) == (2, [])
    assert "--inputs reads=@*.bam: this names 2 files, but the input takes one." in result.err
    assert _trigger(alice, "-i", "reads=@*.txt").code == 0
    assert _sent(service)["reads"] == _file("notes.txt")


def test_a_name_with_a_star_is_a_name(alice: Any, service: Any, declare: Any, data: Path) -> None:
    (data / "*.bam").write_text("*.bam")
    declare(reads={"type": "array", "items": FILE})
    assert _trigger(alice, "-i", "reads=@*.bam").code == 0
    assert _sent(service)["reads"] == [_file("*.bam")]


def test_json_names_local_files(alice: Any, service: Any, declare: Any, data: Path) -> None:
    declare(reads=READS)
    assert _trigger(alice, "-i", 'reads:={"class": "File", "path": "a.bam", "format": "f:1"}').code == 0
    assert _sent(service)["reads"] == _file("a.bam", format="f:1", secondaryFiles=[_file("a.bam.bai")])


def test_a_file_that_is_named_twice_is_uploaded_once(alice: Any, service: Any, declare: Any, data: Path) -> None:
    declare(one=FILE, other=FILE)
    assert _trigger(alice, "-i", "one=@a.bam", "-i", "other=@a.bam").code == 0
    assert len(service.files) == 1


JOB = """\
$namespaces: {edam: "http://edamontology.org/"}
$schemas: [EDAM.owl]
cwl:tool: other.cwl
reads:
  class: File
  path: a.bam
  size: 5
  checksum: sha1$%s
  format: edam:format_2572
  nameroot: a
  nameext: .bam
  dirname: /somewhere
unheard: {class: File, path: nowhere.txt}
"""


def test_a_job_file_of_cwltool(alice: Any, service: Any, declare: Any, data: Path) -> None:
    declare(reads=READS)
    (data / "job.yml").write_text(JOB % hashlib.sha1(b"a.bam", usedforsecurity=False).hexdigest())
    result = _trigger(alice, "--inputs-file", "job.yml")
    assert (result.code, result.err) == (0, "The workflow has no input unheard: left out of the inputs file.\n")
    format_ = "http://edamontology.org/format_2572"
    assert _sent(service) == {"reads": _file("a.bam", format=format_, secondaryFiles=[_file("a.bam.bai")])}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ('"size": 6', "it has 5 bytes in place of 6"),
        ('"checksum": "sha1$hash"', "in place of sha1$hash"),
        ('"checksum": "crc$1"', "its checksum crc$1 is of no kind that can be compared"),
    ],
)
def test_a_file_that_is_not_what_its_job_file_says_is_used_and_told(
    alice: Any, service: Any, declare: Any, data: Path, members: str, message: str
) -> None:
    declare(reads=FILE)
    (data / "job.json").write_text(f'{{"reads": {{"class": "File", "path": "a.bam", {members}}}}}')
    result = _trigger(alice, "--inputs-file", "job.json")
    assert (result.code, _sent(service)) == (0, {"reads": _file("a.bam")})
    assert result.err.startswith("WARNING: The input reads in the inputs file names a.bam, but it")
    assert message in result.err


def test_a_directory_whose_content_is_listed_holds_that(alice: Any, service: Any, declare: Any, data: Path) -> None:
    declare(folder={"$ref": "#/$defs/Directory"})
    (data / "d").mkdir()
    listed = [{"class": "File", "location": "a.bam"}, {"class": "Directory", "path": "d"}]
    job = {"folder": {"class": "Directory", "path": "d", "listing": listed}}
    (data / "job.json").write_text(json.dumps(job))
    assert _trigger(alice, "--inputs-file", "job.json").code == 0
    sent = _sent(service)["folder"]
    assert (sent["basename"], sent["listing"][0]) == ("d", _file("a.bam"))
    assert sent["listing"][1]["basename"] == "d"
    assert "location" not in service.sent("POST", "/workflows/")[0].json["inputs"]["folder"]


def test_unknown_inputs_of_the_command_line_and_requirements_are_for_the_service_to_refuse(
    alice: Any, service: Any, declare: Any, data: Path
) -> None:
    declare()
    (data / "job.json").write_text('{"cwl:requirements": []}')
    assert _trigger(alice, "-i", "tpo=1", "--inputs-file", "job.json").code == 0
    assert _sent(service) == {"tpo": "1", "cwl:requirements": []}


@pytest.fixture
def folder(data: Path) -> Path:
    made = data / "folder"
    (made / "deep" / "build").mkdir(parents=True)
    (made / "deep" / "build" / "x.o").touch()
    (made / "deep" / "keep.tmp").touch()
    (made / "a.tmp").touch()
    (made / "up").symlink_to(made)
    (made / "to-file").symlink_to(data / "notes.txt")
    (made / "nowhere").symlink_to("nothing")
    return made


def _names(service: Any) -> list[str]:
    ((_, content),) = service.files.values()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        return archive.getnames()


def test_links_are_refused_followed_or_left_out(alice: Any, service: Any, folder: Path) -> None:
    refused = _trigger(alice, "-i", "folder=@folder")
    assert refused.code == 2
    assert "Choose with --links follow" in refused.err
    (folder / "nowhere").unlink()
    circle = _trigger(alice, "-i", "folder=@folder", "--links", "follow")
    assert (circle.code, circle.err.splitlines()[0]) == (
        2,
        "Error: folder/up is a symbolic link to a directory that it is in.",
    )
    assert "folder/up is a symbolic link to a directory." in _trigger(alice, "-i", "folder=@folder").err
    skipped = _trigger(alice, "-i", "folder=@folder", "--links", "skip")
    assert (skipped.code, skipped.err) == (0, "Left out of folder since they are symbolic links: 2 of its members\n")
    assert _names(service) == ["a.tmp", "deep", "deep/build", "deep/build/x.o", "deep/keep.tmp"]


def test_links_to_directories_are_followed(alice: Any, service: Any, folder: Path, data: Path) -> None:
    for name in ("up", "nowhere"):
        (folder / name).unlink()
    (folder / "other").symlink_to(data / "other")
    (data / "other").mkdir()
    (data / "other" / "x").touch()
    assert alice("files", "upload", "folder", "--links", "follow").code == 0
    assert {"other", "other/x", "to-file"} < set(_names(service))


def test_what_waasignore_names_stays_here(alice: Any, service: Any, folder: Path) -> None:
    (folder / ".waasignore").write_text("# comment\n*.tmp\n!keep.tmp\nbuild/\n/up\nnowhere\n")
    result = _trigger(alice, "-i", "folder=@folder")
    assert (result.code, result.err) == (0, "Left out of folder by .waasignore: 4 of its members\n")
    assert _names(service) == ["deep", "deep/keep.tmp", "to-file"]


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("*.o", ["x.o", "a/b.o"], ["x.oo", "o"]),
        ("/x", ["x"], ["a/x"]),
        ("a/*", ["a/x"], ["a/x/y", "b/a/x"]),
        ("a/**", ["a/x", "a/x/y"], ["a"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["ax"]),
        ("a/**/x", ["a/x", "a/b/c/x"], ["ax"]),
        ("[!a-c]?", ["dx"], ["ax", "d", "d/"]),
        (r"\#x", ["#x"], ["x"]),
        ("x ", ["x"], ["x "]),
        ("[z-a]", [], ["z", "a"]),
        ("[x", ["[x"], ["x"]),
        ("größe.(txt)", ["größe.(txt)"], []),
    ],
)
def test_patterns_to_ignore(pattern: str, matched: list[str], others: list[str]) -> None:
    ignore = Ignore([pattern])
    assert [way for way in matched if not ignore.matches(way, is_directory=False)] == []
    assert [way for way in others if ignore.matches(way, is_directory=False)] == []


def test_a_file_that_nobody_may_read_is_told_before_anything_is_sent(
    alice: Any, service: Any, declare: Any, data: Path
) -> None:
    declare(one=FILE, other=FILE)
    os.mkfifo(data / "pipe")
    result = _trigger(alice, "-i", "one=@a.bam", "-i", "other=@pipe")
    assert (result.code, service.sent("POST", "/")) == (2, [])
    assert "pipe is neither a file nor a directory" in result.err


def test_a_companion_belongs_to_an_upload(alice: Any, service: Any, data: Path) -> None:
    assert alice("files", "upload", "a.bam", "--companion", "a.bam.bai").code == 0
    first, second = service.sent("POST", "/files")
    assert first.query == {"name": "a.bam"}
    assert second.query == {"name": "a.bam.bai", "companion_of": next(iter(service.files))}


def test_companions_without_a_service_that_keeps_them(alice: Any, service: Any, data: Path) -> None:
    service.forgets_companions = True
    result = alice("files", "upload", "a.bam", "--companion", "a.bam.bai")
    assert (result.code, result.out, service.files) == (1, "", {})
    assert "The service is too old to keep files beside others." in result.err
    assert alice("files", "upload", "a.bam", "b.bam", "--companion", "a.bam.bai").code == 2
    assert alice("files", "upload", "a.bam", "--companion", "nowhere").code == 2
    assert service.files == {}
