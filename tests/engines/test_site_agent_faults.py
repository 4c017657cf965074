"""The agent of a site when something goes wrong: what is told, and that nothing is done twice."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.sites.agent.answers import trouble
from hpcwaas.engines.cwl.sites.agent.execution import Execution
from hpcwaas.engines.cwl.sites.agent.starting import make
from hpcwaas.engines.cwl.sites.agent.supervisor import FULL, PURGED
from tests.engines.agents import Site, answer_in, gone, tar_of
from tests.waiting import until

DONE = "echo '{}'\n"
WAIT = "touch ../up; until [ -e ../go ]; do sleep 0.05; done; echo '{}'\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site") / "home")


@pytest.fixture(scope="module", params=["size=4m", "size=16m,nr_inodes=100"], ids=["bytes", "inodes"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a small disk."""
    if os.geteuid() != 0:
        pytest.fail("run as root: a small disk has to be mounted")
    place: Path = tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", place], check=True)
    yield Site(place / "home")
    subprocess.run(["umount", "-l", place], check=True)


def kill_supervisor(site: Site, identifier: str) -> None:
    """Kills who supervises an execution, and waits until that is seen."""
    pid = site.claim(identifier)["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))


def test_a_start_that_is_killed_at_any_moment_is_completed_by_the_next(site: Site) -> None:
    chance = random.Random(7)  # noqa: S311  (no secret)
    for _ in range(6):
        order = site.order("echo begun >&2; " + DONE)
        first = site.popen("start", executions=[order])
        assert first.stdin
        first.stdin.close()
        time.sleep(chance.uniform(0.05, 0.35))
        first.kill()
        first.wait()
        for stream in (first.stdout, first.stderr):
            assert stream
            stream.close()

        answer = site.do("start", executions=[order])["executions"][order["id"]]
        assert answer in ({"started": True}, {"started": False})
        assert site.finished(order["id"])["status"] == "SUCCEEDED"
        assert site.log(order["id"]).count("begun") == 1
    assert [path.name for path in (site.root / "executions").iterdir() if path.name.startswith("..")] == []


def test_a_supervisor_that_died_before_it_began_is_replaced(site: Site) -> None:
    order = site.order(DONE)
    identifier = order["id"]
    site.do("start", executions=[order])
    assert site.finished(identifier)["status"] == "SUCCEEDED"
    (site.directory(identifier) / "state.json").unlink()  # as if it had been killed right after its claim

    assert site.do("start", executions=[order])["executions"] == {identifier: {"started": True}}
    assert site.finished(identifier)["status"] == "SUCCEEDED"


def test_a_machine_that_was_restarted(site: Site) -> None:
    identifier = site.start(WAIT)
    site.running(identifier, "up")
    path = site.directory(identifier) / "supervisor.json"
    found = site.claim(identifier)
    assert site.look(identifier)["alive"] is True

    path.write_text(json.dumps({**found, "boot_id": "another"}))
    assert site.look(identifier)["alive"] is False
    path.write_text(json.dumps({**found, "start": 1}))  # its number belongs to another process now
    assert site.look(identifier)["alive"] is False
    path.write_text(json.dumps({**found, "node": "login2"}))
    assert site.look(identifier)["alive"] is True  # its beat is fresh
    os.utime(path, (time.time() - 300, time.time() - 300))
    assert site.look(identifier)["alive"] is None
    os.utime(path, (time.time() - 3000, time.time() - 3000))
    assert site.look(identifier)["alive"] is False
    path.write_text(json.dumps({**found, "node": "node17", "job": "42"}))
    os.utime(path, (time.time() - 3000, time.time() - 3000))
    assert site.look(identifier)["alive"] is None  # its scheduler knows

    path.write_text(json.dumps(found))
    (site.directory(identifier) / "work" / "go").touch()
    assert site.finished(identifier)["status"] == "SUCCEEDED"


def test_what_ran_is_ended_when_its_supervisor_is_dead(site: Site) -> None:
    identifier = site.start("(env -i HOME=$PWD sleep 1000 &)\ntouch ../up; sleep 1000\n")
    site.running(identifier, "up")
    kill_supervisor(site, identifier)

    answer = site.do("cancel", ids=[identifier])["executions"][identifier]

    assert answer == {"buried": True, "jobs_left": [], "over": True}
    assert site.state(identifier)["status"] == "CANCELLED"
    assert site.log(identifier)[-1] == "Cancelled on request."
    again = {identifier: {"status": "FAILED", "reason": "It died."}}
    assert site.do("bury", executions=again)["executions"] == {identifier: {"buried": True, "jobs_left": []}}
    assert site.state(identifier)["status"] == "CANCELLED"


def test_one_that_lives_is_not_buried(site: Site) -> None:
    identifier = site.start(WAIT)
    site.running(identifier, "up")

    answer = site.do("bury", executions={identifier: {"status": "FAILED", "reason": "It died."}})

    assert answer["executions"][identifier]["error"]["detail"] == "its supervisor lives"
    (site.directory(identifier) / "work" / "go").touch()
    assert site.finished(identifier)["status"] == "SUCCEEDED"


def test_one_that_lives_unseen_ends_when_it_is_buried(site: Site) -> None:
    identifier = site.start(WAIT)
    site.running(identifier, "up")
    path = site.directory(identifier) / "supervisor.json"
    found = site.claim(identifier)
    path.write_text(json.dumps({**found, "node": "login2"}))
    os.utime(path, (1, 1))

    end = {"status": "FAILED", "reason": "Nobody has heard of it."}
    assert site.do("bury", executions={identifier: end})["executions"][identifier]["buried"] is True
    until(lambda: gone(found["pid"]))

    assert (site.state(identifier)["status"], site.state(identifier)["reason"]) == tuple(end.values())


def test_one_that_was_buried_before_it_began_never_begins(site: Site) -> None:
    order = site.order(DONE)
    make(Execution(str(site.root), order["id"]), order["request"], order["job"])
    assert site.look(order["id"])["alive"] is False

    site.do("cancel", ids=[order["id"]])

    state = site.state(order["id"])
    assert (state["status"], state["reason"]) == ("CANCELLED", "Cancelled on request before it began.")
    assert site.do("start", executions=[order])["executions"] == {order["id"]: {"started": False}}


def test_files_that_vanish_in_mid_run(site: Site) -> None:
    identifier = site.start(WAIT)
    site.running(identifier, "up")
    pid = site.claim(identifier)["pid"]
    assert isinstance(pid, int)

    shutil.rmtree(site.directory(identifier))
    until(lambda: gone(pid), 60)

    state = site.look(identifier)["state"]
    assert (state["status"], state["reason"]) == ("FAILED", PURGED)
    assert [step["status"] for step in state["steps"]] == ["SKIPPED", "SKIPPED"]


def test_what_there_is_not(site: Site) -> None:
    nobody = "0" * 32
    assert site.look(nobody)["exists"] is False
    assert site.do("cancel", ids=[nobody])["executions"] == {nobody: {"exists": False}}
    assert site.do("resume", executions={nobody: 2})["executions"] == {nobody: {"missing": {}}}
    site.program("squeue", "#!/bin/sh\n")
    end = {"status": "FAILED", "reason": "It died."}
    assert site.do("bury", executions={nobody: end})["executions"] == {
        nobody: {"buried": True, "exists": False, "jobs_left": []}
    }
    assert site.do("remove", ids=[nobody]) == {"removed": [nobody]}
    assert site.do("cancel", ids=["../x"])["error"]["kind"] == "failed"


def test_limits_of_log_and_time(site: Site) -> None:
    talk = site.start("while :; do echo 'a line of a few words that is repeated'; done >&2\n", log=20_000)
    slow = site.start("sleep 1000\n", time=1.0)

    state = site.finished(talk)
    assert (state["status"], state["reason"]) == (
        "FAILED",
        "The execution wrote more than 19.53 KiB of log; the limit is the setting cwl.limits.log.",
    )
    assert (site.directory(talk) / "log.jsonl").stat().st_size < 21_000
    assert site.finished(slow)["reason"] == (
        "The execution ran for more than 1 seconds; the limit is the setting cwl.limits.time, or the workflow's "
        "time_limit."
    )


def test_a_full_disk(small: Site) -> None:
    many = os.statvfs(small.root).f_files < 1000
    fill = "i=0; while touch f$i; do i=$((i+1)); done" if many else "cat /dev/zero > big"
    identifier = small.start(f"{fill}\nfor i in $(seq 3000); do echo line $i >&2; done; exit 3\n")

    state = small.finished(identifier)

    assert state["status"] == "FAILED"
    assert "disk of the site" in state["reason"]
    assert not (small.directory(identifier) / "work").exists()
    assert small.finished(small.start(DONE))["status"] == "SUCCEEDED"


def test_a_quota_of_a_kind(site: Site) -> None:
    process = site.popen("start", executions=[site.order("for i in $(seq 9000); do echo line $i >&2; done\n")])
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (80_000, 80_000))
    (identifier,) = answer_in(process.communicate(timeout=60)[0])["executions"]

    state = site.finished(identifier)

    assert (state["status"], state["reason"]) == ("FAILED", FULL)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EDQUOT, "full"),
        (errno.ENOSPC, "full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "denied"),
        (errno.ENOENT, "missing"),
        (errno.EIO, "failed"),
    ],
)
def test_what_errors_of_the_system_are_called(number: int, kind: str) -> None:
    told = trouble(OSError(number, os.strerror(number), "/x")).answer["error"]
    assert told == {"kind": kind, "path": "/x", "detail": os.strerror(number)}


def test_a_work_directory_that_can_only_be_read(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("run as root: a disk has to be mounted")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    try:
        site = Site(place / "home")
        order = site.order(DONE)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        answer = site.do("start", executions=[order])["executions"][order["id"]]
        probed = site.do("probe", make=True)
    finally:
        subprocess.run(["umount", "-l", place], check=True)

    assert answer["error"]["kind"] == "read-only"
    assert probed["writable"]["kind"] == "read-only"


def test_an_archive_unpacks_to_plain_files_inside(site: Site) -> None:
    good = site.send(tar_of({"a/b.txt": b"b", "./c": b"c"}))
    bad = site.send(tar_of({"../../escaped": b"x"}))
    broken = site.send(b"no archive")
    digests = [good, bad, broken]
    assert site.do("start", accept={"content": digests})["accepted"] == digests

    found = [
        site.start(
            "cat inputs/0/d/a/b.txt inputs/0/d/c ../../inputs/0/d/c >&2; " + DONE,
            inputs=[{"sha256": digest, "target": "inputs/0/d", "unpack": "tar"}],
        )
        for digest in digests
    ]

    assert site.finished(found[0])["status"] == "SUCCEEDED"
    assert site.log(found[0])[-1] == "c"
    reasons = [site.finished(identifier)["reason"] for identifier in found[1:]]
    assert reasons[0] == "The archive for the input d can't be unpacked: '../../escaped' is no path inside it."
    assert reasons[1].startswith("The archive for the input d can't be unpacked: it is damaged")
    assert not (site.root / "executions" / "escaped").exists()


def test_the_prologue(site: Site) -> None:
    site.program("runner", "#!/bin/sh\nexit 1\n")
    other = site.home / "other"
    other.mkdir()
    shutil.copy(site.home / "bin" / "runner", other / "special")
    (other / "special").write_text('#!/bin/bash\necho "$MODULE $# $1" >&2\necho "{}"\n')

    good = site.start(command=["special"], prologue=f"echo loaded\nexport MODULE='a b'\nPATH={other}:$PATH\n")
    bad = site.start(command=["special"], prologue="echo module: no such module >&2\nfalse\n")
    gone = site.start(command=["special"], prologue="exit 0\n")
    missing = site.start(command=["special"], prologue="true")
    alone = site.start(command=["special"])

    assert site.finished(good)["status"] == "SUCCEEDED"
    assert site.log(good) == ["loaded", "a b 4 --outdir"]
    assert site.finished(bad)["reason"] == "The site's prologue failed with status 1: module: no such module"
    assert site.finished(gone)["reason"] == "The site's prologue failed with status 0."
    assert site.finished(missing)["reason"] == (
        "The runner special was not found on the site after the site's prologue."
    )
    assert site.finished(alone)["reason"] == (
        "The runner special was not found on the site; the site has no prologue that could bring it."
    )
