"""Workflows come, change, break and go while the service runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import SCRIPT, Service, eventually, log_text

SAYS = """\
cwlVersion: v1.2
class: CommandLineTool
doc: Says {word}.
baseCommand: [sh, -c, 'echo {word} >&2']
inputs: []
outputs: []
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    marks = tmp_path / "marks"  # executions are confined, and see this of all that isn't theirs
    marks.mkdir()
    service = Service(tmp_path, HWA_CWL_MAX_RUNNING="1", HWA_CWL_WRITABLE=f"[{marks}]")
    yield service.start()
    service.end()


def listed(service: Service) -> set[str]:
    return {each["id"] for each in service.user("GET", "/workflows").json()["workflows"]}


def readiness(service: Service) -> tuple[str, list[str]]:
    report: dict[str, Any] = service.user("GET", "/health/ready").json()
    return report["status"], [problem for check in report["checks"] for problem in check["problems"]]


def test_a_workflow_is_added_edited_broken_mended_and_deleted(service: Service) -> None:
    assert listed(service) == {"script"}
    service.publish("says", SAYS.format(word="hello"))
    eventually(lambda: listed(service) == {"script", "says"})
    first = service.user("GET", "/workflows/says").json()
    assert first["description"] == "Says hello."

    service.publish("says", SAYS.format(word="goodbye"))
    eventually(lambda: service.user("GET", "/workflows/says").json()["description"] == "Says goodbye.")
    assert service.user("GET", "/workflows/says").json()["version"] != first["version"]

    service.publish("says", SAYS.format(word="x").replace("inputs: []", "inputs: {n: imt}"))
    eventually(lambda: readiness(service)[0] == "degraded")
    assert listed(service) == {"script", "says"}
    (problem,) = readiness(service)[1]
    assert problem.startswith("says.cwl:5: ")
    assert problem.endswith("; its last good version stays published")
    assert problem in service.log.read_text()
    assert problem in service.command("catalogue", "access").stdout
    service.stop()
    service.start()
    assert readiness(service) == ("degraded", [problem])
    path = service.user.trigger("says")
    assert service.user.finished(path)["status"] == "SUCCEEDED"
    assert "goodbye" in log_text(service.user, path)

    service.publish("says", SAYS.format(word="again"))
    eventually(lambda: readiness(service) == ("ok", []))
    assert service.user("GET", "/workflows/says").json()["description"] == "Says again."
    path = service.user.trigger("says")
    assert service.user.finished(path)["status"] == "SUCCEEDED"
    assert "again" in log_text(service.user, path)

    (service.catalogue / "says.cwl").unlink()
    eventually(lambda: listed(service) == {"script"})
    assert service.user("GET", "/workflows/says").status_code == 404
    assert service.user("GET", path).json()["workflow_id"] == "says"
    assert "Traceback" not in service.log.read_text()


def test_documents_of_any_names_are_published_and_run_with_their_job_files(service: Service) -> None:
    names = {"colon:test": "colon-test", "my tool #2 (50%)?": "my-tool-2-50", "new\nline": "new-line", "größe": "gro-e"}
    for name in names:
        service.publish(name, SCRIPT)
    (service.catalogue / os.fsdecode(b"bad\xff.cwl")).write_text(SCRIPT)
    job = service.catalogue / "colon:test.yaml"
    job.write_text("script: cat \"$0\" > copy.txt\ngiven: [{class: File, path: 'data:1.txt'}]\n")
    (service.catalogue / "data:1.txt").write_text("some data")
    eventually(lambda: listed(service) == {"script", *names.values()})
    assert readiness(service)[1] == [
        "bad\N{REPLACEMENT CHARACTER}.cwl: the name holds what isn't UTF-8; rename it; the workflow is not published"
    ]
    checked = service.command("catalogue", "check").stdout
    assert "; colon:test.cwl (an id can't have all of this name), version " in checked
    for workflow_id in names.values():
        run = service.waas("workflows", "trigger", workflow_id, "--inputs-file", job, "--follow", "-o", "json")
        assert json.loads(run.stdout)["status"] == "SUCCEEDED", run.stderr


def test_an_execution_that_waits_runs_what_it_was_started_with(service: Service, tmp_path: Path) -> None:
    service.publish("says", SAYS.format(word="before"))
    eventually(lambda: "says" in listed(service))
    gate = tmp_path / "marks" / "gate"
    first = service.user.trigger("script", script=f"while [ ! -e {gate} ]; do sleep 0.1; done")
    waiting, doomed = service.user.trigger("says"), service.user.trigger("says")
    execution = service.user("GET", waiting).json()
    assert execution["status"] == "PENDING"
    assert "no more than 1" in (execution["reason"] or "") or service.user("GET", first).json()["status"] == "PENDING"
    service.publish("says", SAYS.format(word="after"))
    eventually(lambda: service.user("GET", "/workflows/says").json()["description"] == "Says after.")
    later = service.user.trigger("says")
    (service.catalogue / "says.cwl").unlink()
    eventually(lambda: "says" not in listed(service))
    service.publish("other", SCRIPT)
    service.kill("launcher")
    gate.touch()
    for path, word in ((waiting, "before"), (doomed, "before"), (later, "after")):
        assert service.user.finished(path)["status"] == "SUCCEEDED"
        assert word in log_text(service.user, path)
