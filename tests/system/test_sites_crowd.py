"""Many executions on one account, and two replicas of which one is killed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.sites import courier
from tests.e2e.processes import eventually
from tests.postgresql import PostgreSQL
from tests.service import Client
from tests.system.replicas import patiently
from tests.system.slurm_site import Site, SiteService, one_node

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

CROWD, JOBS = 200, 40
RUNNERS = {
    "held": ': <"$HOME/go"',  # until somebody opens that for writing: a loop of so many would take all of the machine
    "quick": "sleep 2",
}
RUNNER = """\
#!/bin/sh
# The least that a CWL runner does: says that it ran, works for a while, and has no outputs.
echo "$2" >>"$HOME/ran"
echo working >&2
{}
echo '{{"files": []}}'
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node(cpus=CROWD, memory=CROWD * 200) as site:
        for name, work in RUNNERS.items():
            runner = site.directory / name
            runner.write_text(RUNNER.format(work))
            runner.chmod(0o755)
        yield site


def small(site: Site, runner: str, **changes: Any) -> dict[str, Any]:
    """The site with a runner that takes little: a crowd of real ones wouldn't fit into this machine."""
    return site.settings(runner={"command": [str(site.directory / runner)]}, limits={"executions": CROWD}, **changes)


def started(client: Client, site: str, count: int) -> list[str]:
    """The paths of so many executions, triggered by several clients at once, each until there is an answer."""

    def trigger(number: int) -> str:
        body = {"site": site, "inputs": {"script": f"echo {number}"}}
        headers = {"Idempotency-Key": f"{site}-{number}-{os.getpid()}"}
        answer = patiently(lambda: client("POST", "/workflows/script", json=body, headers=headers))
        assert answer.status_code in (200, 201), answer.text
        return str(answer.headers["Location"])

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(trigger, range(count)))


def all_ended(client: Client, paths: list[str], within: float) -> dict[str, Any]:
    """Waits for the ends of many, by few requests."""
    left = set(paths)
    ended: dict[str, Any] = {}
    deadline = time.monotonic() + within
    while left:
        for path in sorted(left):
            execution = patiently(lambda: client("GET", path)).json()  # noqa: B023
            if execution["status"] not in ("SUCCEEDED", "FAILED", "CANCELLED"):
                break
            ended[path] = execution
            left.discard(path)
        assert time.monotonic() < deadline, f"{len(left)} aren't over: {execution}"
        time.sleep(0.2)
    return ended


def ran(site: Site) -> list[str]:
    """What the runner was started for."""
    file = site.alice.home / "ran"
    return file.read_text().splitlines() if file.exists() else []


def test_two_hundred_at_once_take_one_connection_and_few_commands(site: Site, tmp_path: Path) -> None:
    gate = site.alice.home / "go"
    os.mkfifo(gate)
    os.chown(gate, site.alice.uid, site.alice.uid)
    with contextlib.ExitStack() as stack:
        service = SiteService(tmp_path, {"login": small(site, "held", scheduler="none", slurm={})})
        stack.callback(site.end_processes)
        stack.callback(service.end)
        service.start()
        service.connect("alice", "login", site.alice)
        crowd(service.as_user("alice"), site, gate)


def crowd(alice: Client, site: Site, gate: Path) -> None:
    connections, began = site.connections(site.alice), time.monotonic()
    paths = started(alice, "login", CROWD)
    eventually(lambda: len(ran(site)) == CROWD, 200, least=0.2)
    # All of them run; one is followed.
    assert patiently(lambda: alice("GET", f"{paths[-1]}/logs", params={"from": 0, "timeout": "60s"})).json()["logs"]
    with gate.open("w"):
        ended = all_ended(alice, paths, 200)
    took = time.monotonic() - began

    assert {execution["status"] for execution in ended.values()} == {"SUCCEEDED"}
    assert len(ran(site)) == len(set(ran(site))) == CROWD
    assert site.connections(site.alice) - connections == 1
    # The first contact and what it writes, what an account causes at once, and then one in two seconds at most.
    assert site.commands(site.alice) <= 2 + courier.BURST + 0.5 * took


def test_when_a_replica_is_killed_the_other_goes_on_with_its_executions(site: Site, tmp_path: Path) -> None:
    with PostgreSQL() as database, contextlib.ExitStack() as stack:
        first = SiteService(tmp_path / "first", {"job": small(site, "quick", leader="job")})
        first.settings["store"] = {"url": database.url}
        second = SiteService(tmp_path / "second", {})
        second.settings = first.settings
        (tmp_path / "shared").mkdir()
        for service in (first, second):  # as on two machines
            service.variables |= {"HWA_SHARED_DIR": str(tmp_path / "shared"), "HWA_MACHINE": service.home.name}
            service.variables["HWA_CWL_CATALOGUE"] = str(first.catalogue)
        for service in (first, second):
            stack.callback(service.end)
            service.start()
        first.connect("alice", "job", site.alice)
        clients = [service.as_user("alice") for service in (first, second)]
        before, submitted = len(ran(site)), len(site.submitted())
        with ThreadPoolExecutor(1) as pool:
            triggering = pool.submit(started, clients[1], "job", JOBS)
            eventually(lambda: len(ran(site)) - before > 5, 60)
            first.kill("master", "worker")
            paths = triggering.result()
        eventually(lambda: len(ran(site)) - before > 20, 60)
        first.start()
        second.kill("master", "worker")
        ended = all_ended(first.as_user("alice"), paths, 120)
    assert {execution["status"] for execution in ended.values()} == {"SUCCEEDED"}
    assert len(ran(site)) - before == len(set(ran(site)[before:])) == JOBS
    assert len(site.submitted()) - submitted == JOBS
    (site.alice.home / "ran").unlink()
