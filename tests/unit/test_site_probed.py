"""What a check makes of the answers of a site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.site_models import Point, PointStatus
from hpcwaas.engines.cwl.sites.probed import Probed, commands
from hpcwaas.engines.site_settings import SiteSettings

FOLDER = Path(__file__).parents[1] / "data" / "sites" / "slurm"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILhY+EMoLvkkwwW6Rb+74pTGU2WBvJm6HL7EclF6PRz5"
OK, WARNING, FAILED, SKIPPED = PointStatus


def recorded(name: str, file: str = "plain") -> dict[str, Any]:
    lines = FOLDER.joinpath(f"{file}.jsonl").read_text().splitlines()
    return next(each for each in map(json.loads, lines) if each["name"] == name)


def said(stdout: str = "", stderr: str = "", status: int | None = 0) -> dict[str, Any]:
    return {"status": status, "stdout": stdout, "stderr": stderr}


def site(**settings: Any) -> SiteSettings:
    return SiteSettings(**{"host": "login", "host_keys": [KEY], **settings})


USUAL: dict[str, Any] = {
    "work_dir": "/home/alice/.hpcwaas",
    "unset": [],
    "writable": None,
    "free_bytes": 10 * 2**40,
    "quota": None,
    "python": "3.6.8",
}
SLURM = {
    "runner": said("9.6.0\n"),
    "containers": said("4.9.1\n"),
    "squeue": recorded("squeue-running"),
    "trial": recorded("trial-default"),
    "partition": recorded("partition-main"),
    "nodes": recorded("sinfo-up"),
    "projects": recorded("projects", "accounting"),
    "charged": recorded("trial-project", "accounting"),
}


def points(settings: SiteSettings, told: dict[str, Any] | None = None, **changes: Any) -> dict[str, Point]:
    answer = {**USUAL, **changes, "commands": {**SLURM, **(told or {})}}
    return {point.id: point for point in Probed(settings, "alice", answer).points()}


def test_a_site_where_all_is_well_passes_in_order() -> None:
    found = points(site(slurm={"partition": "main", "account": "physics", "time": "00:10:00"}))
    assert [*found] == ["work_dir", "room", "python", "runner", "containers", "scheduler", "partition", "project"]
    assert {point.status for point in found.values()} == {OK}
    assert [point.detail for point in found.values()] == [
        "Executions live in /home/alice/.hpcwaas.",
        "10240 GiB are free on the file system.",
        "It is 3.6.8.",
        "It is Toil 9.6.0.",
        "Docker is there, on the login node. Its nodes may be different: a check submits no job.",
        "Slurm tells of the account's jobs.",
        "The partition main would take a job.",
        "The project physics would be charged.",
    ]


def test_a_site_without_scheduler_has_no_partition_and_no_project() -> None:
    found = points(site(scheduler="none", runner={"command": ["cwltool"]}), {"runner": said(".venv/bin/cwltool 3.1.2")})
    assert [found[point].status for point in ("runner", "scheduler", "partition", "project")] == [OK] + 3 * [SKIPPED]
    assert [*commands(site(scheduler="none"), "alice")] == ["runner", "containers"]


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"unset": ["SCRATCH"], "work_dir": None}, FAILED, "SCRATCH"),
        ({"writable": {"kind": "denied", "path": "/x", "detail": "d"}}, FAILED, "the account may not write there"),
        ({"writable": {"kind": "full", "path": "/x", "detail": "d"}}, FAILED, "no room left"),
        ({"writable": {"kind": "read-only", "path": "/x", "detail": "d"}}, FAILED, "can't be written to"),
        ({"writable": {"kind": "failed", "path": "/x", "detail": "an odd error"}}, FAILED, "an odd error"),
    ],
)
def test_a_work_directory_that_can_t_be_used_is_told_and_its_room_is_not(
    changes: dict[str, Any], status: PointStatus, words: str
) -> None:
    found = points(site(), **changes)
    assert (found["work_dir"].status, words in found["work_dir"].detail) == (status, True)
    assert found["work_dir"].advice
    assert "room" not in found
    assert found["runner"].status is OK  # all else is told at once


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"free_bytes": 10 * 2**20}, FAILED, "10 MiB"),
        ({"free_bytes": 500 * 2**20}, WARNING, "500 MiB"),
        ({"free_bytes": None}, WARNING, "can't be found out"),
        ({"quota": "Disk quotas for user alice:\n  /home  1024M*  1000M 1100M  6days"}, WARNING, "over its quota"),
    ],
)
def test_room_that_is_scarce_is_told(changes: dict[str, Any], status: PointStatus, words: str) -> None:
    point = points(site(), **changes)["room"]
    assert (point.status, words in point.detail, bool(point.advice)) == (status, True, True)


@pytest.mark.parametrize(
    ("command", "answer", "status", "words"),
    [
        ("toil-cwl-runner", said("9.5.0"), FAILED, "Toil 9.5.0"),
        ("/opt/toil-cwl-runner", said("8.0.0a1"), FAILED, "Toil 8.0.0a1"),
        ("toil-cwl-runner", said("", "bash: toil-cwl-runner: command not found", 127), FAILED, "has no `prologue`"),
        ("toil-cwl-runner", said("", "ImportError: no module named toil", 1), FAILED, "no module named toil"),
        ("toil-cwl-runner", said("", "took too long", None), WARNING, "no answer within 10 seconds"),
        ("toil-cwl-runner", said("something"), WARNING, "tells no version"),
        ("/opt/cwl/cwltool", said("/opt/cwl/cwltool 3.1.20260108082145"), OK, "cwltool 3.1.20260108082145"),
        ("cwltool", said("cwltool 2.0.1"), FAILED, "cwltool 2.0.1"),
        ("another", said("", "unknown option", 2), OK, "`another` is there"),
        ("another", said("", "not found", 127), FAILED, "`another --version` can't be run"),
    ],
)
def test_a_runner_is_found_in_a_fitting_version(
    command: str, answer: dict[str, Any], status: PointStatus, words: str
) -> None:
    point = points(site(runner={"command": [command]}), {"runner": answer})["runner"]
    assert (point.status, words in point.detail) == (status, True), point.detail
    assert bool(point.advice) == (status is not OK)


NOT_THERE = said("", "bash: line 9: apptainer: command not found", 127)


@pytest.mark.parametrize(
    ("settings", "command", "answer", "status", "words"),
    [
        ({"containers": "podman"}, "podman info", said("amd64"), OK, "Podman is there, on the login node."),
        (
            {"containers": "apptainer"},
            "singularity --version",
            NOT_THERE,
            WARNING,
            "The setting `containers` is apptainer, and there is no program `singularity`, and the site has no",
        ),
        ({}, "docker version", NOT_THERE, WARNING, "The runner takes docker, and there is no program `docker`"),
        (
            {"runner": {"arguments": ["--podman"]}},
            "podman info",
            NOT_THERE,
            WARNING,
            "The runner takes podman, and there is no program `podman`",
        ),
        (
            {"containers": "podman", "prologue": "/etc/mare.sh"},
            "podman info",
            said("", "Error: cannot find UID/GID for user alice: no subuid ranges found\n", 125),
            WARNING,
            "fails, after the site's `prologue` (cannot find UID/GID for user alice: no subuid ranges found).",
        ),
        ({"containers": "udocker"}, "udocker --version", said(status=None), WARNING, "no answer within 10 seconds"),
        ({"containers": "none"}, None, {}, SKIPPED, "They are turned off there"),
        ({"runner": {"command": ["arvados-cwl-runner"]}}, None, {}, SKIPPED, "Only the site's runner knows"),
        (
            {"runner": {"command": ["cwltool"], "arguments": ["--user-space-docker-cmd=dx-docker"]}},
            None,
            {},
            SKIPPED,
            "Only the site's runner knows",
        ),
    ],
)
def test_what_starts_containers_is_looked_for(
    settings: dict[str, Any], command: str | None, answer: dict[str, Any], status: PointStatus, words: str
) -> None:
    asked = commands(site(**settings), "alice").get("containers")
    assert (asked and " ".join(asked[:2])) == command
    point = points(site(**settings), {"containers": answer})["containers"]
    assert (point.status, words in point.detail) == (status, True), point.detail
    assert bool(point.advice) == (status is WARNING)


@pytest.mark.parametrize(
    ("settings", "jobs"),
    [
        ({"scheduler": "none"}, False),
        ({"runner": {"command": ["cwltool"]}}, False),
        ({"runner": {"command": ["cwltool"]}, "leader": "job"}, True),
        ({}, True),
    ],
)
def test_the_nodes_may_be_different_where_tools_run_in_jobs(settings: dict[str, Any], jobs: bool) -> None:
    for answer in (said(), NOT_THERE, said("", "denied", 1)):
        told = points(site(**settings), {"containers": answer})["containers"].detail
        assert ("Its nodes may be different" in told) is jobs


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (recorded("squeue-no-controller"), "Slurm doesn't answer (Unable to contact slurm controller"),
        (said("", "squeue: command not found", 127), "`squeue` isn't found"),
        (said("", "squeue: error: Invalid user: alice", 1), "Slurm refuses to tell of jobs (Invalid user: alice)"),
        (said("", "", None), "Slurm doesn't answer"),
    ],
)
def test_a_scheduler_that_doesn_t_answer_is_told_and_asked_no_more(answer: dict[str, Any], words: str) -> None:
    found = points(site(), {"squeue": answer})
    assert (found["scheduler"].status, words in found["scheduler"].detail) == (FAILED, True), found["scheduler"].detail
    assert "partition" not in found


@pytest.mark.parametrize(
    ("told", "time", "status", "words"),
    [
        (
            {"partition": recorded("partition-unknown"), "trial": recorded("trial-partition-unknown")},
            None,
            FAILED,
            "There is no partition main",
        ),
        (
            {"partition": recorded("partition-staff"), "trial": recorded("trial-partition-staff")},
            None,
            FAILED,
            "User's group not permitted",
        ),
        (
            {"partition": recorded("partition-inactive"), "trial": recorded("trial-inactive")},
            None,
            FAILED,
            "is INACTIVE",
        ),
        ({"nodes": recorded("sinfo-down")}, None, WARNING, "None of the 1 nodes of the partition main can run jobs"),
        ({}, "48:00:00", FAILED, "runs jobs for 1:00:00 at most"),
        ({"partition": said("PartitionName=main State=DOWN MaxTime=UNLIMITED")}, None, WARNING, "is DOWN"),
        ({"partition": said("", "slurm: not allowed", 1)}, None, OK, "would take a job"),
    ],
)
def test_a_partition_that_takes_no_jobs_is_told(
    told: dict[str, Any], time: str | None, status: PointStatus, words: str
) -> None:
    point = points(site(slurm={"partition": "main", "time": time}), told)["partition"]
    assert (point.status, words in point.detail) == (status, True), point.detail


def test_the_default_partition_is_tried() -> None:
    assert points(site())["partition"].detail == "Slurm's default partition would take a job."
    assert points(site(), {"trial": recorded("trial-down")})["partition"].status is WARNING
    point = points(site(), {"trial": recorded("trial-inactive")})["partition"]
    assert (point.status, "Slurm's default partition takes no job" in point.detail) == (FAILED, True)


def test_a_project_that_isn_t_the_account_s_is_told_with_those_that_are() -> None:
    refused = {"charged": recorded("trial-project-unknown", "accounting")}
    found = points(site(slurm={"account": "chemistry"}), refused)
    assert found["partition"].status is OK
    assert found["project"].status is FAILED
    assert "The project chemistry can't be charged by the account" in found["project"].detail
    assert "It has: physics." in found["project"].detail
    none = points(site(), {"trial": recorded("trial-project-unknown", "accounting"), "projects": said("")})["project"]
    assert (none.status, "It has none." in none.detail) == (FAILED, True)


def test_a_site_without_a_database_has_no_projects() -> None:
    assert points(site(), {"projects": recorded("projects")})["project"].status is SKIPPED


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            said(stderr="one\n\x1b[31mtwo\nthree\ncannot fetch https://me:secret@example.org/x\n", status=127),
            "failed with status 127. It says: two / three / cannot fetch https://me:********@example.org/x",
        ),
        (said(status=1), "failed with status 1, and says nothing."),
        (said(status=None), "didn't end within 10 seconds."),
    ],
)
def test_a_prologue_that_fails_is_told_with_its_own_complaint_and_nothing_else_is_looked_at(
    told: dict[str, Any], words: str
) -> None:
    found = points(site(prologue="/etc/mare.sh"), {"runner": told | {"stage": "prologue"}})
    assert (found["runner"].status, found["runner"].detail) == (FAILED, f"The site's prologue /etc/mare.sh {words}")
    assert "scheduler" not in found
