"""Which files and folders of the catalogue are published, and what is said about the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.engines.cwl.entries import Entry, find_entries, read_stamps


def look(directory: Path, *names: str, **contents: str) -> tuple[list[Entry], list[str]]:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, content in contents.items():
        path = directory / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return find_entries(directory, read_stamps(directory))


def test_files_and_folders_are_published(tmp_path: Path) -> None:
    entries, problems = look(
        tmp_path,
        "a.cwl",
        "b/main.cwl",
        "b/workflow.cwl",
        "c/workflow.cwl",
        "c/tool.cwl",
        "d/d.cwl",
        "d/tool.cwl",
        "e/only.cwl",
        "e/deep/main.cwl",
        "README.md",
        ".hidden.cwl",
        ".git/x.cwl",
        ".tools/x.cwl",
        "data/x.txt",
        "a.yml",
    )
    assert [(entry.id, entry.main) for entry in entries] == [
        ("a", "a.cwl"),
        ("b", "b/main.cwl"),
        ("c", "c/workflow.cwl"),
        ("d", "d/d.cwl"),
        ("e", "e/only.cwl"),
    ]
    assert problems == []


def test_a_folder_without_a_main_document_is_reported(tmp_path: Path) -> None:
    entries, [problem] = look(tmp_path, "a/x.cwl", "a/y.cwl")
    assert entries == []
    assert problem.startswith("a/: which document is the main one?")


@pytest.mark.parametrize("name", ["with space.cwl", "-x.cwl", "ä.cwl", f"{'x' * 101}.cwl", "a@b/main.cwl"])
def test_unusable_names_are_reported(tmp_path: Path, name: str) -> None:
    entries, [problem] = look(tmp_path, name)
    assert entries == []
    assert "the name becomes the workflow's id" in problem


def test_two_entries_with_one_id_are_reported(tmp_path: Path) -> None:
    entries, problems = look(tmp_path, "a.cwl", "a/main.cwl", "b.cwl")
    assert [entry.id for entry in entries] == ["b"]
    assert len(problems) == 2


def test_metadata(tmp_path: Path) -> None:
    entries, problems = look(
        tmp_path,
        "a.cwl",
        "b/x.cwl",
        "b/y.cwl",
        "c.cwl",
        "d.cwl",
        "e.cwl",
        a_meta_yaml="name: The A\nauthorized_users: [alice, bob]\nmain: '#part'",
        b__meta_yaml="main: y.cwl#inner",
        c_meta_yaml="authorized_users: []",
        e_meta_yaml="authorized_groups: [climate]",
    )
    assert problems == []
    assert entries == [
        Entry("a", "a.cwl", "part", "The A", ("alice", "bob")),
        Entry("b", "b/y.cwl", "inner"),
        Entry("c", "c.cwl", authorized_users=()),
        Entry("d", "d.cwl"),
        Entry("e", "e.cwl", authorized_groups=("climate",)),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "a map"),
        ("- a", "a map"),
        ("name: [", "a.meta.yaml:1: "),
        ("name: A\nauthorized_users: [a\n", "a.meta.yaml:3: "),
        ("authorised_users: [a]", "unknown key 'authorised_users'"),
        ("authorized_users: alice", "list of user ids"),
        ("authorized_groups: climate", "authorized_groups must be a list of groups"),
        ("authorized_groups: ['']", "list of groups"),
        ("authorised_groups: [climate]", "unknown key 'authorised_groups'"),
        ("[a]: b", "a.meta.yaml:1: found unhashable key"),
        ("ssh_keys: vault_id", "list of names of inputs"),
        ("authorized_users:", "list of user ids"),
        ("authorized_users: [1]", "list of user ids"),
        ("authorized_users: ['']", "list of user ids"),
        ("name: 5", "name must be a string"),
        ("name: ' '", "name must be a string"),
        ("main: other.cwl", "no such file"),
        ("main: ../a.cwl", "no such file"),
        ("5: x", "unknown key 5"),
        ("\x00", "can't be read"),
    ],
)
def test_broken_metadata_close_the_workflow(tmp_path: Path, content: str, reason: str) -> None:
    entries, [problem] = look(tmp_path, "a.cwl", "b.cwl", a_meta_yaml=content)
    assert [entry.id for entry in entries] == ["b"]
    assert reason in problem


def test_metadata_of_nothing_are_reported(tmp_path: Path) -> None:
    _, problems = look(tmp_path, "a.cwl", "b.meta.yaml", "a.meta.yml")
    assert sorted(problem.partition(":")[0] for problem in problems) == ["a.meta.yml", "b.meta.yaml"]


def test_unreadable_metadata_close_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "a.cwl").touch()
    (tmp_path / "a.meta.yaml").symlink_to("nowhere")
    entries, [problem] = find_entries(tmp_path, read_stamps(tmp_path))
    assert entries == []
    assert problem.startswith("a.meta.yaml: can't be read")


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_stamps(tmp_path / "gone")
