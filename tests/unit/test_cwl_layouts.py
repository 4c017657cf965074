"""Repositories as they are: what is published of folders at any depth, by which ids."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcwaas.engines.cwl.workflows.entries import Found, find_entries, permitted_by, read_stamps

ALICE = "authorized_users: [alice]"


def lay(directory: Path, *names: str, **contents: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, content in contents.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)


def look(directory: Path, known: Collection[tuple[str, str]] = ()) -> Found:
    return find_entries(directory, read_stamps(directory), known)


def ids(found: Found) -> dict[str, str]:
    return {entry.id: entry.main for entry in found.entries}


def known(found: Found) -> set[tuple[str, str]]:
    return {(item.source, item.id) for item in found.entries} | {(item.source, item.id) for item in found.unusable}


def reasons(found: Found) -> list[str]:
    return [*found.problems, *(item.reason for item in found.unusable)]


def test_documents_in_folders_are_published_each_by_its_path(tmp_path: Path) -> None:
    lay(tmp_path, "workflows/align.cwl", "workflows/call.cwl", "tools/bwa/mem.cwl", "tools/bwa/index.cwl", "top.cwl")
    lay(tmp_path, "tools/star/star-align.cwl", "deep/er/and/deeper/x.cwl", "tools/README.md", "data/genome.fa")
    found = look(tmp_path)
    assert ids(found) == {
        "deep.er.and.deeper": "deep/er/and/deeper/x.cwl",
        "tools.bwa.index": "tools/bwa/index.cwl",
        "tools.bwa.mem": "tools/bwa/mem.cwl",
        "tools.star": "tools/star/star-align.cwl",
        "top": "top.cwl",
        "workflows.align": "workflows/align.cwl",
        "workflows.call": "workflows/call.cwl",
    }
    assert reasons(found) == []
    assert found.ignored == []


def test_a_folder_with_a_main_document_is_one_workflow_at_every_depth(tmp_path: Path) -> None:
    lay(tmp_path, "a/main.cwl", "a/tool.cwl", "a/tools/x.cwl", "w/b/workflow.cwl", "w/b/tool.cwl", "w/c/main.cwl")
    found = look(tmp_path)
    assert ids(found) == {"a": "a/main.cwl", "w.b": "w/b/workflow.cwl", "w.c": "w/c/main.cwl"}
    assert {(item.path, item.reason) for item in found.ignored} == {
        ("a/tool.cwl", "it is a part of a/, which is one workflow"),
        ("a/tools/x.cwl", "it is a part of a/, which is one workflow"),
        ("w/b/tool.cwl", "it is a part of w/b/, which is one workflow"),
    }


def test_of_a_tool_with_a_folder_of_its_own_no_other_document_is_lost(tmp_path: Path) -> None:
    lay(tmp_path, "tools/bwa/bwa.cwl", "tools/bwa/bwa-version.cwl", "tools/star/star.cwl", "tools/star/old/a.cwl")
    assert ids(look(tmp_path)) == {
        "tools.bwa": "tools/bwa/bwa.cwl",
        "tools.bwa.bwa-version": "tools/bwa/bwa-version.cwl",
        "tools.star": "tools/star/star.cwl",
        "tools.star.old": "tools/star/old/a.cwl",
    }


def test_metadata_make_a_folder_one_workflow_whose_parts_are_never_published(tmp_path: Path) -> None:
    lay(tmp_path, "w/align.cwl", "w/sub/x.cwl", "w/sub/y.cwl", **{"w/meta.yaml": f"main: sub/x.cwl\n{ALICE}"})
    lay(tmp_path, "v/sub/x.cwl", "v/sub/deep/y.cwl", **{"v/meta.yaml": f"main: sub/x.cwl#part\n{ALICE}"})
    lay(tmp_path, "d/e/f/x.cwl", "d/e/y.cwl", "d/y.cwl", "d/z.cwl", **{"d/e/meta.yaml": f"main: f/x.cwl\n{ALICE}"})
    found = look(tmp_path)
    assert list(ids(found)) == ["d.e", "d.y", "d.z", "v", "w"]
    mains = [entry.main for entry in found.entries if entry.authorized_users]
    assert mains == ["d/e/f/x.cwl", "v/sub/x.cwl", "w/sub/x.cwl"]
    assert next(entry.fragment for entry in found.entries if entry.id == "v") == "part"
    (tmp_path / "v" / "meta.yaml").write_text(ALICE)
    [item] = look(tmp_path).unusable
    assert item.reason.startswith("v/: which document is the main one?")
    assert "`main: sub/x.cwl`" in item.reason or "`main: sub/deep/y.cwl`" in item.reason


@pytest.mark.parametrize("main", ["../top.cwl", "/etc/x.cwl", "sub/../../top.cwl", "gone.cwl"])
def test_a_main_document_lies_in_its_folder(tmp_path: Path, main: str) -> None:
    lay(tmp_path, "top.cwl", "w/sub/x.cwl", **{"w/meta.yaml": f"main: {main}"})
    [item] = look(tmp_path).unusable
    assert "but there is no such file" in item.reason


def test_metadata_beside_a_document_hold_at_every_depth(tmp_path: Path) -> None:
    lay(tmp_path, "w/a.cwl", "w/b.cwl", "w/t/c.cwl", "w/t/d.cwl", **{"w/a.meta.yaml": ALICE, "w/t/c.meta.yaml": ALICE})
    found = look(tmp_path)
    assert reasons(found) == []
    assert [entry.authorized_users for entry in found.entries] == [("alice",), None, ("alice",), None]
    (tmp_path / "w/t/c.meta.yaml").write_text("authorised_users: []")
    found = look(tmp_path)
    assert list(ids(found)) == ["w.a", "w.b", "w.t.d"]
    assert reasons(found)[0].startswith("w/t/c.meta.yaml:1: unknown key")


@pytest.mark.parametrize(
    ("name", "closed"),
    [
        ("w/t/secret.meta.yml", {"w.t.secret"}),
        ("w/t/secret.yaml", {"w.t.secret"}),
        ("w/t/secret.cwl.yaml", {"w.t.secret"}),
        ("w/t/Secret.meta.yaml", {"w.t.secret"}),
        ("w/t/secret-metadata.yaml", {"w.t.secret"}),
        ("w/t/.secret.meta.yaml.swp", {"w.t.secret"}),
        ("w/t/secret/meta.yaml", {"w.t.secret"}),
        ("w/t/sercet.meta.yaml", {"w.t.secret"}),
        ("w/t/Meta.yaml", {"w.t.secret", "w.t.open", "w.t.u"}),
        ("w/t/metadata.yml", {"w.t.secret", "w.t.open", "w.t.u"}),
        ("w/t/meta", {"w.t.secret", "w.t.open", "w.t.u"}),
        ("w/t/.meta.yaml", {"w.t.secret", "w.t.open", "w.t.u"}),
        ("w/t/meta.yaml~", {"w.t.secret", "w.t.open", "w.t.u"}),
        ("w/t/t.meta.yaml", {"w.t.secret", "w.t.open", "w.t.u"}),
        ("w/t.meta.yaml", {"w.t.secret", "w.t.open", "w.t.u"}),
        ("w/t.yaml", {"w.t.secret", "w.t.open", "w.t.u"}),
        ("w/META.YAML", {"w.t.secret", "w.t.open", "w.t.u", "w.a", "w.b"}),
        ("w.meta.yaml", {"w.t.secret", "w.t.open", "w.t.u", "w.a", "w.b"}),
        ("meta.yaml", {"w.t.secret", "w.t.open", "w.t.u", "w.a", "w.b", "z"}),
        ("Metadata.yml", {"w.t.secret", "w.t.open", "w.t.u", "w.a", "w.b", "z"}),
        ("w/catalogue.yaml", {"w.t.secret", "w.t.open", "w.t.u", "w.a", "w.b"}),
        ("w/t/catalog.yml", {"w.t.secret", "w.t.open", "w.t.u"}),
    ],
)
def test_what_looks_like_metadata_closes_what_it_may_be_meant_for(tmp_path: Path, name: str, closed: set[str]) -> None:
    lay(tmp_path, "w/a.cwl", "w/b.cwl", "w/t/secret.cwl", "w/t/open.cwl", "w/t/u/main.cwl", "z.cwl")
    before = set(ids(look(tmp_path)))
    assert before == {"w.t.secret", "w.t.open", "w.t.u", "w.a", "w.b", "z"}
    lay(tmp_path, **{name: ALICE})
    found = look(tmp_path)
    assert set(ids(found)) == before - closed
    assert {item.id for item in found.unusable} == closed
    assert all(item.entry is None and name in item.reason for item in found.unusable)


@pytest.mark.parametrize(("name", "closed"), [("meta.yml", True), ("Meta.yaml", True), ("x.meta.yml", False)])
def test_metadata_in_a_folder_of_its_name_close_a_document_too(tmp_path: Path, name: str, closed: bool) -> None:
    lay(tmp_path, "w.cwl", "w/x.cwl", "w/y.cwl", "w/z.cwl")
    assert set(ids(look(tmp_path))) == {"w", "w.x", "w.y", "w.z"}
    lay(tmp_path, **{f"w/{name}": ALICE})
    assert set(ids(look(tmp_path))) == (set() if closed else {"w", "w.y", "w.z"})


def test_inputs_beside_a_document_are_no_metadata_of_it(tmp_path: Path) -> None:
    document = "cwlVersion: v1.2\nclass: CommandLineTool\ninputs: {reads: File, threads: int}\noutputs: []\n"
    lay(tmp_path, **{"t/a/align.cwl": document, "t/a/sort.cwl": document, "call.cwl": document})
    lay(tmp_path, **{"star/star.cwl": document, "star/star.yml": "threads: 1", "star/other.cwl": document})
    lay(tmp_path, **{"t/a/align.yml": "reads: {class: File, path: x.fq}\nthreads: 4\n", "call.yaml": "threads: 1"})
    assert reasons(look(tmp_path)) == []
    for content in ("threads: 4\nunknown: 1", "$namespaces: {}\nthreads: 1", "- {tool: x.cwl, job: y}", "{threads: 1}"):
        (tmp_path / "t/a/align.yml").write_text(content)
        assert reasons(look(tmp_path)) == [], content
    for content in (
        "threads: 1\nauthorized_users: [alice]",
        "threads: 1\nauthorised_user: x",
        "threads: 1\nusers: [alice]",
        "inputs: 1\nallowed: alice",
        "name: A",
        "who: x",
        "",
        "[",
        "- a",
        "- {users: [alice]}",
        "- {tool: x}\n- alice",
    ):
        (tmp_path / "t/a/align.yml").write_text(content)
        (tmp_path / "star/star.yml").write_text(content)
        assert [item.id for item in look(tmp_path).unusable] == ["star", "t.a.align"], content


def test_what_a_folder_was_it_stays_when_documents_are_added_or_taken_away(tmp_path: Path) -> None:
    lay(tmp_path, "one/a.cwl", "one/lib/t.cwl", "several/a.cwl", "several/b.cwl", "x/y/a.cwl", "x/m/main.cwl")
    first = look(tmp_path)
    assert list(ids(first)) == ["one", "several.a", "several.b", "x.m", "x.y"]
    lay(tmp_path, "one/b.cwl", "several/main.cwl", "x/y/b.cwl", "x/m/other.cwl")
    (tmp_path / "several/b.cwl").unlink()
    (tmp_path / "x/m/main.cwl").rename(tmp_path / "x/m/first.cwl")
    second = look(tmp_path, known(first))
    assert ids(second) == {
        "several.a": "several/a.cwl",
        "several.main": "several/main.cwl",
        "x.y": "x/y/a.cwl",
        "x.y.b": "x/y/b.cwl",
    }
    assert {item.source: item.entry is not None for item in second.unusable} == {"one/": True, "x/m/": True}
    assert '`workflows: [{document: "one/*.cwl"}]`' in second.unusable[0].reason
    (tmp_path / "several/main.cwl").unlink()
    for name in "ab":
        (tmp_path / f"one/{name}.cwl").unlink()  # its parts aren't published when it has no document of its own
    third = look(tmp_path, known(second))
    assert "several.a" in ids(third)
    assert [item.id for item in third.unusable] == ["one", "x.m"]


def test_ids_of_what_lies_at_the_top_come_first(tmp_path: Path) -> None:
    lay(tmp_path, "a/b.cwl", "a/c.cwl")
    deep = look(tmp_path)
    lay(tmp_path, "a.b.cwl")
    found = look(tmp_path)
    assert ids(found) == {"a.b": "a.b.cwl", "a.c": "a/c.cwl"}
    assert reasons(found) == ["a/b.cwl: another entry has the id a.b too"]
    assert ids(look(tmp_path, known(found))) == ids(found)
    taken = look(tmp_path, known(deep))  # what was published by the id isn't replaced by something else
    assert list(ids(taken)) == ["a.c"]
    assert [item.source for item in taken.unusable] == ["a.b.cwl", "a/b.cwl"]


def test_names_that_cannot_be_ids_are_told_with_what_to_write(tmp_path: Path) -> None:
    lay(tmp_path, "流/a.cwl", "流/b (1).cwl", "t/é.cwl", "t/x.cwl", f"{'d' * 60}/{'e' * 60}/x.cwl")
    found = look(tmp_path)
    assert list(ids(found)) == ["t.e", "t.x"]
    told = " ".join(reasons(found))
    assert '`workflows: [{document: "\\u6d41/b (1).cwl", id: b-1}]`' in told
    assert len(found.unusable) == 3


def test_hidden_files_and_folders_publish_nothing(tmp_path: Path) -> None:
    lay(tmp_path, ".a.cwl", ".b/x.cwl", "c/.d/x.cwl", "c/y.cwl", "c/z.cwl", "c/.w.cwl", ".git/x.cwl")
    found = look(tmp_path)
    assert list(ids(found)) == ["c.y", "c.z"]
    assert [item.path for item in found.ignored] == [".a.cwl", ".b/x.cwl", "c/.d/x.cwl", "c/.w.cwl"]
    assert "begins with a dot" in found.ignored[0].reason


def test_files_that_look_like_cwl_and_publish_nothing_are_listed(tmp_path: Path) -> None:
    lay(tmp_path, "a.cwl", "b.CWL", "c.cwl.bak", "t/d.cwl~", "t/e.yaml", "t/f.json", "t/g.txt", "a.meta.yaml")
    found = look(tmp_path)
    assert [(item.path, item.sure) for item in found.ignored] == [
        ("b.CWL", True),
        ("c.cwl.bak", True),
        ("t/d.cwl~", True),
        ("t/e.yaml", False),
        ("t/f.json", False),
    ]


def test_a_tree_without_end_is_read_as_far_as_ids_go(tmp_path: Path) -> None:
    stamps = {f"{'a/' * depth}x.cwl": (1, 1, 1, 1) for depth in (0, 60, 2000)}
    found = find_entries(tmp_path, stamps)
    assert ids(found) == {"x": "x.cwl"}
    assert len(found.ignored) == 2


def test_thousands_of_files_are_looked_through_at_once(tmp_path: Path) -> None:
    def seconds(number: int) -> float:
        stamps = {"catalogue.yaml~": (1, 1, 1, 1)}
        for count in range(number):
            word = "".join(chr(97 + int(digit)) for digit in f"{count:06}")
            stamps[f"t/{word}.cwl"] = stamps[f"t/{word}.metadata"] = stamps[f"u{count % 50}/{word}.cwl"] = (1, 1, 1, 1)
            stamps[f"t/{word}x/{word}.cwl"] = stamps[f"d/{word}.fastq"] = stamps[f"u0/{word}-job.yaml"] = (1, 1, 1, 1)
            stamps[f"v/w/{word}.cwl"] = (1, 1, 1, 1)
        start = time.process_time()
        find_entries(tmp_path, stamps)
        return time.process_time() - start

    seconds(100)
    few, many = seconds(500), seconds(4000)
    assert many < 30 * few  # eight times as many: sixty-four times as long if each were held against each


FOLDERS = ("", "a/", "b/", "a/b/", "a/b/c/", ".h/")
DOCUMENTS = st.builds(str.__add__, st.sampled_from(FOLDERS), st.sampled_from(("main.cwl", "a.cwl", "b.cwl", "x.cwl")))
SAYING = st.builds(
    str.__add__,
    st.sampled_from(FOLDERS),
    st.sampled_from(("meta.yaml", "a.meta.yaml", "x.meta.yaml", "Meta.yaml", "x.yaml", "metadata.yml", "b.meta.yml")),
)
MANIFESTS = st.sampled_from((None, "workflows: [{document: '**/*.cwl'}]", "ignore: ['a/*']", "convention: false"))


@given(st.sets(DOCUMENTS, min_size=1, max_size=8), st.sets(SAYING, max_size=3), SAYING, MANIFESTS)
@settings(max_examples=150, deadline=None)
def test_no_file_that_restricts_ever_opens_anything(
    documents: set[str], before: set[str], added: str, manifest: str | None
) -> None:
    with TemporaryDirectory() as place:
        directory = Path(place)
        lay(directory, *documents, **dict.fromkeys(before - {added}, "authorized_users: [bob]"))
        if manifest:
            (directory / "catalogue.yaml").write_text(manifest)
        first = {(entry.id, entry.main): permitted_by(entry, "everybody") for entry in look(directory).entries}
        lay(directory, **{added: ALICE})
        for entry in look(directory).entries:
            users, groups = permitted_by(entry, "everybody")
            # Beside what was permitted before, nobody is let in but whom the file names.
            assert (users, groups) in (first.get((entry.id, entry.main)), (frozenset({"alice"}), None)), entry
