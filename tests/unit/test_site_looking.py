"""What a look at a site means for the mirror of its executions."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import ExecutionState, Status, StepDeclaration, StepStatus
from hpcwaas.core.site_models import Job, Placement
from hpcwaas.core.step_models import Scatter
from hpcwaas.engines.cwl.sites.looking import Looking
from hpcwaas.engines.cwl.sites.mirror import SENT, Intent, Mirror
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.workflows.slurm import NOTHING

ID = "e1"
STATE = {"status": "RUNNING", "started_at": "2026-01-01T10:00:00Z", "ended_at": None, "reason": None, "stored": 0}


class Jobs:
    """A scheduler that says what a test wants."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.asked: Sequence[str] = ()
        self.problem: str | None = None
        self.awaited: set[str] = set()

    def awaits(self, job: str) -> bool:
        return job in self.awaited

    def commands(self, known: Sequence[str]) -> dict[str, list[str]]:
        self.asked = known
        return {"squeue": ["squeue"]}

    def read(self, answers: Mapping[str, Any]) -> Sequence[Job]:
        return self.jobs


class Site:
    """One execution that is on a site."""

    def __init__(self, directory: Path) -> None:
        self.mirror = Mirror(directory)
        steps = tuple(StepDeclaration(name) for name in ("index", "align"))
        placement = Placement("mare", "u1234", "key")
        intent = Intent(ID, "0" * 19 + f"1-{ID}", "alice", placement, "/w", "t.cwl", None, steps, (), (), NOTHING, None)
        self.mirror.submit(intent, lambda _draft: None)
        account = self.mirror.account(placement)
        self.mirror.claim(account, intent.ticket)
        self.mirror.mark(ID, SENT)
        self.scheduler = Jobs()
        self.ends: dict[str, ExecutionState] = {}
        self.looking = Looking("mare", self.mirror, self.scheduler, lambda: None, self.ends.__setitem__, 1 << 20)

    def look(self, clock: float | None = None, **told: Any) -> ExecutionState:
        """A look that tells this of the execution."""
        asked = self.looking.body([ID], 0, None)
        answer = {"clock": clock or time.time(), "boot_id": "b", "news": 1, "commands": {"squeue": {}}}
        answer["executions"] = {ID: {"exists": True, "alive": True, "stamp": str(time.time_ns()), **told}}
        self.looking.take(asked, answer, lambda execution_id: f"/work/executions/{execution_id}")
        return self.ends.get(ID) or self.mirror.state(ID)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def state(index: str = "SUCCEEDED", align: str = "RUNNING", **more: Any) -> dict[str, Any]:
    steps = [{"name": name, "status": status} for name, status in (("index", index), ("align", align))]
    return STATE | {"steps": steps} | more


def test_jobs_belong_to_steps_and_are_told_in_words(site: Site) -> None:
    site.look(state=state(), jobs=[{"id": "7", "step": "align", "name": "x"}])
    assert site.looking.soon  # what Slurm knows of a new job isn't long in coming
    site.scheduler.jobs = [Job("7", "PENDING", "Priority")]
    told = site.look()
    assert site.scheduler.asked == ["7"]
    assert told.steps[1].job == Job("7", "PENDING", "Priority")
    assert told.reason == "step 2 of 2 (align): Slurm job 7 waits, reason Priority"
    assert told.directory == "/work/executions/e1"
    site.scheduler.jobs = [Job("7", "RUNNING", None, "n1")]
    assert site.look().reason == "step 2 of 2 (align): Slurm job 7 runs on n1"


def counted(**counts: int | None) -> dict[str, Any]:
    told = state()
    told["steps"][1]["scatter"] = {"total": 5, "done": 0, "failed": 0, "skipped": 0, "running": 0} | counts
    return told


def test_runs_of_a_step_that_wait_for_a_node_do_not_run(site: Site) -> None:
    jobs = [{"id": str(number), "step": "align", "name": "x"} for number in range(1, 5)]
    site.scheduler.jobs = [Job("1", "COMPLETED"), Job("2", "RUNNING"), Job("3", "PENDING"), Job("4", "COMPLETING")]

    told = site.look(state=counted(done=1, running=4), jobs=jobs)
    assert told.steps[1].scatter == Scatter(5, done=1, running=2)
    assert site.look(state=counted(total=None, done=1)).steps[1].scatter == Scatter(None, done=1)


@pytest.mark.parametrize(
    "counts",
    [
        *({"done": -1}, {"done": 6}, {"done": 3, "running": 3}, {"failed": 1}, {"done": 1, "failed": 1, "skipped": 1}),
        *({"total": 10**12}, {"total": None, "done": 10**12}),
    ],
)
def test_counts_that_cannot_be_are_not_believed(site: Site, counts: dict[str, int | None]) -> None:
    site.look(state=counted(done=1))

    told = site.look(state=counted(**counts))

    assert told.steps[1].scatter == Scatter(5, done=1)


def test_a_scheduler_that_does_not_answer_is_told_with_what_was_known_last(site: Site) -> None:
    site.look(state=state(), jobs=[{"id": "7", "step": "align", "name": "x"}])
    site.scheduler.jobs = [Job("7", "RUNNING", None, "n1")]
    site.scheduler.problem = "Slurm doesn't answer."
    assert site.look().reason == "Slurm doesn't answer. Known last: step 2 of 2 (align): Slurm job 7 runs on n1."


def test_the_end_comes_with_outputs_and_the_whole_log(site: Site) -> None:
    lines = [b'[2,"2026-01-01T10:00:00+00:00","a"]\n', b'[2,"2026-01-01T10:00:00+00:00","b"]\n']
    ended = state("SUCCEEDED", "SUCCEEDED", status="SUCCEEDED", ended_at="2026-01-01T10:00:05Z")
    size = sum(map(len, lines))
    told = site.look(state=ended, outputs={"n": 1}, log=base64.b64encode(lines[0]).decode(), log_size=size)
    assert told.status is Status.PENDING
    told = site.look(log=base64.b64encode(lines[1]).decode(), log_size=size)
    assert told.status is Status.SUCCEEDED
    directory = site.mirror.execution(ID)
    assert (directory / spool.LOG).read_bytes() == b"".join(lines)
    assert json.loads((directory / spool.OUTPUT_OBJECT).read_bytes()) == {"n": 1}


def test_a_log_that_cannot_be_read_is_told_in_the_log(site: Site) -> None:
    told = site.look(
        state=state(status="FAILED", reason="It failed."), log=None, log_size=9, log_lost="Permission denied"
    )
    assert told.status is Status.FAILED
    line = (site.mirror.execution(ID) / spool.LOG).read_text()
    assert "The rest of the log can't be read on mare: Permission denied." in line


def test_pieces_of_the_log_are_taken_once(site: Site) -> None:
    site.mirror.mark(ID, "followed")
    piece = base64.b64encode(b"[2,1]\n").decode()
    asked = site.looking.body([ID], 0, None)
    assert asked["executions"][ID]["log"] == 0
    answer = {"commands": {}, "executions": {ID: {"exists": True, "alive": True, "log": piece}}}
    for _ in range(2):  # a long look and a short one may have asked for the same
        site.looking.take(asked, answer, str)
    assert (site.mirror.execution(ID) / spool.LOG).read_bytes() == b"[2,1]\n"


def test_who_reads_of_it_in_its_log_finds_that_it_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    log = site.mirror.execution(ID) / spool.LOG
    written, write = [], site.mirror.write_state

    def slowly(execution_id: str, state: ExecutionState) -> None:
        written.append((state.status, log.exists()))
        write(execution_id, state)

    monkeypatch.setattr(site.mirror, "write_state", slowly)
    site.mirror.mark(ID, "followed")
    site.look(state=state(), log=base64.b64encode(b"[2,1]\n").decode())
    assert written == [(Status.RUNNING, False)]
    assert log.exists()


def test_times_of_a_site_whose_clock_is_wrong_are_corrected(site: Site) -> None:
    off = timedelta(minutes=10)
    wrong = datetime.now(UTC) + off
    told = site.look(clock=wrong.timestamp(), state=state(started_at=wrong.isoformat()))
    assert told.started_at is not None
    assert abs(told.started_at - (wrong - off)) < timedelta(seconds=2)
    right = datetime.now(UTC)
    told = site.look(clock=right.timestamp() + 1, state=state(started_at=right.isoformat()))
    assert told.started_at == right  # no clock is right to the second


def test_what_is_gone_twice_in_a_row_is_dead(site: Site) -> None:
    site.look(exists=False)
    assert site.looking.dead == {}
    assert site.looking.soon
    site.look(exists=False)
    assert "The directory of the execution on mare, /work/executions/e1, is gone" in site.looking.dead[ID].reason


def test_a_supervisor_that_lives_after_all_is_left_alone(site: Site) -> None:
    site.look(state=state(), alive=False)
    site.look(alive=True)
    site.look(alive=False)
    assert site.looking.dead == {}
    site.look(alive=False)
    assert site.looking.dead[ID].status is Status.FAILED


def test_a_cancelled_one_whose_supervisor_died_is_cancelled(site: Site) -> None:
    site.mirror.mark(ID, spool.CANCEL)
    for _ in range(2):
        site.look(state=state(), alive=False)
    assert site.looking.dead[ID].status is Status.CANCELLED


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job("9", "TIMEOUT", "1:00:00"), "Slurm job 9 was ended by the time limit of 1:00:00."),
        (Job("9", "NODE_FAIL", None, "n1"), "Slurm job 9 was ended by a failure of its node n1 (NODE_FAIL)."),
        (Job("9", "CANCELLED by root"), "Slurm job 9 was cancelled on the site by root."),
    ],
)
def test_a_job_of_the_runner_that_slurm_has_ended(site: Site, job: Job, words: str) -> None:
    site.scheduler.jobs = [job]
    for _ in range(3):
        site.look(state=state(), alive=None, leader_job="9")
    assert site.looking.dead[ID].reason == (
        f"The job in which the execution ran on mare is over: {words} Its jobs were cancelled."
    )


def test_the_end_of_the_runners_job_is_told_when_slurm_has_told_all_of_it(site: Site) -> None:
    site.scheduler.jobs = [Job("9", "FAILED", "signal 9")]
    site.scheduler.awaited = {"9"}
    for _ in range(3):
        site.look(state=state(), alive=None, leader_job="9")
        assert site.looking.soon
    assert site.looking.dead == {}
    for _ in range(5):
        site.look(alive=None, leader_job="9")
    assert ID in site.looking.dead  # a database that is down isn't waited for for ever
    site.looking.forget(ID)
    site.scheduler.jobs, site.scheduler.awaited = [Job("9", "OUT_OF_MEMORY", "9.1 GiB of 8 GiB")], set()
    for _ in range(2):
        site.look(state=state(), alive=None, leader_job="9")
    assert "9.1 GiB of 8 GiB" in site.looking.dead[ID].reason


def test_a_job_of_the_runner_that_waits(site: Site) -> None:
    site.scheduler.jobs = [Job("9", "PENDING", "Priority")]
    for _ in range(3):
        told = site.look(state=None, alive=None, leader_job="9")
    assert told.status is Status.PENDING
    assert told.reason == "Slurm job 9 waits, reason Priority"
    assert site.looking.dead == {}


def test_what_nobody_has_taken_up_is_started_once_more(site: Site) -> None:
    for _ in range(20):
        site.look(state=None, alive=None, leader_job=None)
        if not site.mirror.has(ID, SENT):
            break
    assert not site.mirror.has(ID, SENT)
    assert site.looking.dead == {}


def test_a_failure_says_what_slurm_did_to_its_jobs(site: Site) -> None:
    site.look(state=state(), jobs=[{"id": "7", "step": "align", "name": "x"}])
    site.scheduler.jobs = [Job("7", "OUT_OF_MEMORY", "9.1 GiB of 8 GiB")]
    told = site.look(state=state(align="FAILED", status="FAILED", reason="Step align failed: exited with status 137"))
    assert told.reason == (
        "Slurm job 7 used 9.1 GiB of 8 GiB (OUT_OF_MEMORY). Step align failed: exited with status 137"
    )
    assert told.steps[1].status is StepStatus.FAILED


def test_a_failure_waits_for_what_slurm_tells_late(site: Site) -> None:
    site.scheduler.jobs = [Job("7", "RUNNING")]
    site.look(state=state(), jobs=[{"id": "7", "step": "align", "name": "x"}])
    site.look(state=state(align="FAILED", status="FAILED", reason="It failed."), outputs={"n": 1})
    assert site.ends == {}
    assert site.looking.soon
    site.scheduler.jobs = [Job("7", "TIMEOUT", "1:00:00")]
    assert site.look().reason == "Slurm job 7 was ended by the time limit of 1:00:00. It failed."
    assert json.loads((site.mirror.execution(ID) / spool.OUTPUT_OBJECT).read_bytes()) == {"n": 1}


def test_an_end_waits_for_no_more_than_some_looks(site: Site) -> None:
    site.look(state=state(), jobs=[{"id": "7", "step": "align", "name": "x"}])
    for _ in range(10):
        site.look(state=state(align="FAILED", status="FAILED", reason="It failed."))
    assert site.ends[ID].reason == "It failed."


def test_steps_that_are_no_jobs_run_in_that_of_the_runner(site: Site) -> None:
    site.scheduler.jobs = [Job("9", "RUNNING", None, "n1")]
    began = state(index="RUNNING", align="PENDING")
    began["steps"][0]["started_at"] = "2026-01-01T10:00:00Z"
    site.look(state=began, alive=None, leader_job="9")
    told = site.look(alive=None)
    assert told.steps[0].job == Job("9", "RUNNING", None, "n1")
    assert told.steps[1].job is None
    assert told.reason == "Slurm job 9 runs on n1"


GARBAGE: list[Any] = [
    *([], "x", 7, {}, {"status": "RUNNING"}, state(status="EATEN"), state(started_at="2026-01-01T10:00:00")),
    *(state(started_at="9999-12-31T23:59:59Z"), state(steps=[]), state(steps=7), state(steps=[[]]), state(reason=[1])),
    *(state(steps=[{"name": "other", "status": "RUNNING"}] * 2), state(stored="much")),
]


@pytest.mark.parametrize("told", GARBAGE, ids=lambda told: str(told)[:60])
def test_what_cannot_be_a_state_ends_the_execution(site: Site, told: Any) -> None:
    site.look(state=state())
    assert site.look(state=told).status is Status.RUNNING  # once may be chance
    site.look(state=told)
    end = site.looking.dead[ID]
    assert end.status is Status.FAILED
    assert "something has written into the files in its directory there, /work/executions/e1" in end.reason


@pytest.mark.parametrize(
    "told",
    [{"error": {"kind": "failed"}}, {"jobs": "x"}, {"jobs": [7]}, {"jobs": [{"id": "--all"}]}, {"leader_job": ["7"]}],
    ids=str,
)
def test_what_cannot_be_of_an_execution_ends_it(site: Site, told: dict[str, Any]) -> None:
    site.look(state=state())
    for _ in range(2):
        site.look(**told)
    assert site.looking.dead[ID].status is Status.FAILED


def test_outputs_that_are_none_are_left_out_and_told(site: Site) -> None:
    file = {"class": "File", "location": "../../.ssh/id_ed25519", "basename": "x"}
    site.look(state=state(align="SUCCEEDED", status="SUCCEEDED"), outputs={"file": [file]})
    assert site.ends[ID].status is Status.SUCCEEDED
    assert (site.mirror.execution(ID) / spool.OUTPUT_OBJECT).read_text() == "{}"
    assert "The outputs are left out" in (site.mirror.execution(ID) / spool.LOG).read_text()


def test_a_long_reason_is_cut(site: Site) -> None:
    told = site.look(state=state(align="FAILED", status="FAILED", reason="x" * 1_000_000))
    assert 1000 < len(told.reason or "") < 10_000


def line(moment: str, content: str) -> bytes:
    return f'[2,"{moment}+00:00","{content}"]\n'.encode()


def test_lines_of_the_log_have_the_times_of_the_service(site: Site) -> None:
    lines = [line(f"2026-01-01T10:00:0{number}.500", f'it was \\"2026-01-01T10\\" {number}') for number in range(4)]
    behind = time.time() - 600
    site.look(behind, state=state(), log=coded(lines[0]))
    site.look(behind, state=state(align="SUCCEEDED", status="SUCCEEDED"), log=coded(*lines[1:], b"half a li"))

    log = (site.mirror.execution(ID) / spool.LOG).read_bytes()
    moved = [each.replace(b'[2,"2026-01-01T10:00:', b'[2,"2026-01-01T10:10:') for each in lines]
    assert log == b"".join([*moved, b"half a li"])


def coded(*lines: bytes) -> str:
    return base64.b64encode(b"".join(lines)).decode()


@pytest.mark.parametrize(
    "piece", [line("2026-01-01T10:00:00.500", "x" * 1000) * 500, b"\0" * 500_000], ids=["lines", "none"]
)
def test_a_log_that_something_else_has_lengthened_is_not_taken_whole(site: Site, piece: bytes) -> None:
    over = state(align="SUCCEEDED", status="SUCCEEDED")
    for _ in range(20):
        site.look(state=over, log=coded(piece), log_size=1 << 40)
    assert site.ends[ID].status is Status.SUCCEEDED
    assert site.looking.body([ID], 0, None)["executions"][ID]["rest"] is None
    log = (site.mirror.execution(ID) / spool.LOG).read_bytes()
    assert len(log) < 4 << 20
    assert b"The rest of the log is longer than the setting cwl.limits.log allows" in log.splitlines()[-1]
