"""An execution that is resumed keeps its id and its start, and shows its attempts."""

from __future__ import annotations

from pathlib import Path

from tests.service import as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Workflow
from tests.simulators.alien4cloud_worlds import many


def test_attempts_are_shown(tmp_path: Path) -> None:
    world = many(1, Workflow(name="w", duration=0.4, outcome="FAILED", failures=2))
    with (
        Simulator(world, lag=0.1) as simulator,
        serving(make_settings(tmp_path, alien_config={"address": simulator.url})) as url,
    ):
        alice = as_user(url, "alice")
        path = alice.trigger("App0000@env-0000@w")
        first = alice.finished(path)
        assert [it["number"] for it in first["attempts"]] == [1]
        assert alice("POST", f"{path}/resume").status_code == 202
        second = alice.finished(path)
        assert second["status"] == "FAILED"
        assert second["started_at"] == first["started_at"]
        assert second["ended_at"] > first["ended_at"]
        assert alice("POST", f"{path}/resume").status_code == 202
        last = alice.finished(path)
    assert last["status"] == "SUCCEEDED"
    assert last["started_at"] == first["started_at"]
    assert [it["status"] for it in last["attempts"]] == ["FAILED", "FAILED", "SUCCEEDED"]
    assert [it["number"] for it in last["attempts"]] == [1, 2, 3]
    starts = [it["started_at"] for it in last["attempts"]]
    assert starts == sorted(set(starts))
    assert last["attempts"][0] == first["attempts"][0]
    assert "step `run` failed" in last["attempts"][1]["reason"]
    assert last["reason"] is None
