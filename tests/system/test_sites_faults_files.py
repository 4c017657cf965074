"""What may be wrong with files, programs and settings of a site while something runs there: what the user reads, and
that nothing is lost or started twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from examples.slurm.logins import Login
from tests.e2e.processes import eventually, log_text
from tests.service import Client
from tests.system import site_faults as faults
from tests.system.gated import PATIENCE, Gated, check, connect, runner
from tests.system.slurm_site import Site, SiteService, one_node

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DISKS = ("full", "quota", "read-only", "filling")
"""Accounts whose home takes no more: at once, or later."""

CLOCKS = {"behind": -600, "ahead": 600}
"""Accounts whose clock is wrong, and by how many seconds."""

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
ODD_USERS = (
    *("-oProxyCommand=touch /tmp/pwned", "a b", "a;b", "'", '"', "$(id)", "../..", "\u202e", "é", "x" * 300, "a\nb"),
    *("root@else", "root", "nobody"),
)
ODD = 'it\'s a "file" $(touch pwned); *? é\u202e\u2013 `id`.txt'


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node(names=("alice", "purged", *DISKS, *CLOCKS)) as site:
        yield site


@pytest.fixture(scope="module")
def logins(site: Site) -> dict[str, Login]:
    return dict(zip(("alice", "purged", *DISKS, *CLOCKS), site.logins, strict=True))


@pytest.fixture(scope="module")
def service(site: Site, logins: dict[str, Login], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteService]:
    login = {"runner": runner(site), "scheduler": "none", "slurm": {}}
    job = {"runner": runner(site), "leader": "job"}
    sites: dict[str, tuple[str, dict[str, Any]]] = {name: (name, login) for name in DISKS}
    for kind, changes in {"login": login, "job": job}.items():
        sites |= {f"{name}-{kind}": (name, changes) for name in ("purged", *CLOCKS)}
        sites[f"no-runner-{kind}"] = ("alice", changes | {"runner": {"command": ["cwl-of-tomorrow"]}})
        sites[f"removed-{kind}"] = ("alice", changes)
    sites["no-python"] = ("alice", login | {"python": "python-of-tomorrow"})
    sites["odd"] = ("alice", {"leader": "job", "work_dir": "{home}/a place/é"})
    sites["login"] = ("alice", login)
    service = SiteService(
        tmp_path_factory.mktemp("service"),
        {name: site.settings("cwltool", **changes) for name, (_, changes) in sites.items()},
    )
    with ExitStack() as stack:
        stack.callback(service.end)
        service.start()
        connect(service, {name: logins[login] for name, (login, _) in sites.items()})
        for name, seconds in CLOCKS.items():
            # What else that library puts into the environment would be of no use in a job.
            passed = "SBATCH_EXPORT=LD_PRELOAD,FAKETIME,FAKETIME_NO_CACHE,SLURM_CONF,HOME,PATH"
            variables = f"LD_PRELOAD={FAKETIME} FAKETIME={seconds:+d} FAKETIME_NO_CACHE=1 {passed}"
            logins[name].write(".bashrc", f"export {variables}\n")
        for name, mib in (("full", 4), ("read-only", 512), ("filling", 24)):
            stack.enter_context(faults.home(logins[name], mib))
        stack.enter_context(faults.over_quota(site, 4, logins["quota"]))
        faults.remount(logins["read-only"], "ro")
        yield service


@pytest.fixture
def alice(service: SiteService) -> Client:
    return service.as_user("alice")


@pytest.fixture(scope="module", autouse=True)
def begun(service: SiteService, site: Site) -> dict[str, Gated]:
    """What may run while others are looked at."""
    then = {"filling": "head -c 40000000 /dev/zero >big.txt"}
    where = [*service.settings["sites"]]
    for each in ("odd", "login"):
        where.remove(each)
    large = service.as_user("alice").upload("large.bin", os.urandom(9_000_000))
    given = {"full": [large], "quota": [large]}
    return {"done": Gated(service, site, "purged-login")} | {
        each: Gated(service, site, each, then.get(each, "echo done >out.txt"), given=given.get(each, []))
        for each in where
    }


@pytest.mark.parametrize("name", ["full", "quota"])
def test_a_disk_that_takes_nothing_is_named(begun: dict[str, Gated], name: str) -> None:
    begun[name].failed(
        f"There is no room for large.bin on {name}", "the disk is full, or the quota of the account is used up", begun=0
    )


def test_a_disk_that_can_only_be_read_is_waited_for(
    alice: Client, begun: dict[str, Gated], logins: dict[str, Login]
) -> None:
    told = begun["read-only"].says(str(logins["read-only"].home), "can only be read at present")
    assert told["status"] == "PENDING"
    faults.remount(logins["read-only"], "rw")
    check(alice, "read-only")
    begun["read-only"].running().succeeded_once()


def test_a_disk_that_fills_up_while_it_runs(begun: dict[str, Gated]) -> None:
    begun["filling"].running().let_go()
    begun["filling"].failed("full", begun=1)


@pytest.mark.parametrize("where", ["no-runner-login", "no-runner-job"])
def test_a_runner_that_is_missing_is_named(begun: dict[str, Gated], where: str) -> None:
    begun[where].failed("cwl-of-tomorrow", "not found", begun=0)


@pytest.mark.parametrize("name", CLOCKS)
@pytest.mark.parametrize("kind", ["login", "job"])
def test_the_clock_of_the_site_is_ten_minutes_off(begun: dict[str, Gated], name: str, kind: str) -> None:
    execution = begun[f"{name}-{kind}"].running()
    before = execution.now
    execution.succeeded_once()
    ended = execution.now
    assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"], ended
    assert before["started_at"] == ended["started_at"]
    page = execution.client("GET", f"{execution.path}/logs", params={"size": -1, "timeout": "0"}).json()
    begin, *lines, end = map(
        datetime.fromisoformat, [ended["created_at"], *(line["timestamp"] for line in page["logs"]), ended["ended_at"]]
    )
    assert lines
    assert {moment for moment in lines if abs(moment - begin) > end - begin + timedelta(minutes=1)} == set()


def test_a_purged_work_directory_is_told(
    service: SiteService, site: Site, alice: Client, begun: dict[str, Gated], logins: dict[str, Login]
) -> None:
    done = begun["done"]
    done.succeeded_once()
    for where in ("purged-login", "purged-job"):
        begun[where].running()
    shutil.rmtree(logins["purged"].home / ".hpcwaas")
    for where in ("purged-login", "purged-job"):
        begun[where].failed("removed", "purge", begun=1)
    eventually(lambda: f"hpcwaas:{begun['purged-job'].id}" not in site.said("squeue", "--noheader", "--format=%k"))
    lost = alice("GET", f"{done.path}/outputs/files", params={"path": "0"})
    assert lost.status_code == 404, lost.text
    assert "The file out.txt of the outputs is gone" in lost.json()["detail"]
    # The next ones find everything made again.
    after = [Gated(service, site, where) for where in ("purged-login", "purged-job")]
    for execution in after:
        execution.let_go()
    for execution in after:
        execution.succeeded_once()


@pytest.mark.parametrize("where", ["login", "odd"])
def test_odd_names_of_files_stay_what_they_are(service: SiteService, site: Site, alice: Client, where: str) -> None:
    upload = alice.upload(ODD, b"content\n")
    dashed = alice.upload("-rf", b"more\n")
    script = 'cat -- "$0" "$1" >"copy of $(basename -- "$0")"'
    path = service.start_on(alice, where, "script", script=script, given=[upload, dashed])
    ended = alice.finished(path, within=PATIENCE)
    assert ended["status"] == "SUCCEEDED", (ended, log_text(alice, path))
    assert ended["outputs"]["files"][0]["basename"] == f"copy of {ODD}", ended
    assert alice("GET", f"{path}/outputs/files", params={"path": "0"}).text == "content\nmore\n"
    assert not list(site.alice.home.rglob("pwned"))


@pytest.mark.parametrize("name", ODD_USERS)
def test_odd_names_of_users_do_no_harm(service: SiteService, alice: Client, name: str) -> None:
    before = alice("GET", "/sites/login/account").json()
    answer = alice("PUT", "/sites/login/account", json={"user": name, "ssh_key": before["ssh_key"]})
    try:
        assert answer.status_code in (200, 400), answer.text
        if answer.ok:
            points = alice("POST", "/sites/login/account/check").json()["points"]
            (failed,) = [point for point in points if point["status"] == "failed"]
            assert failed["id"] == "sign_in"
        else:
            assert "user" in answer.text
    finally:
        alice("PUT", "/sites/login/account", json={"user": before["user"], "ssh_key": before["ssh_key"]})
    assert not Path("/tmp/pwned").exists()
    assert "Traceback" not in service.log.read_text()


def test_a_site_is_removed_from_the_settings_and_put_back_and_its_python_found(
    service: SiteService, begun: dict[str, Gated]
) -> None:
    removed = {name: service.settings["sites"][name] for name in ("removed-login", "removed-job")}
    for name in removed:
        begun[name].running()
    told = begun["no-python"].says("has no program python-of-tomorrow", "setting `python`")
    assert told["status"] == "PENDING"
    for name in removed:
        del service.settings["sites"][name]
    del service.settings["sites"]["no-python"]["python"]
    service.stop()
    service.start()
    for name in removed:
        told = begun[name].says(f"The site {name}", "isn't in the settings of the service any more", "goes on")
        assert told["status"] == "UNKNOWN"
        assert begun[name].client("GET", f"/sites/{name}").status_code == 404
        begun[name].let_go()
    begun["no-python"].running().succeeded_once()
    service.settings["sites"] |= removed
    service.stop()
    service.start()
    for name in removed:
        begun[name].succeeded_once()
