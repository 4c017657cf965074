"""Files that go into an execution and come out of it."""

from __future__ import annotations

import io
import socket
import zipfile
from pathlib import Path

import pytest

from hpcwaas.core.models import Status, StepDeclaration
from hpcwaas.core.outputs import OutputArchive, OutputFile, OutputValue
from hpcwaas.engines.cwl.inputs.job import FetchedFile, Job, StagedFile
from hpcwaas.errors import Conflict, NotFound
from tests.engines.cwl_bench import Bench
from tests.waiting import until


def test_staged_files_are_read_only_inputs(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(b"abc")
    order = {"text": "x", "file": {"class": "File", "location": "inputs/0/my%20data.txt"}}
    staged = (StagedFile(source, "inputs/0/my data.txt"),)
    document = tmp_path / "cat.cwl"
    document.write_text(
        "cwlVersion: v1.0\nclass: CommandLineTool\nbaseCommand: cat\n"
        "inputs: {file: {type: File, inputBinding: {position: 1}}}\noutputs: {copy: stdout}\n"
    )
    job = Job(document, None, order, staged, (), (StepDeclaration("cat"),))
    reference = bench.begin(job)
    assert bench.end(reference).status is Status.SUCCEEDED
    assert bench.content(reference, "copy") == b"abc"
    assert source.read_bytes() == b"abc"
    until(lambda: not (bench.directory / "executions" / reference / "inputs").exists())


def test_a_script_can_be_run_as_it_can_in_a_directory(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "upload").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "text").write_text("text\n")
    document = tmp_path / "run.cwl"
    document.write_text(
        'cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: [sh, -c, \'"$0" && ! test -x "$1" || test -w /\']\n'
        "inputs:\n  script: {type: File, inputBinding: {position: 1}}\n"
        "  text: {type: File, inputBinding: {position: 2}}\noutputs: {out: stdout}\n"
    )
    order = {
        "script": {"class": "File", "location": "inputs/0/run.sh"},
        "text": {"class": "File", "location": "inputs/1/text.txt"},
    }
    staged = (StagedFile(tmp_path / "upload", "inputs/0/run.sh"), StagedFile(tmp_path / "text", "inputs/1/text.txt"))
    job = Job(document, None, order, staged, (), (StepDeclaration("run"),))
    reference = bench.begin(job)
    assert bench.end(reference).status is Status.SUCCEEDED
    assert bench.content(reference, "out") == b"ran\n"


def test_archives_become_directories_and_bad_ones_a_reason(bench: Bench, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    for path, name in ((good, "sub/a.txt"), (bad, "../../a.txt")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "packed")
    document = tmp_path / "list.cwl"
    document.write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: [grep, -r, packed]\n"
        "inputs: {folder: {type: Directory, inputBinding: {position: 1}}}\noutputs: {list: stdout}\n"
    )
    order = {"folder": {"class": "Directory", "location": "inputs/0/data"}}
    references = []
    for path in (good, bad):
        staged = (StagedFile(path, "inputs/0/data", "zip"),)
        job = Job(document, None, order, staged, (), (StepDeclaration("list"),))
        references.append(bench.begin(job))
    assert bench.end(references[0]).status is Status.SUCCEEDED
    assert bench.content(references[0], "list").endswith(b"/data/sub/a.txt:packed\n")
    state = bench.end(references[1])
    assert state.status is Status.FAILED
    assert "archive for the input data can't be unpacked: '../../a.txt' climbs out" in (state.reason or "")


def test_an_input_that_was_deleted_meanwhile_starts_nothing(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"data\.txt"):
        bench.start("shell", {"script": "true"}, staged=(StagedFile(tmp_path / "gone", "inputs/0/data.txt"),))
    assert not list((bench.directory / "incoming").iterdir())


def test_a_download_that_is_not_allowed_is_a_reason(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        fetched = (FetchedFile(f"http://127.0.0.1:{server.getsockname()[1]}/secret", "inputs/0/secret"),)
        state = bench.end(bench.start("shell", {"script": "true"}, fetched=fetched))
    assert state.status is Status.FAILED
    assert "not one that files may come from" in (state.reason or "")


def test_outputs_by_name_and_path(bench: Bench) -> None:
    script = """
        printf one > a.txt; printf two > b.txt
        mkdir -p out/deep; printf three > out/deep/c.html; ln -s deep/c.html out/inside; ln -s /etc/passwd out/outside
    """
    reference = bench.shell(script)
    state = bench.end(reference)
    assert state.status is Status.SUCCEEDED, state.reason
    assert state.outputs is not None
    assert state.outputs["answer"] == 42
    assert [file["path"] for file in state.outputs["files"]] == ["files/0", "files/1"]
    assert state.outputs["folder"] == {"class": "Directory", "basename": "out", "path": "folder"}
    assert str(bench.directory) not in str(state.outputs)

    output = bench.executions.output
    assert output(reference, "answer", None, "zip") == OutputValue(42)
    assert output(reference, "files", None, "zip") == OutputValue(state.outputs["files"])
    page = output(reference, "folder", "deep/c.html", "zip")
    assert isinstance(page, OutputFile)
    with page.stream:
        assert (page.name, page.media_type, page.size) == ("c.html", "text/html", 5)
    file = output(reference, "files", "0", "zip")
    assert isinstance(file, OutputFile)
    with file.stream:
        assert file.etag == state.outputs["files"][0]["checksum"].replace("$", "-")
    archive = output(reference, "folder", None, "zip")
    assert isinstance(archive, OutputArchive)
    assert archive.name == "out.zip"
    packed = zipfile.ZipFile(io.BytesIO(b"".join(archive.chunks)))
    assert packed.read("deep/c.html") == b"three"
    assert not [name for name in packed.namelist() if "outside" in name]
    for name, path in (
        ("nothing", None),
        ("files", "2"),
        ("files", "x"),
        ("folder", "../a.txt"),
        ("folder", "deep/../../a.txt"),
        ("folder", "/etc/passwd"),
        ("folder", "outside"),
        ("folder", "deep/nothing"),
        ("answer", "0"),
        ("files", "0/location"),
    ):
        with pytest.raises(NotFound):
            output(reference, name, path, "zip")
