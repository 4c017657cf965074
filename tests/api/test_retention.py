"""What the service removes by itself, as its user sees it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.service import CATALOGUE, as_user, make_settings, serving
from tests.waiting import until


def test_outputs_go_after_the_days_of_the_workflow_and_all_of_it_after_those_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcwaas.core.retention._LOOK_EVERY", 0.2)
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    for name in ("echo", "values"):
        shutil.copy(CATALOGUE / f"{name}.cwl", catalogue)
    (catalogue / "echo.meta.yaml").write_text("authorized_users: everybody\nretention: {outputs: 2, executions: 999}\n")
    settings = make_settings(tmp_path / "data", cwl={"catalogue": catalogue}, retention={"executions": 9, "logs": 4})

    def ended_days_ago(execution: str, days: int) -> None:
        engine = create_engine(settings.database_url)
        with engine.begin() as connection:
            moment = "datetime('now', :ago)" if engine.name == "sqlite" else "now() + cast(:ago as interval)"
            query = text(f"UPDATE executions SET ended_at = {moment} WHERE id = :id")  # noqa: S608  (no value in it)
            connection.execute(query, {"ago": f"-{days} days", "id": execution})
        engine.dispose()

    with serving(settings) as url:
        alice = as_user(url, "alice")
        assert alice("GET", "/workflows/echo").json()["retention"] == {"executions": 9, "outputs": 2, "logs": 4}
        assert alice("GET", "/workflows/values").json()["retention"] == {"executions": 9, "outputs": None, "logs": 4}
        path = alice.trigger("echo", message="hello")
        execution = alice.finished(path)
        directory = settings.data_dir / "cwl" / "executions" / execution["id"]
        location = execution["outputs"]["text"]["location"]
        assert alice("GET", path).json()["removed"] == []

        ended_days_ago(execution["id"], 3)
        until(lambda: alice("GET", path).json()["removed"] == ["outputs"])
        shown = alice("GET", path).json()
        assert "outputs" not in shown
        assert shown["inputs"] == {"message": "hello"}
        assert alice("GET", location).status_code == 410
        assert not (directory / "outputs").exists()
        assert alice("GET", f"{path}/logs").status_code == 200
        refused = alice("POST", "/workflows/values", json={"inputs": {"file": {"class": "File", "location": location}}})
        assert refused.status_code == 400
        assert "were removed" in refused.json()["detail"]

        ended_days_ago(execution["id"], 5)
        until(lambda: alice("GET", f"{path}/logs").status_code == 410)
        assert "was removed" in alice("GET", f"{path}/logs").json()["detail"]

        ended_days_ago(execution["id"], 10)
        until(lambda: alice("GET", path).status_code == 404)
        assert not directory.exists()
