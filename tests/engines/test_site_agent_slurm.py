"""The agent of a site in front of a scheduler: the job of the runner, and those that a runner leaves behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.engines.agents import Site, gone
from tests.engines.fake_slurm import Slurm
from tests.waiting import until

DONE = "echo '{}'\n"
TOIL = """\
#!/bin/bash
for word; do
  case $word in
    --writeMessages=*) messages=${word#*=};;
    --slurmArgs=*) args=${word#*=};;
    --jobStore=file:*) store=${word#*:};;
  esac
done
echo "$@" >&2
mkdir -p "$store"
job=$(sbatch $args --job-name=toil_job_2_x /dev/null)
printf 'toil.bus.JobIssuedMessage\\tmain.cwl\\tkind-CWLWorkflow/a\\t1\\n' > "$messages"
printf 'toil.bus.JobIssuedMessage\\tmain.cwl.one.tool.cwl\\tkind-CWLJob/b\\t2\\n' >> "$messages"
printf "toil.bus.ExternalBatchIdMessage\\t2\\t$job\\tSlurmBatchSystem\\n" >> "$messages"
touch ../up
trap '' TERM
until [ -e ../go ]; do sleep 0.05; done
"""
IN_A_JOB: dict[str, Any] = {"leader": "job", "scheduler": "slurm", "slurm": {"time": "01:00:00", "cores": 2}}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


@pytest.fixture
def slurm(site: Site) -> Slurm:
    return Slurm(site)


def toil(site: Site, **changes: Any) -> str:
    """Starts an execution of a runner that behaves like Toil, and waits for its job."""
    site.program("toil-cwl-runner", TOIL)
    request = {"kind": "toil", "command": ["toil-cwl-runner"], "scheduler": "slurm", "arguments": ["--mine"], **changes}
    identifier = site.start(**request)
    until(lambda: bool(site.look(identifier)["jobs"]), 60)
    return identifier


def test_the_runner_in_a_job(site: Site, slurm: Slurm) -> None:
    slurm.set("hold")
    order = site.order(
        "touch ../up; until [ -e ../go ]; do sleep 0.05; done; echo $SLURM_JOB_ID >&2; " + DONE, **IN_A_JOB
    )
    assert site.do("start", executions=[order])["executions"] == {order["id"]: {"started": True}}
    found = site.look(order["id"])
    assert (found["state"], found["alive"], found["leader_job"]) == (None, None, "101")
    assert site.do("start", executions=[order])["executions"] == {order["id"]: {"started": False}}
    arguments = slurm.arguments("101")
    assert f"--comment=hpcwaas:{order['id']} --job-name=hpcwaas-{order['id']}" in arguments
    assert "--time=01:00:00 --cpus-per-task=2" in arguments
    assert "--partition" not in arguments

    slurm.set("hold", None)
    other = site.start("echo $SLURM_JOB_ID >&2; " + DONE, **IN_A_JOB)

    state = site.finished(other)
    assert (state["status"], state["leader_job"]) == ("SUCCEEDED", "102")
    assert site.log(other) == ["102"]
    assert site.do("cancel", ids=[order["id"]])["executions"][order["id"]]["over"] is True
    assert slurm.cancelled() == ["101"]
    assert site.state(order["id"])["reason"] == "Cancelled on request before it began."


def test_a_job_that_is_refused(site: Site, slurm: Slurm) -> None:
    slurm.set(
        "refuse", "sbatch: error: Batch job submission failed: Invalid account or account/partition combination\n"
    )
    identifier = site.start(DONE, **IN_A_JOB)

    state = site.state(identifier)

    assert state["status"] == "FAILED"
    assert state["reason"] == (
        "Slurm refused the job of the runner: Batch job submission failed: Invalid account or account/partition "
        "combination"
    )
    assert [step["status"] for step in state["steps"]] == ["SKIPPED", "SKIPPED"]


def test_a_scheduler_that_is_not_there(site: Site, slurm: Slurm) -> None:
    (site.home / "bin" / "sbatch").unlink()
    site.path = f"{site.home}/bin:{site.home}/tools"
    (site.home / "tools").mkdir()
    for name in ("bash", "sh"):
        (site.home / "tools" / name).symlink_to(f"/bin/{name}")
    identifier = site.start(DONE, **IN_A_JOB)

    assert site.state(identifier)["reason"] == (
        "The program sbatch was not found on the site; the site has no prologue that could bring it."
    )


def test_a_controller_that_is_away_for_a_while(site: Site, slurm: Slurm) -> None:
    slurm.set(
        "refuse", "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    )
    order = site.order(DONE, **IN_A_JOB)
    error = site.do("start", executions=[order])["executions"][order["id"]]["error"]
    assert (error["kind"], error["path"]) == ("later", "sbatch")
    assert "Unable to contact slurm controller" in error["detail"]
    slurm.set("silent")
    error = site.do("start", executions=[order])["executions"][order["id"]]["error"]
    assert (error["kind"], error["path"]) == ("later", "squeue")

    slurm.set("refuse", None)
    slurm.set("silent", None)

    assert site.do("start", executions=[order])["executions"] == {order["id"]: {"started": True}}
    assert site.finished(order["id"])["status"] == "SUCCEEDED"
    assert slurm.submitted() == ["101"]


def limited(name: str) -> str:
    """What sbatch says of a limit."""
    return (
        f"Loading gcc/12\nsbatch: error: {name}\nsbatch: error: Batch job submission failed: Job violates "
        "accounting/QOS policy (job submit limit, user's size and/or time limits)\n"
    )


def test_a_limit_of_jobs_that_is_reached_is_waited_for(site: Site, slurm: Slurm) -> None:
    slurm.set("refuse", limited("AssocMaxSubmitJobLimit"))
    order = site.order(DONE, **IN_A_JOB)
    error = site.do("start", executions=[order])["executions"][order["id"]]["error"]
    assert error["kind"] == "later"
    assert error["detail"].startswith(
        "Slurm took no job: AssocMaxSubmitJobLimit; Batch job submission failed: Job violates accounting/QOS policy"
    )
    slurm.set("refuse", None)
    assert site.do("start", executions=[order])["executions"] == {order["id"]: {"started": True}}
    assert site.finished(order["id"])["status"] == "SUCCEEDED"


def test_a_limit_that_no_waiting_helps_is_told(site: Site, slurm: Slurm) -> None:
    slurm.set("refuse", limited("QOSMaxWallDurationPerJobLimit"))
    state = site.state(site.start(DONE, **IN_A_JOB))
    assert state["status"] == "FAILED"
    assert "QOSMaxWallDurationPerJobLimit; Batch job submission failed: Job violates" in state["reason"]


def test_an_answer_of_sbatch_that_was_lost(site: Site, slurm: Slurm) -> None:
    slurm.set("hold")
    slurm.set("lose")
    order = site.order(DONE, **IN_A_JOB)
    assert site.do("start", executions=[order])["executions"][order["id"]]["error"]["kind"] == "later"

    assert site.do("start", executions=[order])["executions"] == {order["id"]: {"started": True}}

    assert site.look(order["id"])["leader_job"] == "101"
    assert slurm.submitted() == ["101"]
    site.do("cancel", ids=[order["id"]])


def test_cancelling_ends_what_the_runner_leaves(site: Site, slurm: Slurm) -> None:
    slurm.set("hold")
    identifier = toil(site, arguments=["--mine", "--slurmArgs=--qos=fast"])
    strange = "999"
    slurm.set(f"job.{strange}", "hpcwaas:somebody-else|x")
    slurm.set("deaf.101")

    site.do("cancel", ids=[identifier])

    state = site.finished(identifier)
    assert (state["status"], state["jobs_left"]) == ("CANCELLED", [])
    assert slurm.cancelled() == ["101", "101"]
    assert slurm.jobs() == [strange]
    line = site.log(identifier)[0]
    assert "--slurmArgs=--comment=hpcwaas:" in line
    assert "--qos=fast" in slurm.arguments("101")
    assert site.look(identifier)["jobs"] == [{"id": "101", "step": "one", "name": "main.cwl.one.tool.cwl"}]


def test_a_dead_supervisor_leaves_no_job(site: Site, slurm: Slurm) -> None:
    slurm.set("hold")
    identifier = toil(site)
    claim = site.claim(identifier)
    os.kill(claim["pid"], signal.SIGKILL)
    until(lambda: gone(claim["pid"]))

    end = {"status": "FAILED", "reason": "It died."}
    assert site.do("bury", executions={identifier: end})["executions"] == {
        identifier: {"buried": True, "jobs_left": []}
    }

    assert slurm.jobs() == []
    assert slurm.cancelled() == ["101"]


def test_what_failed_goes_on_once_for_each_attempt(site: Site, slurm: Slurm) -> None:
    slurm.set("hold")
    identifier = toil(site)
    assert (
        site.do("resume", executions={identifier: 2})["executions"][identifier]["error"]["detail"]
        == "it has not failed"
    )
    site.do("cancel", ids=[identifier])
    site.finished(identifier)

    answers = [site.do("resume", executions={identifier: 2})["executions"][identifier] for _ in range(2)]

    assert answers == [{"started": True}, {"started": False}]
    assert site.state(identifier)["attempt"] == 2
    until(lambda: bool(site.look(identifier)["jobs"]), 60)
    (site.directory(identifier) / "work" / "go").touch()
    state = site.finished(identifier)
    assert state["reason"] == "The runner succeeded, but what it wrote to standard output is not a CWL output object."
    runs = [line for line in site.log(identifier) if "--writeMessages" in line]
    assert ["--restart" in line for line in runs] == [False, True]
    assert slurm.submitted() == ["101", "102"]


def test_what_left_nothing_to_go_on_with(site: Site, slurm: Slurm) -> None:
    identifier = site.start("exit 1\n")
    site.finished(identifier)

    error = site.do("resume", executions={identifier: 2})["executions"][identifier]["error"]

    assert error["detail"] == "nothing is left of it to go on with"


def test_the_runners_job_asks_for_its_own_time(site: Site, slurm: Slurm) -> None:
    slurm.set("hold")
    request: dict[str, Any] = {**IN_A_JOB, "leader_slurm": {"time": "2-00:00:00"}}
    site.start(DONE, **request)
    assert "--time=2-00:00:00" in slurm.arguments("101")
    assert "--cpus-per-task" not in slurm.arguments("101")


TIMED = """\
#!/bin/bash
for word; do
  case $word in --writeMessages=*) messages=${{word#*=}};; esac
done
printf 'x.JobIssuedMessage\\tmain.cwl\\tkind-CWLWorkflow/a\\t1\\n' > "$messages"
sbatch -J toil_job_2_main.cwl.two.tool.cwl {time} --wrap=true >&2
sbatch {time} /dev/null >&2
[ -z '{wait}' ] || until [ -e ../go ]; do sleep 0.05; done
echo '{{}}'
"""


def test_a_step_that_asks_for_more_time_than_is_allowed_when_it_runs(site: Site, slurm: Slurm) -> None:
    request: dict[str, Any] = {"kind": "toil", "command": ["toil-cwl-runner"], "scheduler": "slurm", "most_time": 3600}
    request["prologue"] = f"PATH={site.home}/bin:$PATH"  # as of a module of Slurm
    request["steps"] = [{"name": name, "processes": ["tool.cwl"], "scatter": False} for name in ("one", "two")]
    site.program("toil-cwl-runner", TIMED.format(time="--time=0:7200", wait="yes"))
    state = site.finished(site.start(**request))
    assert state["reason"] == "Step two failed: it asks for a time of 02:00:00, and the site allows 01:00:00"
    assert [step["status"] for step in state["steps"]] == ["SKIPPED", "FAILED"]
    assert not [job for job in slurm.submitted() if "toil_job" in slurm.arguments(job)]

    for time, given in (("--time=0:3600", "--time=0:3600"), ("", "--time=0:3600")):
        site.program("toil-cwl-runner", TIMED.format(time=time, wait=""))
        assert site.finished(site.start(**request))["status"] == "SUCCEEDED"
        first, second = slurm.submitted()[-2:]
        assert given in slurm.arguments(first)
        # What a tool submits itself is its own affair.
        assert slurm.arguments(second).split() == [*([time] if time else []), "/dev/null"]


def test_what_there_is_to_say_of_resources_begins_the_log(site: Site) -> None:
    identifier = site.start("echo hello >&2; " + DONE, remarks=["Step one: it is known only when it runs."])
    site.finished(identifier)
    assert site.log(identifier) == ["Step one: it is known only when it runs.", "hello"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("Invalid partition name specified", "FAILED"),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", "RUNNING"),
    ],
)
def test_jobs_of_steps_that_are_refused(site: Site, slurm: Slurm, words: str, status: str) -> None:
    site.program(
        "toil-cwl-runner",
        f'#!/bin/bash\necho "sbatch: error: Batch job submission failed: {words}" >&2\n'
        "until [ -e ../go ]; do sleep 0.05; done\n",
    )
    identifier = site.start(kind="toil", command=["toil-cwl-runner"], scheduler="slurm")

    until(lambda: bool(site.state(identifier)["reason"]), 60)

    assert site.state(identifier)["reason"] == f"Slurm refused a job of the execution: {words}."
    assert site.state(identifier)["status"] == status
    if status == "RUNNING":
        (site.directory(identifier) / "work" / "go").touch()
    site.finished(identifier)
