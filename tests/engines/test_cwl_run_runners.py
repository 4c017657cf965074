"""Other runners than cwltool, a runner that is missing, and cwltool without Node.js."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hpcwaas.core.models import Level, Status
from tests.engines.cwl_bench import DATA, Bench


def test_javascript_runs_without_node_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to(str(shutil.which("sh")))
    monkeypatch.setenv("PATH", str(tools))
    bench = Bench.open(tmp_path / "data" / "cwl")
    try:
        reference = bench.shell("echo > a.txt")
        state = bench.end(reference)
        assert state.outputs is not None, bench.text(reference)
        assert state.outputs["answer"] == 42
    finally:
        bench.executions.close()


def test_any_cwl_runner_will_do(tmp_path: Path) -> None:
    runner = {"command": [str(DATA / "cwl-runner")], "arguments": ["--work={tmpdir}", "--cores={cores}"]}
    os.environ["HWA_SECRET"] = "not for runners"
    bench = Bench.open(tmp_path / "cwl", runner=runner, limits={"cores": 3})
    del os.environ["HWA_SECRET"]
    try:
        good = bench.start("two-steps", {"text": "x"}, "write", "count")
        state = bench.end(good)
        assert state.status is Status.SUCCEEDED, bench.text(good)
        assert [step.status for step in state.steps] == ["SUCCEEDED", "SUCCEEDED"]
        assert bench.content(good, "result") == b'{"text": "x"}'
        assert state.outputs is not None
        assert state.outputs["stolen"] is None
        log = bench.text(good)
        assert "argument --work=./tmp" in log
        assert "argument --cores=3" in log
        assert "HWA=0 HOME=./tmp" in log
        assert "Output stolen is dropped" in bench.text(good, Level.WARN)
        bad = bench.start("two-steps", {"text": "fail"}, "write", "count")
        assert bench.end(bad).reason == "the grid is down"
        assert bench.executions.checks()[-1].status == "ok"
    finally:
        bench.executions.close()


def test_a_missing_runner_is_named(tmp_path: Path) -> None:
    bench = Bench.open(tmp_path / "cwl", runner={"command": ["no-such-runner"]})
    try:
        state = bench.end(bench.start("two-steps", {"text": "x"}, "write", "count"))
        assert state.reason == "The runner no-such-runner was not found (setting cwl.runner.command)."
        check = bench.executions.checks()[-1]
        assert check.status == "degraded"
        assert "no-such-runner" in check.problems[0]
    finally:
        bench.executions.close()
