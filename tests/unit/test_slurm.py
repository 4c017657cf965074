"""What Slurm's commands print, recorded from a real one, and what is made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.site_models import Job
from hpcwaas.engines.cwl.sites.slurm import Slurm
from hpcwaas.engines.cwl.sites.slurm_jobs import Sacct, Scontrol, Squeue, over
from hpcwaas.engines.cwl.sites.slurm_places import Nodes, Partition, Projects, Trial
from hpcwaas.engines.cwl.sites.slurm_text import Answer, limit, moment, size

FOLDER = Path(__file__).parents[1] / "data" / "sites" / "slurm"


def recorded(file: str, name: str) -> dict[str, Any]:
    """An answer; the last one of that name."""
    found = None
    for line in FOLDER.joinpath(f"{file}.jsonl").read_text().splitlines():
        each = json.loads(line)
        found = each if each["name"] == name else found
    assert found is not None, name
    return found  # type: ignore[no-any-return] # read from JSON


def subject(answer: dict[str, Any]) -> str:
    """Id of the job that an answer is about."""
    return str(answer["note"].rpartition(" ")[2])


def queued(file: str, name: str) -> Job:
    answer = recorded(file, f"squeue-{name}")
    (job,) = [job for job in Squeue("alice").parse(answer["stdout"]) if job.id == subject(answer)]
    return job


def shown(file: str, name: str) -> Job:
    answer = recorded(file, f"scontrol-{name}")
    (job,) = [job for job in Scontrol("").parse(answer["stdout"]) if job.id == subject(answer)]
    return job


def accounted(name: str, file: str = "accounting") -> Job:
    answer = recorded(file, f"sacct-{name}")
    (job,) = [job for job in Sacct("alice", ()).parse(answer["stdout"]) if job.id == subject(answer)]
    return job


WAITING = {
    "held": "JobHeldUser",
    "held-admin": "JobHeldAdmin",
    "dependency": "Dependency",
    "resources": "Resources",
    "priority": "Priority",
    "partition-limit": "PartitionTimeLimit",
    "requeued": "BeginTime",
}


@pytest.mark.parametrize("file", ["plain", "accounting"])
@pytest.mark.parametrize(("name", "reason"), WAITING.items())
def test_a_job_that_waits_says_why_and_has_neither_begun_nor_ended(file: str, name: str, reason: str) -> None:
    for job in (queued(file, name), shown(file, name)):
        assert (job.state, job.reason, job.node, job.started_at, job.ended_at) == ("PENDING", reason, None, None, None)
        assert job.submitted_at is not None
        assert not over(job.state)


def test_a_job_waits_for_its_project_or_for_nodes() -> None:
    assert queued("accounting", "assoc-limit").reason == "AssocGrpJobsLimit"
    assert "Node" in str(queued("plain", "nodes-down").reason)
    assert "_" not in str(shown("plain", "nodes-down").reason)


@pytest.mark.parametrize("file", ["plain", "accounting"])
def test_a_job_that_runs_has_a_node_and_a_beginning_whatever_it_is_called(file: str) -> None:
    for job in (queued(file, "running"), shown(file, "running")):
        assert (job.state, job.reason, job.node, job.ended_at) == ("RUNNING", None, "node1", None)
        assert job.name == "a|b JobState=FAILED c"
        assert job.started_at is not None
        assert job.submitted_at is not None
        assert job.submitted_at <= job.started_at


ENDED = {
    "completed": ("COMPLETED", None),
    "failed": ("FAILED", "exit status 3"),
    "killed": ("FAILED", "signal 9"),
    "memory": ("FAILED", "signal 9"),
    "timeout": ("TIMEOUT", "0:01:00"),
    "cancelled": ("CANCELLED", None),
    "cancelled-admin": ("CANCELLED", None),
    "node-fail": ("NODE_FAIL", "NodeDown"),
}


@pytest.mark.parametrize("file", ["plain", "accounting"])
@pytest.mark.parametrize(("name", "expected"), ENDED.items())
def test_a_job_that_has_ended_says_how(file: str, name: str, expected: tuple[str, str | None]) -> None:
    in_queue, told = queued(file, name), shown(file, name)
    assert (told.state, told.reason) == expected
    assert (in_queue.state, in_queue.node) == (expected[0], "node1")
    for job in (in_queue, told):
        assert job.started_at is not None
        assert job.ended_at is not None
        assert job.started_at <= job.ended_at
        assert over(job.state)


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("running", "RUNNING", None),
        ("completed", "COMPLETED", None),
        ("failed", "FAILED", "exit status 3"),
        ("timeout", "TIMEOUT", "0:01:00"),
        ("cancelled", "CANCELLED by alice", None),
        ("cancelled-admin", "CANCELLED by root", None),
        ("cancelled-waiting", "CANCELLED by alice", None),
        ("node-fail", "NODE_FAIL", None),
        ("killed", "FAILED", "signal 9"),
    ],
)
def test_the_database_tells_the_same_and_who_cancelled(name: str, state: str, reason: str | None) -> None:
    job = accounted(name)
    assert (job.state, job.reason) == (state, reason)
    assert (job.started_at is None) == (name == "cancelled-waiting")
    assert over(job.state) == (name != "running") == (job.ended_at is not None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("out-of-memory", "9.1 GiB of 8 GiB"),
        ("out-of-memory-per-core", "9.1 GiB of 8 GiB"),
        ("out-of-memory-unknown", None),
    ],
)
def test_who_used_too_much_memory_is_told_how_much(name: str, reason: str | None) -> None:
    assert accounted(name, "by-hand").reason == reason


def test_who_was_killed_for_its_memory_without_being_told_so_is_told_how_much() -> None:
    assert re.fullmatch(r"signal 9; it used 4\d\d(\.\d)? MiB of 100 MiB", str(accounted("memory").reason))


@pytest.mark.parametrize("file", ["plain", "accounting"])
def test_the_tasks_of_an_array_are_jobs_of_their_own(file: str) -> None:
    array = subject(recorded(file, "squeue-array"))
    jobs = Squeue("alice").parse(recorded(file, "squeue-array")["stdout"])
    states = {job.id: job.state for job in jobs if job.id.startswith(f"{array}_")}
    assert states == {f"{array}_0": "COMPLETED", f"{array}_1": "FAILED", f"{array}_2": "FAILED"}


def test_what_is_no_job_is_left_out() -> None:
    (job,) = Squeue("alice").parse(recorded("by-hand", "squeue-odd")["stdout"])
    assert job == Job("42", "SPECIAL_EXIT", "launch failed requeued held")


def test_a_time_in_words_is_of_an_unknown_zone_and_left_out() -> None:
    job = accounted("words", "by-hand")
    assert (job.submitted_at, job.started_at, job.ended_at) == (None, None, None)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("1795812438", datetime(2026, 11, 27, 20, 47, 18, tzinfo=UTC)),
        *dict.fromkeys(("0", "N/A", "", "Unknown", "-1")).items(),
    ],
)
def test_times_are_seconds(field: str, expected: datetime | None) -> None:
    assert moment(field) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [("3224K", 3224 << 10), ("200M", 200 << 20), ("1.5G", 3 << 29), ("17", 17), ("", None), ("many", None)],
)
def test_sizes_have_units(field: str, expected: int | None) -> None:
    assert size(field) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("1:00", "0:01:00"),
        ("1:00:00", "1:00:00"),
        ("01:00:00", "1:00:00"),
        ("2-00:00:00", "2-00:00:00"),
        ("UNLIMITED", None),
        ("Partition_Limit", None),
        ("INVALID", None),
    ],
)
def test_limits_are_written_in_one_way(field: str, expected: str | None) -> None:
    assert limit(field) == expected


# ---- following jobs


def answers(file: str, *names: str) -> dict[str, Any]:
    return {name.partition("-")[0]: recorded(file, name) for name in names}


def follow(slurm: Slurm, known: Sequence[str], file: str, *names: str) -> tuple[set[str], dict[str, Job]]:
    """A look: which commands it needs, and what it finds when they are answered so."""
    asked = slurm.commands(known)
    found = {name: answer for name, answer in answers(file, *names).items() if name in asked}
    return set(asked), {job.id: job for job in slurm.read(found)}


def test_one_command_follows_jobs_until_they_end_and_a_second_tells_how() -> None:
    slurm = Slurm("alice")
    failed = subject(recorded("accounting", "squeue-failed"))
    running = subject(recorded("accounting", "squeue-running"))
    asked, jobs = follow(slurm, [running], "accounting", "squeue-running")
    assert (asked, jobs[running].state) == ({"squeue"}, "RUNNING")
    asked, jobs = follow(slurm, [failed], "accounting", "squeue-failed")
    assert (asked, jobs[failed].reason) == ({"squeue"}, "NonZeroExitCode")
    asked, jobs = follow(slurm, [failed], "accounting", "squeue-failed", "sacct-failed")
    assert (asked, jobs[failed].reason) == ({"squeue", "sacct"}, "exit status 3")
    assert follow(slurm, [failed], "accounting") == (set(), jobs)  # nothing more is asked


def test_without_a_database_the_controller_tells_how_jobs_ended() -> None:
    slurm = Slurm("alice")
    failed = subject(recorded("plain", "squeue-failed"))
    follow(slurm, [failed], "plain", "squeue-failed")
    asked, _ = follow(slurm, [failed], "plain", "squeue-failed", "sacct-disabled")
    assert asked == {"squeue", "sacct"}
    asked, jobs = follow(slurm, [failed], "plain", "squeue-failed", "scontrol-failed")
    assert (asked, jobs[failed].reason) == ({"squeue", "scontrol"}, "exit status 3")
    assert follow(slurm, [failed], "plain")[0] == set()


@pytest.mark.parametrize("file", ["plain", "accounting"])
def test_a_job_that_slurm_has_forgotten_is_told_as_one(file: str) -> None:
    slurm = Slurm("alice")
    detail = "sacct-disabled" if file == "plain" else "sacct-unknown"
    for _ in range(6):
        asked, jobs = follow(slurm, ["99999"], file, "squeue-unknown", detail, "scontrol-unknown")
    assert asked == set()
    assert jobs == {"99999": Job("99999", "UNKNOWN", "Slurm knows nothing of it any more")}


def test_a_job_that_waits_again_says_so() -> None:
    slurm = Slurm("alice")
    job = subject(recorded("plain", "squeue-running"))
    assert subject(recorded("plain", "squeue-requeued")) == job
    for name in ("squeue-running", "squeue-requeued", "squeue-requeued"):
        _, jobs = follow(slurm, [job], "plain", name)
    assert jobs[job].state == "REQUEUED"


@pytest.mark.parametrize("file", ["plain", "accounting"])
def test_jobs_stay_as_they_were_while_slurm_does_not_answer(file: str) -> None:
    slurm = Slurm("alice")
    job = subject(recorded(file, "squeue-running"))
    _, before = follow(slurm, [job], file, "squeue-running")
    assert slurm.problem is None
    for _ in range(5):
        _, jobs = follow(slurm, [job], file, "squeue-no-controller")
        assert jobs == before
    assert slurm.problem == (
        "Slurm doesn't answer on the site (Unable to contact slurm controller (connect failure)); its jobs go on."
    )
    assert follow(slurm, [job], file, "squeue-running")[1] == before
    assert slurm.problem is None


def test_a_database_that_does_not_answer_is_asked_again() -> None:
    slurm = Slurm("alice")
    failed = subject(recorded("accounting", "squeue-failed"))
    for _ in range(5):
        follow(slurm, [failed], "accounting", "squeue-failed", "sacct-no-database")
    _, jobs = follow(slurm, [failed], "accounting", "squeue-failed", "sacct-failed")
    assert jobs[failed].reason == "exit status 3"


def test_what_the_queue_showed_of_a_job_completes_what_the_database_has_of_it() -> None:
    slurm = Slurm("alice")
    follow(slurm, ["10"], "by-hand", "squeue-cancelled")
    _, jobs = follow(slurm, ["10"], "by-hand", "squeue-cancelled", "sacct-incomplete")
    assert (jobs["10"].state, jobs["10"].name) == ("CANCELLED by the user 1002", "align")


def test_nothing_is_run_for_nobody() -> None:
    assert Slurm("alice").commands([]) == {}


# ---- where jobs may run


def test_partitions_are_known_also_when_they_are_not_for_the_account() -> None:
    main = Partition("main").parse(recorded("plain", "partition-main")["stdout"])
    assert main is not None
    assert (main.name, main.state, main.max_time) == ("main", "UP", "01:00:00")
    assert Partition("staff").parse(recorded("plain", "partition-staff")["stdout"]) is not None
    assert Partition("nope").parse(recorded("plain", "partition-unknown")["stdout"]) is None
    inactive = Partition("main").parse(recorded("plain", "partition-inactive")["stdout"])
    assert inactive is not None
    assert inactive.state == "INACTIVE"


def test_nodes_that_are_down_run_nothing() -> None:
    assert Nodes("main").parse(recorded("plain", "sinfo-up")["stdout"]) == (1, 1)
    assert Nodes("main").parse(recorded("plain", "sinfo-down")["stdout"]) == (0, 1)


def test_projects_are_those_of_the_account() -> None:
    assert Projects("alice").parse(recorded("accounting", "projects")["stdout"]) == {"physics"}


@pytest.mark.parametrize(
    ("file", "name", "status", "words"),
    [
        ("plain", "ok", 0, None),
        ("plain", "default", 0, None),
        ("accounting", "project", 0, None),
        ("accounting", "project-unknown", 1, "Invalid account or account/partition combination specified"),
        ("plain", "partition-unknown", 1, "Invalid partition name specified"),
        ("plain", "partition-staff", 1, "User's group not permitted to use this partition"),
        ("plain", "inactive", 1, "Required partition not available (inactive or drain)"),
    ],
)
def test_a_job_is_tried_and_its_refusal_told(file: str, name: str, status: int, words: str | None) -> None:
    answer = Answer.of(recorded(file, f"trial-{name}"))
    assert answer.status == status
    if words:
        assert (answer.words(), answer.unreachable) == (words, False)


def test_no_answer_is_no_refusal() -> None:
    assert Answer.of(recorded("plain", "trial-no-controller")).unreachable
    assert Answer.of({"status": None, "stdout": "", "stderr": ""}).words() == "it took too long"
    assert Answer.of({"status": 7, "stdout": "", "stderr": ""}).words() == "it ended with status 7"


def test_what_was_recorded_is_what_is_run() -> None:
    """So that the recordings stay true when a command is changed."""
    assert recorded("accounting", "squeue-running")["argv"] == [*Squeue("alice").argv()]
    answer = recorded("accounting", "sacct-failed")
    assert answer["argv"] == [*Sacct("alice", [subject(answer)]).argv()]
    answer = recorded("plain", "scontrol-failed")
    assert answer["argv"] == [*Scontrol(subject(answer)).argv()]
    assert recorded("plain", "sinfo-up")["argv"] == [*Nodes("main").argv()]
    assert recorded("plain", "partition-main")["argv"] == [*Partition("main").argv()]
    assert recorded("plain", "projects")["argv"] == [*Projects("alice").argv()]
    assert recorded("plain", "trial-ok")["argv"] == [*Trial("main", None, "00:10:00").argv()]
