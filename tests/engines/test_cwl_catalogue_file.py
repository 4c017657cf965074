"""Repositories with a catalogue file, as a catalogue: what is published while they are edited, and for whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcwaas.core.models import Status
from hpcwaas.engines.cwl.workflows import reading
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.engines.cwl.workflows.snapshot import root_of
from tests.engines.cwl_bench import Bench
from tests.engines.cwl_documents import ids, tool
from tests.engines.site_bench import PLACEMENT, opened
from tests.engines.test_cwl_catalogue_rights import rights

STEP = (
    "cwlVersion: v1.2\nclass: Workflow\nlabel: {}\ninputs: {{}}\noutputs: {{}}\n"
    "steps: {{s: {{run: {}, in: {{}}, out: []}}}}\n"
)
FOR_ALICE = "workflows:\n- {document: workflows/*.cwl, id: '{name}', authorized_users: [alice]}\n"


@pytest.fixture
def repository(directory: Path) -> Path:
    """A catalogue as repositories are laid out."""
    for path, content in {
        "workflows/align.cwl": STEP.format("Align", "../tools/t.cwl"),
        "workflows/call.cwl": STEP.format("Call", "../tools/t.cwl"),
        "tools/t.cwl": tool("T"),
        "tools/u.cwl": tool("U"),
    }.items():
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_text(content)
    return directory


def test_a_document_that_is_not_at_the_top_runs_here_and_finds_what_lies_above_it(tmp_path: Path) -> None:
    lay_out_with_data(tmp_path / "catalogue")
    bench = Bench.open(tmp_path / "runs" / "cwl", catalogue=tmp_path / "catalogue", limits={"cores": 1})
    try:
        details = bench.executions.workflow("flows.show")
        job = bench.executions.prepare(details, {}, lambda _: None)
        assert root_of(job.document) == job.document.parents[2]
        reference = bench.executions.start("0" * 32, details, job)
        state = bench.end(reference)
        assert state.status is Status.SUCCEEDED, bench.text(reference)
        assert bench.content(reference, "shown") == b"from the repository\n"
    finally:
        bench.executions.close()


def test_it_is_sent_to_a_site_with_what_lies_above_it(tmp_path: Path) -> None:
    lay_out_with_data(tmp_path / "catalogue")
    with opened(tmp_path) as bench:
        # A runner that reads what the document refers to by its path.
        bench.runner.write_text(
            '#!/bin/sh\ncd "$2" && cp "$(dirname "$3")"/../../data/files/text.txt shown.txt && '
            'cat "$3" >&2 && '
            """printf '{"shown": {"class": "File", "location": "file://%s/shown.txt"}}' "$2"\n"""
        )
        bench.settings["catalogue"] = tmp_path / "catalogue"
        bench.again()
        details = bench.engine.workflow("flows.show")
        job = bench.engine.place(bench.engine.prepare(details, {}, lambda _: None), details, PLACEMENT)
        reference = bench.begin(job)
        assert bench.end(reference).status is Status.SUCCEEDED, bench.text(reference)
        assert bench.content(reference, "shown") == b"from the repository\n"
        assert "../../tools/show.cwl" in bench.text(reference)


def lay_out_with_data(directory: Path) -> None:
    """A repository in which files have the names that the service gives to its own."""
    for path, content in {
        "flows/files/show.cwl": (
            "cwlVersion: v1.2\nclass: Workflow\ninputs: {}\n"
            "steps: {s: {run: ../../tools/show.cwl, in: {}, out: [shown]}}\n"
            "outputs: {shown: {type: File, outputSource: s/shown}}\n"
        ),
        "flows/other.cwl": tool(),
        "flows/third.cwl": tool(),
        "tools/show.cwl": (
            "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: cat\nstdout: shown.txt\n"
            "inputs: {text: {type: File, inputBinding: {}, default: {class: File, location: ../data/files/text.txt}}, "
            "all: {type: Directory, default: {class: Directory, location: ../flows}}}\noutputs: {shown: stdout}\n"
        ),
        "flows/description.json": "{}",
        "data/files/text.txt": "from the repository\n",
        "catalogue.yaml": "workflows: [{document: flows/files/show.cwl, id: flows.show}]",
    }.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, where metadata have to settle for three seconds."""
    now = [1000.0]
    monkeypatch.setattr("hpcwaas.engines.cwl.workflows.catalogue.time.time", lambda: now[0])
    monkeypatch.setattr(reading, "SETTLE", 3.0)
    return now


def test_a_repository_is_a_catalogue_as_it_is(repository: Path, make: Callable[[], Catalogue]) -> None:
    catalogue = make()
    assert ids(catalogue) == ["tools.t", "tools.u", "workflows.align", "workflows.call"]
    details = catalogue.details("workflows.align")
    snapshot = catalogue.snapshot(details)
    assert snapshot.path.parts[-2:] == ("workflows", "align.cwl")
    assert (snapshot.path.parent / "../tools/t.cwl").is_file()
    (repository / "catalogue.yaml").write_text(f"convention: false\n{FOR_ALICE}")
    assert rights(catalogue) == {"align": {"alice"}, "call": {"alice"}}
    assert catalogue.check().problems == []


def test_the_id_of_a_folder_stays_when_it_becomes_several(repository: Path, make: Callable[[], Catalogue]) -> None:
    (repository / "one").mkdir()
    (repository / "one/first.cwl").write_text(tool("First"))
    catalogue = make()
    good = catalogue.details("one").version
    (repository / "one/second.cwl").write_text(tool("Second"))
    again = make()
    for each in (catalogue, again):
        assert each.details("one").version == good
        assert not [workflow_id for workflow_id in ids(each) if workflow_id.startswith("one.")]
        [problem] = each.check().problems
        assert "which document is the main one?" in problem
        assert '`workflows: [{document: "one/*.cwl"}]`' in problem
        assert problem.endswith("; its last good version stays published")
    (repository / "catalogue.yaml").write_text('workflows: [{document: "one/*.cwl"}]')
    assert "one" not in ids(catalogue)
    assert {"one.first", "one.second"} < set(ids(catalogue))
    assert catalogue.check().problems == []


@pytest.mark.parametrize("content", ["workflow: []", "workflows:\n- document: workflows/align.cwl\n  authorized_u", ""])
def test_a_catalogue_file_that_is_not_understood_opens_and_publishes_nothing(
    repository: Path, make: Callable[[], Catalogue], content: str
) -> None:
    (repository / "tools/t.meta.yaml").write_text("authorized_users: [alice, bob]")
    (repository / "tools/u.meta.yaml").write_text("authorized_users: [bob]")
    (repository / "catalogue.yaml").write_text(f"ignore: [tools/u.cwl]\n{FOR_ALICE}")
    catalogue = make()
    expected = {"align": {"alice"}, "call": {"alice"}, "tools.t": {"alice", "bob"}}
    assert rights(catalogue) == expected
    version = catalogue.details("align").version
    (repository / "catalogue.yaml").write_text(content)
    (repository / "new.cwl").write_text(tool())
    (repository / "workflows/align.cwl").write_text(tool("Other"))
    again = make()
    for each in (catalogue, again):
        assert rights(each) == expected
        assert each.details("align").version == version
        assert all(problem.startswith("catalogue.yaml") for problem in each.check().problems)
    (repository / "tools/t.meta.yaml").write_text("authorized_users: [bob]")
    assert rights(catalogue) == {**expected, "tools.t": {"bob"}}
    (repository / "tools/t.meta.yaml").unlink()
    assert rights(catalogue) == {**expected, "tools.t": {"bob"}}
    (repository / "catalogue.yaml").write_text("ignore: [tools]\nworkflows: [{document: workflows/*.cwl}]")
    assert rights(catalogue) == {"new": None, "workflows.align": None, "workflows.call": None}


def test_a_catalogue_file_that_was_never_understood_publishes_nothing(
    repository: Path, make: Callable[[], Catalogue]
) -> None:
    (repository / "catalog.yaml").write_text(FOR_ALICE)
    assert ids(make()) == []
    [problem] = make().check().problems
    assert problem.startswith("catalog.yaml: looks like a catalogue file")
    (repository / "catalog.yaml").rename(repository / "catalogue.yaml")
    assert {"align", "call"} < set(ids(make()))


def test_nothing_new_is_published_while_the_catalogue_file_is_replaced(
    repository: Path, make: Callable[[], Catalogue], clock: list[float]
) -> None:
    (repository / "catalogue.yaml").write_text(f"convention: false\n{FOR_ALICE}")
    catalogue = make()
    assert rights(catalogue) == {"align": {"alice"}, "call": {"alice"}}
    (repository / "catalogue.yaml").rename(repository / "away")  # an editor does so
    assert rights(catalogue) == rights(make()) == {"align": {"alice"}, "call": {"alice"}}
    assert (
        catalogue.check()
        .problems[0]
        .startswith("catalogue.yaml: it is missing; in case that it is just being replaced")
    )
    clock[0] += 2.9
    (repository / "away").rename(repository / "catalogue.yaml")
    assert rights(catalogue) == rights(make()) == {"align": {"alice"}, "call": {"alice"}}
    assert catalogue.check().problems == []
    by_half = "convention: false\nworkflows:\n- document: '**/u.cwl'\n"
    (repository / "catalogue.yaml").write_text(by_half)
    assert rights(catalogue) == {}
    clock[0] += 1
    (repository / "catalogue.yaml").write_text(f"convention: false\n{FOR_ALICE}{by_half.splitlines()[2]}")
    assert rights(catalogue) == {}
    clock[0] += 1
    (repository / "catalogue.yaml").write_text(
        f"convention: false\n{FOR_ALICE}- {{document: '**/u.cwl', authorized_users: [bob]}}"
    )
    assert rights(catalogue) == {}
    clock[0] += 3.1
    assert rights(catalogue) == {"align": {"alice"}, "call": {"alice"}, "tools.u": {"bob"}}
    (repository / "catalogue.yaml").unlink()
    assert rights(catalogue) == {"align": {"alice"}, "call": {"alice"}, "tools.u": {"bob"}}
    clock[0] += 3.1
    assert set(rights(catalogue)) == {"tools.t", "tools.u", "workflows.align", "workflows.call"}


def test_rights_of_the_catalogue_file_widen_when_they_have_settled(
    repository: Path, make: Callable[[], Catalogue], clock: list[float]
) -> None:
    (repository / "catalogue.yaml").write_text(f"convention: false\n{FOR_ALICE}")
    catalogue = make()
    assert rights(catalogue) == {"align": {"alice"}, "call": {"alice"}}
    (repository / "catalogue.yaml").write_text(f"convention: false\n{FOR_ALICE.replace('[alice]', 'everybody')}")
    assert rights(catalogue) == {"align": {"alice"}, "call": {"alice"}}
    clock[0] += 3.1
    assert rights(catalogue) == {"align": None, "call": None}
    (repository / "catalogue.yaml").write_text(f"convention: false\n{FOR_ALICE.replace('[alice]', '[]')}")
    assert rights(catalogue) == {"align": set(), "call": set()}


def test_documents_that_come_before_their_metadata_wait(
    repository: Path, make: Callable[[], Catalogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SETTLE", 600.0)
    catalogue = make()
    before = ids(catalogue)
    (repository / "w").mkdir()
    for name in "ab":
        (repository / f"w/{name}.cwl").write_text(tool())
    assert ids(catalogue) == before
    (repository / "w/meta.yaml").write_text("main: a.cwl\nauthorized_users: [alice]")
    assert rights(catalogue)["w"] == {"alice"}
    assert set(ids(catalogue)) == {*before, "w"}


def test_limits_and_the_rest_reach_the_entry(repository: Path, make: Callable[[], Catalogue]) -> None:
    (repository / "catalogue.yaml").write_text(
        "workflows:\n- document: tools/t.cwl\n  id: tee\n  name: Tee\n  sites: [mare]\n  time_limit: 5\n"
        "  slurm: {partition: main}\n  limits: {memory: 1GiB}\n  ssh_keys: [kee]\n"
    )
    catalogue = make()
    assert "tee" not in ids(catalogue)
    [problem] = catalogue.check().problems
    assert problem.startswith("catalogue.yaml:2: ssh_keys names 'kee'")
    (repository / "catalogue.yaml").write_text(
        (repository / "catalogue.yaml").read_text().replace("  ssh_keys: [kee]", "")
    )
    entry = catalogue.entry("tee")
    assert entry is not None
    assert (entry.name, entry.sites, entry.time_limit, entry.slurm.partition) == ("Tee", ("mare",), 5.0, "main")
    assert entry.limits.memory == 1 << 30
