"""A service is killed while it reads its catalogue for the first time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.processes import Service, eventually

SAYS = "cwlVersion: v1.2\nclass: CommandLineTool\nlabel: Number {}\nbaseCommand: 'true'\ninputs: []\noutputs: []\n"
DOCUMENTS = 40


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    for number in range(DOCUMENTS):
        (service.catalogue / f"w{number:02}.cwl").write_text(SAYS.format(number))
    os.mkfifo(service.catalogue / "x-hangs.cwl")  # reading isn't over before this one's time is
    yield service
    service.end()


def index(service: Service) -> dict[str, Any]:
    path = service.data / "cwl" / "catalogue" / "catalogue.json"
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {"published": [], "unread": []}
    return found


def listed(service: Service) -> dict[str, Any]:
    answer: dict[str, Any] = service.user("GET", "/workflows").json()
    return answer


def describing(service: Service) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if "hpcwaas.engines.cwl.workflows.describe" in (process.info["cmdline"] or []):
            found += [process] if process.info["cwd"] == str(service.catalogue) else []
    return found


def test_a_first_read_that_is_killed_goes_on_where_it_was(service: Service) -> None:
    service.start()
    service.user("GET", "/workflows")
    eventually(lambda: len(index(service)["published"]) > 10)
    assert index(service)["unread"]
    assert any("still being read" in each for each in listed(service)["warnings"])
    assert service.user("GET", "/health/ready").json()["status"] == "ok"
    service.kill("master", "worker")
    eventually(lambda: not describing(service))
    before = index(service)["published"]
    snapshots = service.data / "cwl" / "catalogue" / "snapshots"
    made = {item["version"]: (snapshots / item["version"]).stat().st_ino for item in before}
    service.start()
    eventually(lambda: len(listed(service)["workflows"]) == DOCUMENTS + 1)
    assert {version: (snapshots / version).stat().st_ino for version in made} == made
    (service.catalogue / "x-hangs.cwl").unlink()
    eventually(lambda: "warnings" not in listed(service))
    assert "Traceback" not in service.log.read_text()
