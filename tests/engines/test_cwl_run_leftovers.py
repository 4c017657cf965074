"""What tools leave besides plain files: nothing of it loses an execution, or the other outputs, or hangs."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcwaas.core.models import Level, Status, StepDeclaration
from hpcwaas.core.outputs import OutputArchive
from hpcwaas.engines.cwl.inputs.job import Job, StagedFile
from hpcwaas.engines.cwl.run import deliverable
from hpcwaas.engines.cwl.run.deliverable import Tidier
from hpcwaas.engines.cwl.storage.trees import remove_tree
from tests.engines.cwl_bench import DATA, Bench

EVERYTHING = r"""
mkdir -p out/sub out/deep
echo plain > out/plain.txt; echo other > other.dat; echo top > a.txt
ln -s "$PWD/out/plain.txt" out/absolute
ln -s plain.txt out/relative
ln -s ../other.dat out/beside
ln -s nothing out/dangling
ln -s . out/here
ln -s .. out/up
ln -s circle out/circle
ln -s two out/one; ln -s one out/two
ln -s sub out/folder; echo s > out/sub/s.txt; ln -s ../deep out/sub/deep; ln -s ../sub out/deep/sub
ln -s /etc/passwd out/outside; ln -s / out/root; ln -s /proc/self/environ out/environ
mkfifo out/pipe pipe.txt
ln -s pipe out/link-to-pipe
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("out/socket")'
touch "$(printf 'out/latin-\344')" "$(printf 'out/line\nbreak')" "$(printf 'caf\351.txt')"
mkdir "$(printf 'out/folder-\344')"
ln -s nowhere.txt dangling.txt
echo closed > out/closed.txt; chmod 000 out/closed.txt
mkdir out/locked; echo l > out/locked/l.txt; chmod 000 out/locked
"""
KEPT = {
    "absolute": b"plain\n",
    "beside": b"other\n",
    "closed.txt": b"closed\n",
    "deep/sub/s.txt": b"s\n",
    "folder/s.txt": b"s\n",
    "line\nbreak": b"",
    "locked/l.txt": b"l\n",
    "plain.txt": b"plain\n",
    "relative": b"plain\n",
    "sub/s.txt": b"s\n",
}
DROPPED = {
    r"'caf\udce9.txt'": "its name isn't UTF-8",
    "dangling.txt": "it is a link that leads nowhere, or in a circle",
    "out/circle": "it is a link that leads nowhere, or in a circle",
    "out/dangling": "it is a link that leads nowhere, or in a circle",
    "out/environ": "it is a link that leads",
    r"'out/folder-\udce4'": "its name isn't UTF-8",
    "out/here": "it is a link to a directory that it lies in itself",
    r"'out/latin-\udce4'": "its name isn't UTF-8",
    "out/link-to-pipe": "it is a link",
    "out/one": "it is a link that leads nowhere, or in a circle",
    "out/outside": "it is a link that leads out of the execution's files",
    "out/pipe": "it is a pipe, a socket or a device",
    "out/root": "it is a link that leads out of the execution's files",
    "out/socket": "it is a pipe, a socket or a device",
    "out/two": "it is a link that leads nowhere, or in a circle",
    "out/up": "it is a link to a directory that it lies in itself",
    "pipe.txt": "it is a pipe, a socket or a device",
}


def archive(bench: Bench, reference: str, kind: str = "zip") -> bytes:
    output = bench.executions.output(reference, "folder", None, kind)
    assert isinstance(output, OutputArchive)
    return b"".join(output.chunks)


def unzipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        return {name: packed.read(name) for name in packed.namelist() if not name.endswith("/")}


def test_of_everything_that_a_tool_can_leave_the_files_are_delivered(bench: Bench) -> None:
    reference = bench.shell(EVERYTHING)
    state = bench.end(reference, 60)
    assert state.status is Status.SUCCEEDED, state.reason
    found = unzipped(archive(bench, reference))
    assert {name: found[name] for name in KEPT} == KEPT
    # Two directories with links to each other become what each of them holds.
    assert {name.rpartition("/")[2] for name in found.keys() - KEPT.keys()} <= {"s.txt"}
    with tarfile.open(fileobj=io.BytesIO(archive(bench, reference, "tar"))) as packed:
        assert {member.name for member in packed.getmembers() if member.isfile()} == set(found)
    assert state.outputs is not None
    assert [item["basename"] for item in state.outputs["files"]] == ["a.txt"]
    warnings = bench.text(reference, Level.WARN).split("\n")
    for name, reason in DROPPED.items():
        assert any(f"The tool's {name} is dropped: {reason}" in warning for warning in warnings), (name, warnings)


def test_a_link_to_an_input_is_the_input(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(b"given")
    document = tmp_path / "link.cwl"
    document.write_text(
        (DATA / "shell.cwl")
        .read_text()
        .replace("outputs:", "  file: {type: File, inputBinding: {position: 2}}\noutputs:")
    )
    order = {
        "script": 'mkdir out; ln -s "$0" out/given; ln -s "$0" top.txt',
        "file": {"class": "File", "location": "inputs/0/data.txt"},
    }
    staged = (StagedFile(source, "inputs/0/data.txt"),)
    job = Job(document, None, order, staged, (), (StepDeclaration("link"),))
    reference = bench.begin(job)
    state = bench.end(reference)
    assert state.status is Status.SUCCEEDED, state.reason
    assert unzipped(archive(bench, reference)) == {"given": b"given"}
    assert bench.content(reference, "files", "0") == b"given"


def test_very_deep_and_very_many(bench: Bench) -> None:
    reference = bench.shell(
        "echo top > a.txt; mkdir out; cd out; echo 1 > one.txt; i=0; "
        "while [ $i -lt 1200 ]; do mkdir d && cd -P d || break; i=$((i+1)); done; true"
    )
    state = bench.end(reference, 60)
    assert state.status is Status.SUCCEEDED, state.reason
    assert unzipped(archive(bench, reference)) == {"one.txt": b"1\n"}
    assert bench.content(reference, "files", "0") == b"top\n"
    assert "is dropped: it lies deeper than 100 directories" in bench.text(reference, Level.WARN)


def test_the_object_of_a_directory_does_not_grow_with_it(bench: Bench) -> None:
    reference = bench.shell("mkdir out; cd out; seq 3000 | xargs touch")
    assert bench.end(reference, 60).status is Status.SUCCEEDED
    assert len((bench.directory / "executions" / reference / "outputs.json").read_bytes()) < 1000
    assert len(unzipped(archive(bench, reference))) == 3000


@pytest.fixture
def tidied(tmp_path: Path) -> Callable[[], list[str]]:
    (tmp_path / "tool").mkdir()

    def tidy() -> list[str]:
        warnings: list[str] = []
        Tidier(tmp_path / "tool", "/inside", (tmp_path / "inputs",), warnings.append).tidy()
        return warnings

    return tidy


def test_links_made_in_a_container_are_understood(tmp_path: Path, tidied: Callable[[], list[str]]) -> None:
    (tmp_path / "tool/file").write_text("x")
    (tmp_path / "tool/link").symlink_to("/inside/file")
    assert tidied() == []
    assert (tmp_path / "tool/link").read_text() == "x"
    assert not (tmp_path / "tool/link").is_symlink()


def test_links_that_multiply_are_stopped(
    tmp_path: Path, tidied: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverable, "_COPY_LIMIT", 500)
    for level in range(30):
        folder = tmp_path / f"tool/{level:02}"
        folder.mkdir()
        (folder / "file").touch()
        if level:
            for name in "ab":
                (folder / name).symlink_to(f"../{level - 1:02}")
    warnings = tidied()
    assert any("links lead to too much" in warning for warning in warnings)
    assert warnings[-1].endswith("more of its files.")
    remove_tree(tmp_path / "tool")


def test_what_the_runner_itself_linked_at_the_top_stays(tmp_path: Path, tidied: Callable[[], list[str]]) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs/file").write_text("x")
    (tmp_path / "tool/file").symlink_to(tmp_path / "inputs/file")
    assert tidied() == []
    assert (tmp_path / "tool/file").is_symlink()


def test_a_tree_that_vanishes_meanwhile_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool/sub").mkdir(parents=True)
    (tmp_path / "tool/file").touch()
    real_scandir = os.scandir

    def scandir(path: str) -> object:
        entries = real_scandir(path)
        found = list(entries)
        if str(path).endswith("tool"):
            remove_tree(tmp_path / "tool/sub")
            (tmp_path / "tool/file").unlink()

        class Gone:
            def __enter__(self) -> object:
                return iter(found)

            def __exit__(self, *_: object) -> None:
                entries.close()

        return Gone()

    monkeypatch.setattr(os, "scandir", scandir)
    Tidier(tmp_path / "tool", "/inside", (), lambda warning: pytest.fail(warning)).tidy()
