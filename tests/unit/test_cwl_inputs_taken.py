"""Which outputs of other executions can be inputs, and what is said of those that can't."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.engines.cwl.inputs.sources import Sources, UnusableOutput
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from tests.unit.cwl_world import DECLARED, World

FILE = {"class": "File", "location": "sub/a.txt", "basename": "a.txt", "size": 3}
FOLDER = {"class": "Directory", "location": "folder", "basename": "folder"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, DECLARED)
    world.executions["e"] = execution()
    world.outputs["mare:e"] = {"reads": FILE, "folder": FOLDER, "number": 3}
    return world


def execution(
    status: Status = Status.SUCCEEDED, reference: str | None = "mare:e", engine: str = "cwl", **more: Any
) -> Execution:
    return Execution(
        id="e",
        owner="alice",
        workflow_id="w",
        workflow_name="w",
        engine=engine,
        inputs={},
        created_at=datetime.now(UTC),
        state=ExecutionState(status),
        reference=reference,
        **more,
    )


def test_an_output_on_a_site_is_taken_as_one_on_this_machine(world: World) -> None:
    job = world.prepare(threads=1, reads="/executions/e/outputs/reads", folder="/executions/e/outputs/folder")
    assert job.taken == (
        TakenOutput("e", "mare:e", "sub/a.txt", "File", "inputs/0/a.txt", 3),
        TakenOutput("e", "mare:e", "folder", "Directory", "inputs/1/folder"),
    )
    assert [each.site for each in job.taken] == ["mare", "mare"]
    inside = world.prepare(threads=1, reads="/executions/e/outputs/folder?path=in/b.txt")
    assert (inside.taken[0].path, inside.taken[0].kind) == ("folder/in/b.txt", "File")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "There is no such execution, or none that you may see"),
        (execution(engine="yorc"), "ran in the engine yorc, whose outputs can't be taken over"),
        (execution(engine="alien4cloud"), "Download the file and upload it"),
        (execution(Status.RUNNING), "is RUNNING; its outputs can be used when it has ended"),
        (execution(Status.PENDING), "is PENDING"),
        (execution(Status.UNKNOWN), "is UNKNOWN"),
        (execution(Status.FAILED, reference=None), "never began and has no outputs"),
    ],
)
def test_executions_whose_outputs_are_no_inputs(world: World, found: Execution | None, words: str) -> None:
    if found is None:
        del world.executions["e"]
    else:
        world.executions["e"] = found
    [problem] = world.problems(reads="/executions/e/outputs/reads")
    assert problem.input == "reads"
    assert words in problem.detail


def test_an_output_that_is_gone_is_refused_before_anything_starts(world: World) -> None:
    def gone(reference: str, path: str) -> str | None:
        assert (reference, path) == ("mare:e", "sub/a.txt")
        raise UnusableOutput("It was removed")

    find, kept = world.executions.get, world.outputs.__getitem__
    sources = Sources(lambda _: None, lambda _: "zip", None, find, kept, kind_of=gone)
    with pytest.raises(UnusableOutput, match="It was removed"):
        sources.output("/executions/e/outputs/reads")


def test_what_lies_in_a_directory_is_what_it_is_found_to_be(world: World) -> None:
    find, kept = world.executions.get, world.outputs.__getitem__
    sources = Sources(lambda _: None, lambda _: "zip", None, find, kept, kind_of=lambda _reference, _path: "Directory")
    assert sources.output("/executions/e/outputs/folder?path=in").kind == "Directory"
