"""`waas executions outputs --download` touches nothing but files of the outputs' names."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from waas_cli.downloads import _part, plan

from tests.cli.test_outputs import directory, file, tree

TABLE = b"word,count\n" * 100
Fetch = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    made.mkdir()
    return made


@pytest.fixture
def fetch(alice: Any, service: Any, tar: Any, place: Path) -> Fetch:
    """Downloads a file `table.csv`, a folder `results` and a list `plots` into the place."""
    service.contents = {
        "table": TABLE,
        "folder": tar({"a.txt": b"a", "sub/b.txt": b"b", "new/c.txt": b"c"}),
        "plots?0": b"<svg/>",
    }
    outputs = {
        "table": file("table.csv", TABLE, "table"),
        "folder": directory("results", "folder"),
        "plots": [file("p.svg", b"<svg/>", "plots?path=0")],
    }
    execution = service.add(("SUCCEEDED", []), outputs=outputs)
    return lambda *more: alice("executions", "outputs", execution, "-d", str(place), *more)


NEW = {
    "plots/p.svg": b"<svg/>",
    "results/a.txt": b"a",
    "results/new/c.txt": b"c",
    "results/sub/b.txt": b"b",
    "table.csv": TABLE,
}


def test_force_replaces_files_of_the_same_name_and_nothing_else(fetch: Fetch, place: Path) -> None:
    mine = {"results/mine.txt": b"1", "results/sub/mine.txt": b"2", "plots/mine.svg": b"3", "other": b"4"}
    for name, content in {**mine, "results/a.txt": b"old", "results/sub/b.txt": b"old", "table.csv": b"old"}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    assert fetch().code == 2
    assert fetch("--force").code == 0
    assert tree(place) == {**NEW, **mine}
    assert fetch("--force").code == 0
    assert tree(place) == {**NEW, **mine}


def folder_for_a_file(place: Path) -> None:
    (place / "table.csv").mkdir()


def file_for_a_folder(place: Path) -> None:
    (place / "results").write_text("mine")


def link_for_a_folder(place: Path) -> None:
    (place / "elsewhere").mkdir()
    (place / "results").symlink_to(place / "elsewhere")


def dangling_link_for_a_folder(place: Path) -> None:
    (place / "results").symlink_to("nowhere")


def file_for_the_folder_of_a_list(place: Path) -> None:
    (place / "plots").write_text("mine")


def folder_for_a_member(place: Path) -> None:
    (place / "results" / "a.txt").mkdir(parents=True)


def file_for_a_member_folder(place: Path) -> None:
    (place / "results").mkdir()
    (place / "results" / "sub").write_text("mine")


def link_for_a_member_folder(place: Path) -> None:
    (place / "elsewhere").mkdir()
    (place / "results").mkdir()
    (place / "results" / "sub").symlink_to(place / "elsewhere")


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        (folder_for_a_file, "table.csv is a directory"),
        (file_for_a_folder, "results is a file"),
        (link_for_a_folder, "results is a link"),
        (dangling_link_for_a_folder, "results is a link"),
        (file_for_the_folder_of_a_list, "plots, which isn't a directory"),
        (folder_for_a_member, "results/a.txt is a directory"),
        (file_for_a_member_folder, "results/sub is a file"),
        (link_for_a_member_folder, "results/sub is a link"),
    ],
)
def test_what_is_of_another_kind_stays(fetch: Fetch, place: Path, prepare: Callable[[Path], None], named: str) -> None:
    prepare(place)
    before = {str(path.relative_to(place)): os.lstat(path).st_mode for path in place.rglob("*")}
    result = fetch("--force")
    assert (result.code, f"{place}/{named}" in result.err) == (2, True), result.err
    after = {str(path.relative_to(place)): os.lstat(path).st_mode for path in place.rglob("*")}
    assert before.items() <= after.items()
    assert not [name for name in after if name.startswith(("elsewhere/", "results/new")) or name.endswith(".part")]


def test_a_link_to_a_file_is_replaced_and_not_followed(fetch: Fetch, place: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (place / "results").mkdir()
    (place / "table.csv").symlink_to(tmp_path / "precious")
    (place / "results" / "a.txt").symlink_to(tmp_path / "precious")
    assert fetch("--force").code == 0
    assert tree(place) == NEW
    assert not (place / "table.csv").is_symlink()
    assert (tmp_path / "precious").read_text() == "mine"


def test_the_folder_itself_may_be_a_link(fetch: Fetch, place: Path, tmp_path: Path) -> None:
    place.rename(tmp_path / "scratch")
    place.symlink_to(tmp_path / "scratch")
    assert fetch().code == 0
    assert tree(tmp_path / "scratch") == NEW


def test_a_planted_link_is_not_written_through(fetch: Fetch, service: Any, place: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (execution,) = service.executions.values()
    (item,) = plan({"table": execution.outputs["table"]}, place)
    _part(item).symlink_to(tmp_path / "precious")
    assert fetch().code == 1
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_break_leaves_what_was_there(
    fetch: Fetch, service: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "results").mkdir()
    (place / "results" / "a.txt").write_text("mine")

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("waas_cli.downloads._merge", interrupted)
    assert fetch("--force").code == 130
    assert tree(place / "results") == {"a.txt": b"mine"}
    assert not list(place.glob(".*.part"))


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "sub/../../out"])
def test_members_stay_inside(alice: Any, service: Any, tar: Any, place: Path, name: str) -> None:
    service.contents["folder"] = tar({"a.txt": b"a", name: b"out"})
    execution = service.add(("SUCCEEDED", []), outputs={"folder": directory("results", "folder")})
    result = alice("executions", "outputs", execution, "-d", str(place), "--force")
    assert (result.code, "arrived damaged" in result.err) == (1, True)
    assert list(place.iterdir()) == []


def test_two_members_of_one_name_are_told(alice: Any, service: Any, place: Path) -> None:
    raw = BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for content in (b"1", b"2"):
            member = tarfile.TarInfo("a.txt")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    service.contents["folder"] = raw.getvalue()
    execution = service.add(("SUCCEEDED", []), outputs={"folder": directory("results", "folder")})
    result = alice("executions", "outputs", execution, "-d", str(place))
    assert (result.code, "'a.txt' has the same name as another file" in result.err) == (1, True)


def names(outputs: dict[str, Any]) -> list[str]:
    return [str(item.target.relative_to("/top")) for item in plan(outputs, Path("/top"))]


def test_pairs_stay_pairs() -> None:
    def bam(name: str = "o") -> dict[str, Any]:
        index = {"class": "File", "basename": f"{name}.bam.bai"}
        return {"class": "File", "basename": f"{name}.bam", "secondaryFiles": [index]}

    assert names({"a": bam(), "b": bam()}) == ["o.bam", "o.bam.bai", "o-2.bam", "o-2.bam.bai"]
    assert names({"l": [bam(), bam()]}) == ["l/o.bam", "l/o.bam.bai", "l/o-2.bam", "l/o-2.bam.bai"]
    # The index alone is taken: its file gets the number as well.
    alone = {"class": "File", "basename": "o.bam.bai"}
    assert names({"x": alone, "a": bam()}) == ["o.bam.bai", "o-2.bam", "o-2.bam.bai"]
    # Another spelling of the file system's own name.
    assert names({"a": bam("\u00e9"), "b": bam("E\u0301".lower())}) == [
        "\u00e9.bam",
        "\u00e9.bam.bai",
        "e\u0301-2.bam",
        "e\u0301-2.bam.bai",
    ]


def test_the_folder_of_a_list_and_an_output_of_its_name_are_two() -> None:
    file_in = {"class": "File", "basename": "p.svg"}
    named = {"class": "Directory", "basename": "plots"}
    assert names({"plots": [file_in], "all": named}) == ["plots/p.svg", "plots-2"]
    assert names({"all": named, "plots": [file_in]}) == ["plots", "plots-2/p.svg"]
