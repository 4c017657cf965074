"""What the catalogue does when documents or metadata are changed: who may run what, and which version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows import reading
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.errors import NotFound
from tests.engines.cwl_documents import ids, tool

DOUBLES = {
    "input": "inputs:\n- {id: a, type: int}\n- {id: a, type: string}\noutputs: []\n",
    "output": "inputs: []\noutputs:\n- {id: a, type: stdout}\n- {id: a, type: stderr}\n",
    "member": (
        "inputs:\n  r: {type: {type: record, fields: [{name: a, type: int}, {name: a, type: string}]}}\noutputs: []\n"
    ),
    "requirement": (
        "requirements:\n- {class: EnvVarRequirement, envDef: {A: x}}\n- {class: EnvVarRequirement, envDef: {A: y}}\n"
        "inputs: []\noutputs: []\n"
    ),
    "key": "inputs: {}\noutputs: []\nbaseCommand: cat\n",
    "key-of-a-map": "inputs: {a: int, a: string}\noutputs: []\n",
}
DOUBLE_STEPS = {
    "step": "- {id: s, run: t.cwl, in: {a: x}, out: []}\n- {id: s, run: t.cwl, in: {a: x}, out: []}\n",
    "port": "- {id: s, run: t.cwl, in: [{id: a, source: x}, {id: a, default: y}], out: []}\n",
}


def rights(catalogue: Catalogue) -> dict[str, set[str] | None]:
    return {
        workflow.id: None if workflow.authorized_users is None else set(workflow.authorized_users)
        for workflow in catalogue.workflows()
    }


def version(catalogue: Catalogue) -> str:
    return catalogue.details("a").version


def time_limit(catalogue: Catalogue, workflow_id: str) -> float | None:
    entry = catalogue.entry(workflow_id)
    return entry.time_limit if entry else None


@pytest.fixture
def published(directory: Path, make: Callable[[], Catalogue]) -> Catalogue:
    """A catalogue with a workflow `a`, for Alice."""
    (directory / "a.cwl").write_text(tool("Good", "{key: string, keys: 'string[]', number: int}"))
    (directory / "a.meta.yaml").write_text("authorized_users: [alice]")
    catalogue = make()
    assert rights(catalogue) == {"a": {"alice"}}
    return catalogue


def test_what_stands_twice_in_a_document_keeps_it_unpublished(directory: Path, make: Callable[[], Catalogue]) -> None:
    for name, content in DOUBLES.items():
        (directory / f"{name}.cwl").write_text(
            f"cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\n{content}"
        )
    one = "- {class: CommandLineTool, id: main, baseCommand: echo, inputs: [], outputs: []}\n"
    (directory / "process.cwl").write_text(f"cwlVersion: v1.2\n$graph:\n{one}{one}")
    for name, steps in DOUBLE_STEPS.items():
        (directory / name).mkdir()
        (directory / name / "t.cwl").write_text(tool(inputs="{a: string}"))
        (directory / name / "main.cwl").write_text(
            f"cwlVersion: v1.2\nclass: Workflow\ninputs: {{x: string}}\noutputs: []\nsteps:\n{steps}"
        )
    catalogue = make()
    assert ids(catalogue) == []
    problems = list(catalogue.check().problems)
    assert len(problems) == len(DOUBLES) + len(DOUBLE_STEPS) + 1
    assert [
        problem for problem in problems if "is given 2 times" not in problem and "duplicate key" not in problem
    ] == []


@pytest.mark.parametrize("content", ["x: [", ""])
def test_an_edit_that_breaks_a_workflow_leaves_the_last_good_version(
    published: Catalogue, directory: Path, make: Callable[[], Catalogue], content: str
) -> None:
    good = version(published)
    (directory / "a.cwl").write_text(content)
    assert version(published) == good
    assert published.snapshot(published.details("a")).path.read_text().count("Good")
    check = published.check()
    assert check.status == "degraded"
    [problem] = check.problems
    assert problem.startswith("a.cwl:")
    assert problem.endswith("; its last good version stays published")
    again = make()  # a restart
    assert (rights(again), version(again)) == ({"a": {"alice"}}, good)
    assert list(again.check().problems) == [problem]
    (directory / "a.cwl").write_text(tool("Better"))
    assert published.details("a").workflow.label == "Better"
    assert published.check().status == "ok"


def test_a_mistake_in_what_a_document_refers_to_leaves_it_too(directory: Path, make: Callable[[], Catalogue]) -> None:
    folder = directory / "w"
    folder.mkdir()
    (folder / "t.cwl").write_text(tool(inputs="{a: string}"))
    (folder / "main.cwl").write_text(
        "cwlVersion: v1.2\nclass: Workflow\ninputs: {x: string}\noutputs: []\n"
        "steps: [{id: s, run: t.cwl, in: {a: x}, out: []}]\n"
    )
    catalogue = make()
    good = catalogue.details("w").version
    (folder / "t.cwl").unlink()
    assert catalogue.details("w").version == good
    (folder / "t.cwl").write_text(tool(inputs="{other: string}"))
    assert catalogue.details("w").version == good
    (folder / "main.cwl").rename(folder / "first.cwl")  # which one is the main document now?
    assert catalogue.details("w").version == good
    assert catalogue.check().problems[0].startswith("w/: which document is the main one?")
    (folder / "meta.yaml").write_text("main: gone.cwl\nauthorized_users: [bob]")
    assert (catalogue.details("w").version, rights(catalogue)) == (good, {"w": {"bob"}})
    for path in folder.iterdir():
        path.unlink()
    assert ids(catalogue) == []


def test_a_clash_of_ids_leaves_the_one_that_was_there(published: Catalogue, directory: Path) -> None:
    good = version(published)
    (directory / "a").mkdir()
    (directory / "a" / "main.cwl").write_text(tool("Other"))
    assert (version(published), rights(published)) == (good, {"a": {"alice"}})
    assert [problem.partition(":")[0] for problem in published.check().problems] == ["a.cwl", "a/"]
    (directory / "a.meta.yaml").write_text("authorized_users: [bob]")
    assert rights(published) == {"a": {"bob"}}


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "authorized_users: [alice",
        "authorized_users: [alice]\nauthorized_users: [bob]",
        "authorized_users: alice",
        "authorised_users: [alice]",
        "authorized_users: [alice]\nssh_keys: [kee]",
    ],
)
def test_metadata_that_are_not_understood_permit_nothing(
    published: Catalogue, directory: Path, make: Callable[[], Catalogue], metadata: str
) -> None:
    (directory / "a.meta.yaml").write_text(metadata)
    assert ids(published) == ids(make()) == []
    [problem] = published.check().problems
    assert problem.startswith("a.meta.yaml")
    assert problem.endswith("; the workflow is not published")
    (directory / "a.cwl").write_text("x: [")  # two mistakes at once open nothing either
    assert ids(published) == []
    (directory / "a.meta.yaml").write_text("authorized_users: [alice]")
    assert rights(published) == {"a": {"alice"}}


def test_rights_that_are_taken_are_taken_from_the_last_good_version_too(published: Catalogue, directory: Path) -> None:
    (directory / "a.cwl").write_text("x: [")
    (directory / "a.meta.yaml").write_text("authorized_users: []")
    assert rights(published) == {"a": set()}


def test_rights_are_taken_while_documents_cannot_be_read(
    published: Catalogue, directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("hpcwaas.engines.cwl.workflows.describer.sys.executable", str(broken))
    (directory / "a.cwl").write_text(tool("Other"))
    (directory / "a.meta.yaml").write_text("authorized_users: [bob]")
    assert rights(published) == {"a": {"bob"}}
    assert published.details("a").workflow.label == "Good"
    assert published.check().status == "failed"


WIDER = {
    "a missing file": None,
    "half a file": "name: A",
    "more users": "authorized_users: [alice, bob]",
    "a group": "authorized_users: [alice]\nauthorized_groups: [climate]",
    "everybody": "authorized_users: everybody",
}


@pytest.mark.parametrize("metadata", WIDER.values(), ids=WIDER)
def test_who_is_let_in_anew_is_let_in_when_the_metadata_have_settled(
    published: Catalogue,
    directory: Path,
    make: Callable[[], Catalogue],
    monkeypatch: pytest.MonkeyPatch,
    metadata: str | None,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("hpcwaas.engines.cwl.workflows.catalogue.time.time", lambda: now[0])
    monkeypatch.setattr(reading, "SETTLE", 3.0)
    meta = directory / "a.meta.yaml"
    meta.unlink() if metadata is None else meta.write_text(metadata)
    assert rights(published) == {"a": {"alice"}}
    assert all(workflow.authorized_groups is None for workflow in published.workflows())
    now[0] += 2.9
    assert rights(published) == rights(make()) == {"a": {"alice"}}
    meta.write_text("authorized_users: [alice]")  # the editor has finished
    now[0] += 1
    assert rights(published) == {"a": {"alice"}}
    meta.unlink() if metadata is None else meta.write_text(metadata)
    now[0] += 2.9  # from the first look on
    assert rights(published) == {"a": {"alice"}}
    now[0] += 3.1
    assert rights(published) == rights(make()) != {"a": {"alice"}} or published.workflows()[0].authorized_groups


def test_who_is_shut_out_is_shut_out_at_once(
    published: Catalogue, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SETTLE", 60.0)
    (directory / "a.meta.yaml").write_text("authorized_users: []")
    assert rights(published) == {"a": set()}


def test_unreadable_metadata_do_not_make_it_forget_whom_they_shut_out(
    published: Catalogue, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SETTLE", 60.0)
    (directory / "a.meta.yaml").write_text("")
    assert ids(published) == []
    (directory / "a.meta.yaml").unlink()
    assert rights(published) == {"a": {"alice"}}


def test_without_metadata_nobody_may_if_the_setting_says_so(
    directory: Path, make: Callable[[], Catalogue], tmp_path: Path
) -> None:
    for name in "abc":
        (directory / f"{name}.cwl").write_text(tool())
    (directory / "b.meta.yaml").write_text("name: B")
    (directory / "c.meta.yaml").write_text("authorized_users: everybody")
    assert rights(make()) == {"a": None, "b": None, "c": None}
    strict = Catalogue(directory, tmp_path / "state", "nobody")
    assert rights(strict) == {"a": set(), "b": set(), "c": None}
    with pytest.raises(NotFound):
        strict.details("a", lambda workflow: workflow.authorized_users is None)


def test_inputs_for_keys_must_be_there_and_hold_text(published: Catalogue, directory: Path) -> None:
    for names, reason in {
        "[kee]": "names 'kee', which is not an input (the inputs are key, keys, number)",
        "[key, key.id]": "names 'key.id', which is not an input",
        "[number]": "names 'number', an input that takes no text",
    }.items():
        (directory / "a.meta.yaml").write_text(f"ssh_keys: {names}")
        assert ids(published) == []
        assert reason in published.check().problems[0]
    (directory / "a.meta.yaml").write_text("ssh_keys: [key, keys]")
    properties = published.details("a").inputs["properties"]
    assert [name for name, schema in properties.items() if schema.get("x-ssh-key")] == ["key", "keys"]
    # A renamed input: the version that fits the metadata stays until they are changed, too.
    good = version(published)
    (directory / "a.cwl").write_text(tool("Renamed", "{login: string, keys: 'string[]'}"))
    assert version(published) == good
    (directory / "a.meta.yaml").write_text("ssh_keys: [login, keys]")
    assert published.details("a").workflow.label == "Renamed"


def test_members_of_records_may_be_named(directory: Path, make: Callable[[], Catalogue]) -> None:
    server = "{type: record, fields: {host: string, key: string}}"
    (directory / "a.cwl").write_text(tool(inputs=f"{{servers: ['null', {{type: array, items: {server}}}]}}"))
    (directory / "a.meta.yaml").write_text("ssh_keys: [servers.key]")
    schema = make().details("a").inputs["properties"]["servers"]
    assert "x-ssh-key" not in schema
    members = schema["items"]["properties"]
    assert [name for name, member in members.items() if member.get("x-ssh-key")] == ["key"]


def test_metadata_may_say_how_long_a_workflow_runs(published: Catalogue, directory: Path) -> None:
    assert time_limit(published, "a") is None
    (directory / "a.meta.yaml").write_text("authorized_users: [alice]\ntime_limit: 90000")
    assert time_limit(published, "a") == 90000
    assert time_limit(published, "b") is None
