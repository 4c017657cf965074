"""What may go wrong with Slurm while something runs there: what the user reads, and that nothing is lost or started
twice."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.processes import eventually
from tests.system import site_faults as faults
from tests.system.gated import PATIENCE, Gated, connect, job_of, runner
from tests.system.slurm_site import Site, SiteService, one_node

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "closed": ({"partition": "staff"}, "User's group not permitted to use this partition"),
    "unknown": ({"partition": "gpu"}, "nvalid partition"),
    "project": ({"partition": "main", "account": "biology"}, "Invalid account"),
}
"""What Slurm doesn't take, and its words for that."""

ENDED = {
    # How much it used, sacct or one of Slurm's own lines tells, whichever comes first.
    "memory": r"signal 9.*(it used .* MiB of 200 MiB|[Ee]xceeded (job )?memory limit)",
    "time": "was ended by the time limit",
    "cancelled": "was cancelled on the site",
}
"""What becomes of jobs that run, and an expression for what is read of it then."""

GROW = "exec python3 -c 'import time; x = b\"x\" * 900_000_000; time.sleep(60)'"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node(accounting=True) as site:
        # Bob may submit no jobs.
        site.said("sacctmgr", "-i", "modify", "user", site.bob.name, "set", "MaxSubmitJobs=0")
        yield site


@pytest.fixture(scope="module")
def service(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteService]:
    job: dict[str, Any] = {"runner": runner(site), "leader": "job"}
    sites = {"job": site.settings("cwltool", **job), "toil": site.settings("toil")}
    sites |= {f"{name}-job": site.settings("cwltool", **job, slurm=slurm) for name, (slurm, _) in REFUSED.items()}
    sites["limited"] = site.settings("cwltool", **job)
    sites["too-long"] = site.settings("cwltool", **job, slurm={"partition": "main", "time": "05:00:00"})
    sites["closed-toil"] = site.settings("toil", slurm=REFUSED["closed"][0])
    service = SiteService(tmp_path_factory.mktemp("service"), sites)
    try:
        service.start()
        connect(service, {name: site.bob if name == "limited" else site.alice for name in sites})
        yield service
    finally:
        service.end()


@pytest.fixture(scope="module", autouse=True)
def toil(service: SiteService, site: Site) -> dict[str, Gated]:
    """Executions with Toil, of which each step is a job. They are begun first, since Toil takes its time."""
    where = {"lasts": "toil", "requeued": "toil", "closed": "closed-toil"}
    return {name: Gated(service, site, each) for name, each in where.items()}


@pytest.fixture(scope="module")
def refused(service: SiteService, site: Site, toil: dict[str, Gated]) -> dict[str, Gated]:
    """Executions whose jobs Slurm doesn't take."""
    assert toil
    return {name: Gated(service, site, name) for name in (*(f"{name}-job" for name in REFUSED), "too-long", "limited")}


@pytest.fixture(scope="module")
def struck(service: SiteService, site: Site, refused: dict[str, Gated]) -> dict[str, tuple[Gated, str]]:
    """Executions in jobs, each of which was ended in another way, with the ids of the jobs."""
    assert refused
    then = {"memory": [GROW]}
    executions = {name: Gated(service, site, "job", *then.get(name, [])) for name in (*ENDED, "requeued")}
    found = {name: (execution.running(), job_of(site, execution)) for name, execution in executions.items()}
    site.slurmctld.stop()  # who forgets nothing meanwhile
    site.slurmctld.start()
    site.said("scontrol", "update", f"jobid={found['time'][1]}", "timelimit=0")
    site.said("scancel", found["cancelled"][1])
    site.said("scontrol", "requeue", found["requeued"][1])
    executions["memory"].let_go()
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_what_slurm_refuses_is_told_in_its_words(refused: dict[str, Gated], name: str) -> None:
    refused[f"{name}-job"].failed("Slurm refused the job of the runner", REFUSED[name][1], begun=0)


def test_a_limit_of_jobs_that_is_reached_is_told(refused: dict[str, Gated], site: Site) -> None:
    told = refused["limited"].says("takes no jobs at present", "AssocMaxSubmitJobLimit", "job submit limit")
    assert told["status"] == "PENDING"
    site.said("sacctmgr", "-i", "modify", "user", site.bob.name, "set", "MaxSubmitJobs=-1")
    refused["limited"].let_go()


def test_a_job_that_asks_for_too_much_time_waits_and_can_be_cancelled(refused: dict[str, Gated], site: Site) -> None:
    execution = refused["too-long"]
    job = job_of(site, execution)
    assert execution.says(f"Slurm job {job} waits, reason PartitionTimeLimit")["status"] == "PENDING"
    execution.client("DELETE", execution.path)
    assert execution.ended()["status"] == "CANCELLED"
    assert execution.begun == 0
    assert job not in site.queued()


@pytest.mark.parametrize("name", ENDED)
def test_how_a_job_was_ended_is_told(struck: dict[str, tuple[Gated, str]], name: str) -> None:
    execution, job = struck[name]
    told = execution.failed(f"Slurm job {job} ", begun=1)
    assert re.search(ENDED[name], told["reason"]), told["reason"]


def test_a_runner_is_not_put_back_into_the_queue(struck: dict[str, tuple[Gated, str]]) -> None:
    execution, _ = struck["requeued"]
    execution.succeeded_once()


def test_what_waited_for_a_limit_goes_on(refused: dict[str, Gated]) -> None:
    refused["limited"].succeeded_once()


def test_what_slurm_refuses_of_a_step_is_told_in_its_words(toil: dict[str, Gated]) -> None:
    toil["closed"].failed("Slurm refused a job of the execution", REFUSED["closed"][1], begun=0)


def test_a_step_whose_job_is_put_back_into_the_queue_and_ended_by_an_administrator(
    site: Site, toil: dict[str, Gated]
) -> None:
    execution = toil["requeued"].running()
    job = job_of(site, execution)
    site.said("scontrol", "requeue", job)
    execution.says(f"Slurm job {job} was put back into the queue by Slurm and will be started again")
    site.said("scontrol", "update", f"jobid={job}", "starttime=now")  # for which Slurm lets two minutes go by
    eventually(lambda: execution.begun == 2, PATIENCE)
    site.said("scancel", job)
    execution.failed(f"Step script failed: Slurm job {job} was cancelled", begun=2)


def test_the_controller_is_restarted_and_down_for_a_while(
    service: SiteService, site: Site, toil: dict[str, Gated]
) -> None:
    running = [toil["lasts"].running(), Gated(service, site, "job").running()]
    site.slurmctld.stop()
    site.slurmctld.start()
    with faults.stopped(site, "slurmctld"):
        late = [Gated(service, site, where) for where in ("job", "toil")]
        for execution in running:
            assert execution.says("Slurm", "answer")["status"] == "RUNNING"
        assert late[0].says("Slurm", "takes no jobs at present")["status"] == "PENDING"
        assert [execution.begun for execution in late] == [0, 0]
    for execution in (*running, *late):
        execution.succeeded_once()


def test_a_node_that_fails_takes_its_job_along_and_held_jobs_wait(service: SiteService, site: Site) -> None:
    execution = Gated(service, site, "job").running()
    job = job_of(site, execution)
    node = os.uname().nodename.partition(".")[0]
    site.said("scontrol", "update", f"nodename={node}", "state=down", "reason=broken")
    try:
        execution.failed(f"Slurm job {job} was ended by a failure of its node", begun=1)
        site.said("scontrol", "update", f"nodename={node}", "state=drain", "reason=broken")
        held = Gated(service, site, "job")
        waits = job_of(site, held)
        held.says(f"Slurm job {waits} waits")
        site.said("scontrol", "hold", waits)
        assert held.says(f"Slurm job {waits} waits: the site's administrators hold it")["status"] == "PENDING"
    finally:
        site.said("scontrol", "update", f"nodename={node}", "state=resume")
    site.said("scontrol", "release", waits)
    held.running().succeeded_once()
