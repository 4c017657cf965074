"""How far scattered steps have come, as users see it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.service import as_user, make_settings, serving

WORKFLOW = Path(__file__).parents[1] / "data" / "run" / "scatter-fails.cwl"
DONE = {"failed": 0, "skipped": 0, "running": 0}


def test_a_step_has_its_runs_and_keeps_them_over_a_restart(tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    shutil.copy(WORKFLOW, tmp_path / "catalogue" / "sweep.cwl")
    settings = make_settings(tmp_path / "data", cwl={"catalogue": tmp_path / "catalogue"})

    with serving(settings) as url:
        alice = as_user(url, "alice")
        path = alice.trigger("sweep", codes=[0, 0, 0])
        [step] = alice.finished(path)["steps"]
        assert (step["name"], step["scatter"]) == ("work", {"total": 3, "done": 3, **DONE})
    with serving(settings) as url:
        assert as_user(url, "alice")("GET", path).json()["steps"] == [step]
