"""`waas executions outputs`: listing and downloading."""

from __future__ import annotations

import hashlib
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waas_cli.downloads import plan, safe_name

TABLE = b"word,count\n" * 100


def file(name: str, content: bytes, where: str, **members: Any) -> dict[str, Any]:
    checksum = "sha1$" + hashlib.sha1(content, usedforsecurity=False).hexdigest()
    location = f"/executions/00000001-0000-4000-8000-0123456789ab/outputs/{where}"
    return {
        "class": "File",
        "basename": name,
        "size": len(content),
        "checksum": checksum,
        "location": location,
        **members,
    }


def directory(name: str, where: str) -> dict[str, Any]:
    return {"class": "Directory", "basename": name, "location": file("", b"", where)["location"]}


@pytest.fixture
def execution(service: Any, tar: Any) -> str:
    service.contents = {
        "table": TABLE,
        "plots?0": b"<svg/>",
        "plots?1": b"<svg></svg>",
        "plots?1/secondaryFiles/0": b"index",
        "folder": tar({"a.txt": b"a", "sub/b.txt": b"b"}),
    }
    second = file("p.svg", b"<svg></svg>", "plots?path=1")
    second["secondaryFiles"] = [file("p.idx", b"index", "plots?path=1/secondaryFiles/0")]
    outputs = {
        "table": file("table.csv", TABLE, "table"),
        "plots": [file("p.svg", b"<svg/>", "plots?path=0"), second],
        "folder": directory("results", "folder"),
        "total": 42,
        "nothing": None,
    }
    identity: str = service.add(("SUCCEEDED", []), outputs=outputs)
    return identity


def test_types_of_plain_values(alice: Any, service: Any) -> None:
    outputs = {"mean": 0.001091, "right": True, "names": ["a"], "parts": [0.5, 1.5], "nothing": None}
    execution = service.add(("SUCCEEDED", []), outputs=outputs)
    lines = alice("executions", "outputs", execution).out.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["double", "boolean", "string[]", "double[]", "null"]


def tree(top: Path) -> dict[str, bytes]:
    return {str(each.relative_to(top)): each.read_bytes() for each in sorted(top.rglob("*")) if each.is_file()}


ALL = {
    "plots/p-2.svg": b"<svg></svg>",
    "plots/p-2.idx": b"index",
    "plots/p.svg": b"<svg/>",
    "results/a.txt": b"a",
    "results/sub/b.txt": b"b",
    "table.csv": TABLE,
    "total.json": b"42\n",
}


def test_list(alice: Any, execution: str) -> None:
    result = alice("executions", "outputs", execution)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines == [
        "table\tFile\ttable.csv\t1.1 kB",
        "plots\tFile\tp.svg\t6 B",
        "plots\tFile\tp.svg\t11 B",
        "plots\tFile\tp.idx\t5 B",
        "folder\tDirectory\tresults\t",
        "total\tint\t42\t",
        "nothing\tnull\tnull\t",
    ]


def test_list_of_records_and_of_plain_values(alice: Any, service: Any) -> None:
    record = {"count": 3, "map": [file("a.map", b"a", "r"), file("b.map", b"b", "r")]}
    execution = service.add(("SUCCEEDED", []), outputs={"r": record, "words": ["a", "b"], "plain": {"x": 1}, "no": []})
    assert alice("executions", "outputs", execution).out.splitlines() == [
        "r.count\tint\t3\t",
        "r.map\tFile\ta.map\t1 B",
        "r.map\tFile\tb.map\t1 B",
        'words\tstring[]\t["a", "b"]\t',
        'plain\trecord\t{"x": 1}\t',
        "no\tarray\t[]\t",
    ]


def test_list_in_json(alice: Any, service: Any, execution: str) -> None:
    assert alice("executions", "outputs", execution, "-o", "json").json == service.executions[execution].outputs
    assert alice("executions", "outputs", execution, "total", "-o", "json").json == {"total": 42}


def test_unknown_output_and_none(alice: Any, service: Any, execution: str) -> None:
    result = alice("executions", "outputs", execution, "nope")
    assert result.code == 5
    assert "Its outputs are: table, plots, folder, total" in result.err
    running = service.add(("RUNNING", []))
    assert alice("executions", "outputs", running).err == "No outputs found.\n"
    assert alice("executions", "outputs", running, "-d", ".").err == "There is nothing to download.\n"


def test_download(alice: Any, execution: str, tmp_path: Path) -> None:
    target = tmp_path / "results"
    result = alice("executions", "outputs", execution, "--download", str(target))
    assert (result.code, result.err) == (0, "")
    assert tree(target) == ALL
    assert result.out.splitlines() == [
        str(target / name)
        for name in ("table.csv", "plots/p.svg", "plots/p-2.svg", "plots/p-2.idx", "results", "total.json")
    ]


def test_download_one_in_json(alice: Any, execution: str, tmp_path: Path) -> None:
    result = alice("executions", "outputs", execution, "table", "-d", str(tmp_path / "r"), "-o", "json")
    assert result.json == [str(tmp_path / "r" / "table.csv")]
    assert tree(tmp_path / "r") == {"table.csv": TABLE}


def test_nothing_is_replaced_without_force(alice: Any, service: Any, execution: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("mine")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine").touch()
    result = alice("executions", "outputs", execution, "-d", str(tmp_path))
    assert (result.code, result.out) == (2, "")
    assert "table.csv" in result.err
    assert "Nothing was downloaded" in result.err
    assert service.sent("GET", "/outputs/") == []
    assert (tmp_path / "table.csv").read_text() == "mine"
    assert alice("executions", "outputs", execution, "-d", str(tmp_path), "--force").code == 0
    there = {name: content for name, content in tree(tmp_path).items() if not name.startswith("home")}
    assert there == {**ALL, "results/mine": b""}


def test_what_is_there_already_is_not_fetched_again(alice: Any, service: Any, execution: str, tmp_path: Path) -> None:
    words = ["executions", "outputs", execution, "table", "total", "-d", str(tmp_path / "r")]
    assert alice(*words).code == 0
    result = alice(*words)
    assert (result.code, len(service.sent("GET", "/outputs/"))) == (0, 1)
    assert result.err.count("was there already") == 2


def test_a_download_goes_on_where_it_stopped(alice: Any, service: Any, execution: str, tmp_path: Path) -> None:
    words = ["executions", "outputs", execution, "table", "-d", str(tmp_path / "r")]
    service.contents["table"] = TABLE[:100]
    assert alice(*words).code == 1
    assert tree(tmp_path / "r") == {}
    service.contents["table"] = TABLE
    # What a run leaves that was killed half-way.
    (item,) = plan({"table": service.executions[execution].outputs["table"]}, tmp_path / "r")
    from waas_cli.downloads import _part

    _part(item).write_bytes(TABLE[:500])
    assert alice(*words).code == 0
    assert service.requests[-1].headers["Range"] == "bytes=500-"
    assert tree(tmp_path / "r") == {"table.csv": TABLE}


def test_a_damaged_beginning_is_found(alice: Any, service: Any, execution: str, tmp_path: Path) -> None:
    from waas_cli.downloads import _part

    (item,) = plan({"table": service.executions[execution].outputs["table"]}, tmp_path)
    _part(item).write_bytes(b"x" * 500)
    words = ["executions", "outputs", execution, "table", "-d", str(tmp_path)]
    result = alice(*words)
    assert result.code == 1
    assert "arrived damaged: its sha1 checksum" in result.err
    assert alice(*words).code == 0


def test_a_lost_connection_is_taken_up_again(alice: Any, service: Any, execution: str, tmp_path: Path) -> None:
    service.trouble = [("GET", "/outputs/table", "drop", {})]
    assert alice("executions", "outputs", execution, "table", "-d", str(tmp_path / "r")).code == 0


def test_archives_cannot_leave_their_directory(alice: Any, service: Any, execution: str, tmp_path: Path) -> None:
    raw = BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    for content in (raw.getvalue(), b"no archive at all" * 100):
        service.contents["folder"] = content
        result = alice("executions", "outputs", execution, "folder", "-d", str(tmp_path / "r"))
        assert (result.code, result.out) == (1, "")
        assert "results arrived damaged" in result.err
        assert list((tmp_path / "r").iterdir()) == []


@pytest.mark.parametrize("location", ["https://evil.example/x", "//evil.example/x", "relative", None])
def test_nothing_is_fetched_from_elsewhere(alice: Any, service: Any, location: Any, tmp_path: Path) -> None:
    execution = service.add(("SUCCEEDED", []), outputs={"x": {**file("x", b"x", "x"), "location": location}})
    result = alice("executions", "outputs", execution, "-d", str(tmp_path))
    assert result.code == 1
    assert "doesn't say where" in result.err


def test_a_directory_that_cannot_be_written(alice: Any, execution: str, tmp_path: Path) -> None:
    (tmp_path / "r").touch()
    result = alice("executions", "outputs", execution, "-d", str(tmp_path / "r"))
    assert (result.code, result.out) == (2, "")
    assert f"{tmp_path / 'r'}, which isn't a directory" in result.err


@given(st.one_of(st.text(), st.sampled_from(["..", ".", "/etc/passwd", "a\\b", "\x00", "x" * 500, "é" * 300])))
def test_names_are_safe(name: str) -> None:
    safe = safe_name(name, "output")
    assert safe not in ("", ".", "..")
    assert len(safe.encode(errors="replace")) <= 255
    assert Path("/top", safe).resolve().parent == Path("/top")
    assert not any(character < " " for character in safe)


names = st.sampled_from(["a", "A", "..", "/", "a.json", "x"])
values = st.recursive(
    st.one_of(st.integers(), st.builds(lambda name: {"class": "File", "basename": name}, names)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(names, values))
def test_no_two_files_meet_and_none_leaves_the_directory(outputs: dict[str, Any]) -> None:
    targets = [item.target for item in plan(outputs, Path("/top"))]
    assert len({str(target).casefold() for target in targets}) == len(targets)
    assert all(Path("/top") in target.resolve().parents for target in targets)
