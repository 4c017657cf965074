"""Which files and folders of the catalogue are published, and what is said about the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.core.endings import Retention
from hpcwaas.engines.cwl.workflows.entries import find_entries, permitted_by, read_stamps
from hpcwaas.engines.cwl.workflows.metadata import Entry
from hpcwaas.engines.cwl.workflows.slurm import Slurm


def look(directory: Path, *names: str, **contents: str) -> tuple[list[Entry], list[str]]:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, content in contents.items():
        path = directory / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = find_entries(directory, read_stamps(directory))
    return list(found.entries), [*found.problems, *(item.reason for item in found.unusable)]


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
        "a-job.yml",
        "types.yaml",
        "c/inputs.json",
        "c/theta.yaml",
    )
    assert [(entry.id, entry.main) for entry in entries] == [
        ("a", "a.cwl"),
        ("b", "b/main.cwl"),
        ("c", "c/workflow.cwl"),
        ("d", "d/d.cwl"),
        ("e", "e/only.cwl"),
    ]
    assert problems == []


def test_a_folder_without_a_main_document_publishes_each(tmp_path: Path) -> None:
    entries, problems = look(tmp_path, "a/x.cwl", "a/y.cwl")
    assert [(entry.id, entry.main) for entry in entries] == [("a.x", "a/x.cwl"), ("a.y", "a/y.cwl")]
    assert problems == []


@pytest.mark.parametrize("name", ["_with space.cwl", "-x.cwl", "流.cwl", f"{'x' * 101}.cwl", "流/main.cwl"])
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
        Entry("a", "a.cwl", "part", "The A", ("alice", "bob"), source="a.cwl"),
        Entry("b", "b/y.cwl", "inner", source="b/"),
        Entry("c", "c.cwl", authorized_users=(), source="c.cwl"),
        Entry("d", "d.cwl", source="d.cwl"),
        Entry("e", "e.cwl", authorized_groups=("climate",), source="e.cwl"),
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
        (
            "authorized_users: [alice]\nname: A\nauthorized_users: [alice, bob]",
            "a.meta.yaml:3: the key authorized_users",
        ),
        ("'authorized_users': []\n\"authorized_users\": [bob]", "a.meta.yaml:2: the key authorized_users"),
        ("ssh_keys: [a]\nssh_keys: []", "a.meta.yaml:2: the key ssh_keys"),
        ('{"authorized_users": [alice], "authorized_users": [bob]}', "a.meta.yaml:1: the key authorized_users"),
        ("<<: {authorized_users: [bob]}\nauthorized_users: []", "a.meta.yaml:1: `<<`"),
        ("<<: {name: A}", "a.meta.yaml:1: `<<`"),
        ("authorized_users: []\n---\nname: A", "but found another document"),
        ("authorized_users: [alice]\nAuthorized_Users: [bob]", "did you mean authorized_users?"),
        ("AUTHORIZED_USERS: [alice]", "did you mean authorized_users?"),
        ("authorized_users: !!set {alice}", "list of user ids"),
        ("authorized_users: {alice: bob}", "list of user ids"),
        ("authorized_users: ['alice ']", "without blanks at its ends"),
        ('authorized_users: ["alice\\nbob"]', "without blanks at its ends"),
        ("authorized_users: nobody", "or the word everybody"),
        ("authorized_users: Everybody", "or the word everybody"),
        ("ssh_keys: everybody", "ssh_keys must be a list"),
        ("authorized_users: everybody\nauthorized_groups: [climate]", "everybody can't be combined with another list"),
        ("time_limit: 0", "time_limit must be a number of seconds above 0"),
        ("time_limit: true", "time_limit must be a number of seconds above 0"),
        ("time_limit: .inf", "time_limit must be a number of seconds above 0"),
        ("time_limit: 1d", "time_limit must be a number of seconds above 0"),
        ("sites: mare", "sites must be a list of ids of sites"),
        ("sites: []", "sites is empty"),
        ("sites:", "sites is empty"),
        ("site: [mare]", "did you mean sites?"),
        ("slurm: main", "slurm must be a map with any of account, cores, memory, nodes, partition, time"),
        ("slurm: {partion: main}", "slurm: unknown key 'partion', expected any of account"),
        ("slurm: {partion: main}", "did you mean partition?"),
        ("slurm: {time: 1:00:00}", "slurm: time must be a time as Slurm writes it, in quotes"),
        ("slurm: {time: 60}", "in quotes"),
        ("slurm: {cores: 0}", "slurm: cores must be a whole number above 0"),
        ("slurm: {cores: true}", "slurm: cores must be"),
        ("slurm: {memory: 8}\nname: A\nslurm: {memory: 9}", "a.meta.yaml:3: the key slurm"),
        ("slurm: {cores: 8, cores: 9}", "a.meta.yaml:1: the key cores"),
        ("slurm: {memory: 8 GB}", "slurm: memory must be a number of MiB"),
        ("slurm: {partition: main --uid=0}", "slurm: partition must be a name"),
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


def test_everybody_may_be_said(tmp_path: Path) -> None:
    [a, b, c], problems = look(
        tmp_path,
        "a.cwl",
        "b.cwl",
        "c.cwl",
        a_meta_yaml="authorized_users: everybody",
        b_meta_yaml="authorized_groups: everybody\ntime_limit: 1.5",
    )
    assert problems == []
    assert [permitted_by(entry, "everybody") for entry in (a, b, c)] == [(None, None)] * 3
    assert [permitted_by(entry, "nobody") for entry in (a, b, c)] == [(None, None), (None, None), (frozenset(), None)]
    assert (a.time_limit, b.time_limit) == (None, 1.5)


def test_a_name_that_stands_twice_in_a_list_is_told(tmp_path: Path) -> None:
    [entry], problems = look(tmp_path, "a.cwl", a_meta_yaml="authorized_users: [bob, alice, bob]")
    assert problems == []
    assert entry.authorized_users == ("bob", "alice", "bob")
    assert entry.notices == ("a.meta.yaml: authorized_users has bob more than once",)


MISSPELT = [
    "secret.cwl.meta.yaml",
    "secret.yaml",
    "secret.yml",
    "secret.cwl.yaml",
    "secret.meta.yml",
    "secret.meta.json",
    "secret.meta",
    "secret.META.yaml",
    "Secret.meta.yaml",
    "SECRET.YAML",
    "secret-meta.yaml",
    "secret_metadata.yaml",
    "secret.metadata.yaml",
    "secret.mta.yaml",
    "secret.meat.yaml",
    "secret meta.yaml",
    "secret.meta.yaml.txt",
    "secret.meta.yaml~",
    "secret.meta.yaml.bak",
    "secret.meta.yaml.Ab12Cd",
    ".secret.meta.yaml",
    ".secret.meta.yaml.swp",
    "#secret.meta.yaml#",
    "secre.meta.yaml",
    "sercet.meta.yaml",
    "meta.yaml",
    "Meta.yaml",
    "metadata.yml",
    "folder.meta.yaml",
    "folder.yaml",
    "secret/meta.yaml",
    "secret/secret.meta.yaml",
    "folder/folder.meta.yaml",
    "folder/main.cwl.meta.yaml",
    "folder/main.meta.yaml",
    "folder/folder.yaml",
    "folder/Folder.yml",
    "folder/Meta.yaml",
    "folder/META.YAML",
    "folder/meta.yml",
    "folder/meta.json",
    "folder/metadata.yaml",
    "folder/mta.yaml",
    "folder/.meta.yaml",
    "folder/meta.yaml~",
    "folder/.meta.yaml.swp",
    "folder/meta.yaml.bak",
    "folder/meta",
]


@pytest.mark.parametrize("name", MISSPELT)
def test_what_looks_like_metadata_and_is_none_closes_the_workflow(tmp_path: Path, name: str) -> None:
    entries, problems = look(tmp_path, "secret.cwl", "folder/main.cwl", "zzz.cwl", "zzz.meta.yaml")
    (tmp_path / "zzz.meta.yaml").write_text("authorized_users: everybody")
    before = {entry.id for entry in look(tmp_path)[0]}
    assert before == {"secret", "folder", "zzz"}
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("authorized_users: [alice]")
    entries, problems = look(tmp_path)
    closed = "folder" if name.startswith("folder") else "secret"
    assert {entry.id for entry in entries} == before - {closed}
    assert [problem for problem in problems if problem.startswith(f"{name}: ")], problems


@pytest.mark.parametrize("name", [name for name in MISSPELT if not name.startswith(("meta", "Meta", "secre.", "serc"))])
def test_a_misspelt_file_closes_it_beside_the_right_one_too_unless_an_editor_left_it(tmp_path: Path, name: str) -> None:
    look(tmp_path, "secret.cwl", "folder/main.cwl", secret_meta_yaml="name: A", folder__meta_yaml="name: A")
    entries, _ = look(tmp_path, name)
    left = name.lstrip(".#").removeprefix("folder/").lstrip(".").startswith(("secret.meta.yaml", "meta.yaml"))
    assert len(entries) == (2 if left else 1)


def test_metadata_belong_to_the_workflow_whose_name_they_bear(tmp_path: Path) -> None:
    entries, problems = look(
        tmp_path, "a.cwl", "a-b.cwl", "a.b.cwl", "job1.cwl", **{"a-b_meta_yaml": "name: X", "job2_meta_yaml": "name: Y"}
    )
    (tmp_path / "a.b.meta.yaml").write_text("name: Z")
    entries, problems = look(tmp_path)
    assert [entry.id for entry in entries] == ["a", "a-b", "a.b", "job1"]
    assert [problem.partition(":")[0] for problem in problems] == ["job2.meta.yaml"]


def test_unreadable_metadata_close_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "a.cwl").touch()
    (tmp_path / "a.meta.yaml").symlink_to("nowhere")
    entries, [problem] = look(tmp_path)
    assert entries == []
    assert problem.startswith("a.meta.yaml: can't be read")


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_stamps(tmp_path / "gone")


def test_sites_and_what_jobs_ask_for(tmp_path: Path) -> None:
    content = (
        "sites: [mare, local, mare]\nslurm: {partition: main, time: '1-00:00:00', cores: 4, memory: 8 GiB, nodes: 2}"
    )
    [entry], problems = look(tmp_path, "a.cwl", a_meta_yaml=content)
    assert problems == []
    assert entry.sites == ("mare", "local")
    assert entry.slurm == Slurm("main", None, "1-00:00:00", 4, 8192, 2)
    assert entry.notices == ("a.meta.yaml: sites has mare more than once",)


def test_metadata_say_for_how_long_executions_are_kept(tmp_path: Path) -> None:
    entries, problems = look(tmp_path, "a.cwl", a_meta_yaml="retention: {outputs: 7, executions: 30}")
    assert problems == []
    assert entries[0].retention == Retention(executions=30, outputs=7)


@pytest.mark.parametrize("said", ["7", "{}", "{outputs: 0}", "{outputs: true}", "{outputs: 1.5}", "{output: 1}"])
def test_days_that_are_none_publish_nothing(tmp_path: Path, said: str) -> None:
    entries, problems = look(tmp_path, "a.cwl", a_meta_yaml=f"retention: {said}")
    assert entries == []
    assert "retention" in problems[0]
