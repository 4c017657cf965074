from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.run.collection import collect
from hpcwaas.engines.cwl.storage.outputs import OutsideError, Place, find, open_inside, show
from hpcwaas.engines.cwl.storage.packing import pack


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "outputs"
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "a b.txt").write_text("a")
    (root / "dir" / "sub" / "b.bin").write_bytes(b"b" * 1000)
    (root / "x.bam").write_text("x")
    (root / "x.bai").write_text("index")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (root / "dir" / "out").symlink_to(tmp_path / "secret")
    (root / "dir" / "folder-out").symlink_to(tmp_path / "elsewhere")
    (root / "dir" / "in").symlink_to("sub/b.bin")
    (root / "dir" / "up").symlink_to("..")
    (root / "dir" / "self").symlink_to("self")
    os.mkfifo(root / "dir" / "fifo")
    return root


def file(target: Path, **more: Any) -> dict[str, Any]:
    return {"class": "File", "location": target.as_uri(), "basename": target.name} | more


def test_what_lies_outside_is_dropped_with_a_warning(tree: Path) -> None:
    value = {
        "good": file(tree / "x.bam", checksum="sha1$1", nameroot="x", path="/machine/x.bam"),
        "linked": file(tree / "dir" / "in"),
        "spaced": file(tree / "dir" / "a b.txt"),
        "outside": file(tree.parent / "secret"),
        "climbing": {"class": "File", "location": f"file://{tree}/../secret"},
        "planted": file(tree / "dir" / "out"),
        "missing": file(tree / "nothing"),
        "literal": {"class": "File", "contents": "x"},
        "remote": {"class": "File", "location": "https://example.org/x"},
        "wrong": {"class": "Directory", "location": (tree / "x.bam").as_uri()},
        "fifo": file(tree / "dir" / "fifo"),
        "number": 1.5,
        "nothing": None,
        "list": [file(tree / "x.bam"), file(tree.parent / "secret")],
    }
    kept, warnings = collect(value, tree)
    assert kept["good"] == {"class": "File", "basename": "x.bam", "checksum": "sha1$1", "size": 1, "location": "x.bam"}
    assert kept["linked"]["location"] == "dir/sub/b.bin"
    assert kept["spaced"]["location"] == "dir/a b.txt"
    assert (kept["number"], kept["nothing"]) == (1.5, None)
    assert kept["list"][0]["location"] == "x.bam"
    assert kept["list"][1] is None
    dropped = {"outside", "climbing", "planted", "missing", "literal", "remote", "wrong", "fifo"}
    assert {name for name in dropped if kept[name] is not None} == set()
    assert len(warnings) == len(dropped) + 1
    assert not any(str(tree) in warning for warning in warnings)
    assert collect(None, tree) == ({}, [])


def test_paths_lead_to_every_part(tree: Path) -> None:
    value = {
        "aln": file(tree / "x.bam", secondaryFiles=[file(tree / "x.bai")]),
        "record": {"plots": [file(tree / "x.bai")], "n": 1},
        "dir": {"class": "Directory", "location": (tree / "dir").as_uri(), "listing": [file(tree / "x.bam")]},
    }
    kept, warnings = collect(value, tree)
    link = "it is a link that leads nowhere, in a circle, out of the directory, or to no file"
    assert warnings == [
        f"Output dir: {name} will not be in its archive: {reason}."
        for name, reason in {
            "fifo": "it is neither a file nor a directory",
            "folder-out": link,
            "out": link,
            "self": link,
            "up": link,
        }.items()
    ]
    shown = {name: show(part, name) for name, part in kept.items()}
    assert shown["aln"]["path"] == "aln"
    assert shown["aln"]["secondaryFiles"][0]["path"] == "aln/secondaryFiles/0"
    assert shown["record"]["plots"][0]["path"] == "record/plots/0"
    assert shown["dir"] == {"class": "Directory", "basename": "dir", "path": "dir"}
    assert "location" not in str(shown)

    def where(name: str, path: str | None) -> str:
        place = find(kept[name], path)
        assert isinstance(place, Place)
        return place.path

    assert where("aln", None) == "x.bam"
    assert where("aln", "secondaryFiles/0") == "x.bai"
    assert where("record", "plots/0") == "x.bai"
    assert where("dir", "sub/b.bin") == "dir/sub/b.bin"
    assert find(kept["record"], "n") == 1
    for name, path in (("aln", "location"), ("aln", "secondaryFiles/1"), ("record", "n/0"), ("record", "plots/-1")):
        with pytest.raises(LookupError):
            find(kept[name], path)
    for path in ("../x", "sub/../../x", "/etc", "sub//x", ".", "a\0b"):
        with pytest.raises(LookupError):
            find(kept["dir"], path)


def test_opening_follows_links_inside_only(tree: Path) -> None:
    def read(path: str) -> bytes:
        with os.fdopen(open_inside(tree, path), "rb") as stream:
            return stream.read()

    assert read("x.bam") == b"x"
    assert read("dir/in") == b"b" * 1000
    assert read("dir/up/x.bam") == b"x"
    for path in (
        "dir/out",
        "dir/folder-out",
        "dir/self",
        "dir/fifo",
        "../secret",
        "/etc/passwd",
        "dir/none",
        "x.bam/y",
    ):
        with pytest.raises(OutsideError):
            open_inside(tree, path)


EXPECTED = {"a b.txt": b"a", "sub/b.bin": b"b" * 1000, "in": b"b" * 1000}


def test_a_zip_holds_what_is_inside(tree: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(pack(tree, "dir", "zip")))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")} == EXPECTED
        assert "sub/" in archive.namelist()


def test_a_tar_holds_what_is_inside(tree: Path) -> None:
    long = tree / "dir" / ("ü" * 120)
    long.write_text("long name")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pack(tree, "dir", "tar")))) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers() if member.isfile()}
        assert {name: stream.read() for name, stream in files.items() if stream} == EXPECTED | {long.name: b"long name"}
        assert archive.getmember("sub").isdir()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_packing_a_large_file_takes_little_memory(tmp_path: Path, kind: str) -> None:
    with (tmp_path / "big").open("wb") as big:
        big.truncate(64 << 20)
    tracemalloc.start()
    size = sum(map(len, _small(pack(tmp_path, "", kind))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert size > 60_000


def _small(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        assert len(chunk) < 2 << 20
        yield chunk


def test_too_many_values_cost_only_their_own_output(tree: Path) -> None:
    value = {"good": file(tree / "x.bam"), "much": [[0] * 1000] * 300, "number": 1}
    kept, warnings = collect(value, tree)
    assert kept["good"]["location"] == "x.bam"
    assert kept["much"] is None
    assert warnings == ["Output much is dropped: all outputs may have 200000 values together."]
    assert kept["number"] == 1
