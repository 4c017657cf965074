"""What an execution may use, and how many run at once."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.core.models import Status
from tests.engines.cwl_bench import ALL, Bench


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    limits = {"cores": 1, "memory": "300 MiB", "log": "1 MiB", "disk": "32 MiB"}
    bench = Bench.open(tmp_path_factory.mktemp("narrow") / "cwl", limits=limits, max_running=2)
    yield bench
    bench.executions.close()


def test_a_tool_that_demands_more_than_the_limit_is_refused(bench: Bench) -> None:
    state = bench.end(bench.start("cores", {}))
    assert state.status is Status.FAILED
    assert "needs 64 cores, but an execution may use 2 (setting cwl.limits.cores)" in (state.reason or "")


@pytest.mark.parametrize(
    ("script", "setting"),
    [
        ("yes 'a line of some length to fill the log' >&2", "1 MiB of log; the limit is the setting cwl.limits.log"),
        ("head -c 1000000000 /dev/zero | tr '\\0' x >&2", "1 MiB of log; the limit is the setting cwl.limits.log"),
        ("cat /dev/zero > big", "32 MiB of files; the limit is the setting cwl.limits.disk"),
        (
            "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > $i; sleep 0.01; done",
            "32 MiB of files; the limit is the setting cwl.limits.disk",
        ),
        (
            f"{shutil.which('python3')} -c 'x = bytearray(600 << 20); import time; time.sleep(60)'",
            "300 MiB of memory; the limit is the setting cwl.limits.memory",
        ),
    ],
    ids=["log-lines", "log-one-line", "disk-one-file", "disk-many-files", "memory"],
)
def test_a_greedy_tool_meets_a_limit(narrow: Bench, script: str, setting: str) -> None:
    reference = narrow.shell(script)
    state = narrow.end(reference)
    assert state.status is Status.FAILED
    assert setting in (state.reason or "")
    assert narrow.executions.log(reference, ALL, 0, None).entries[-1].content == state.reason
    directory = narrow.directory / "executions" / reference
    assert sum((directory / name).stat().st_size for name in ("log.jsonl", "state.json", "outputs.json")) < 3 << 20
    assert narrow.end(narrow.shell("echo fine >&2")).status is Status.SUCCEEDED


TOOL = """cwlVersion: v1.2
class: CommandLineTool
requirements: {{ResourceRequirement: {{coresMin: {cores}, ramMin: 16}}}}
baseCommand: [{python}, -c, "{script}"]
inputs: []
outputs: []
"""
SLEEP = "import time; time.sleep(60)"


def test_a_workflows_own_limits_hold_where_they_are_narrower(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    python = shutil.which("python3")
    for name, cores, script, limits in (
        ("cores", 2, "", "cores: 1"),
        ("memory", 1, f"x = bytearray(600 << 20); {SLEEP}", "memory: 128MiB"),
        ("time", 1, SLEEP, "time: 1"),
        ("wider", 4, "", "cores: 64, memory: 1TiB, time: 99999999"),
    ):
        (catalogue / f"{name}.cwl").write_text(TOOL.format(cores=cores, python=python, script=script))
        (catalogue / f"{name}.meta.yaml").write_text(f"limits: {{{limits}}}")
    (catalogue / "time.meta.yaml").unlink()
    (catalogue / "catalogue.yaml").write_text(
        "workflows: [{document: time.cwl, time_limit: 3600, limits: {time: 1, cores: 2}}]"
    )
    bench = Bench.open(tmp_path / "own" / "cwl", catalogue=catalogue, limits={"cores": 2, "memory": "2 GiB"})
    engine = bench.executions
    try:
        references = {}
        for workflow in engine.workflows():
            details = engine.workflow(workflow.id)
            job = engine.prepare(details, {}, lambda _: None)
            references[workflow.id] = engine.start(uuid.uuid4().hex, details, job)
        reasons = {name: bench.end(reference).reason or "" for name, reference in references.items()}
    finally:
        engine.close()
    assert "an execution may use 1 (key limits.cores of the workflow's metadata)" in reasons["cores"]
    assert reasons["memory"].endswith(
        "128 MiB of memory; the limit is the key limits.memory of the workflow's metadata."
    )
    assert reasons["time"].endswith("more than 1 seconds; the limit is the key limits.time of the workflow's metadata.")
    assert "an execution may use 2 (setting cwl.limits.cores)" in reasons["wider"]


def test_queued_executions_run_in_order_and_can_be_cancelled(narrow: Bench) -> None:
    references = [narrow.start("script", {"script": "sleep 0.3"}) for _ in range(20)]
    cancelled = references[15]
    narrow.executions.cancel(cancelled)
    # Between two executions there is a place for a moment, and then nothing to be said.
    seen = [narrow.executions.state(references[19])]
    while seen[-1].status is Status.PENDING and not seen[-1].reason:
        seen.append(narrow.executions.state(references[19]))
    assert seen[-1].status is Status.PENDING
    assert "no more than 2 executions" in (seen[-1].reason or "")

    states = {reference: narrow.end(reference) for reference in references}

    assert states.pop(cancelled).status is Status.CANCELLED
    assert narrow.text(cancelled) == "Cancelled on request before it began."
    assert {state.status for state in states.values()} == {Status.SUCCEEDED}
    begins = [state.started_at for state in states.values() if state.started_at]
    # Two that start at the same time may note it in either order.
    assert all(earlier <= later for earlier, later in zip(begins, begins[2:], strict=False))
    spans = [(state.started_at, state.ended_at) for state in states.values() if state.started_at and state.ended_at]
    assert max(sum(begin <= moment < end for begin, end in spans) for moment in begins) <= 2
