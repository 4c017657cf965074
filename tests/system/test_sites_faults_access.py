"""What may go wrong between the service and a login node while something runs there: what the user reads, and that
nothing is lost or started twice."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import eventually
from tests.service import Client
from tests.system import site_faults as faults
from tests.system.gated import PATIENCE, Gated, check, connect, job_of, runner
from tests.system.slurm_site import Site, SiteService, one_node

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

LOST = ("before-login", "before-job", "after-login", "after-job")
"""Accounts whose connection is cut in the middle of a start: before or after something was started."""

WRAPPER = """\
#!/bin/sh
# Once: tells that it is asked to start something, and waits to be cut off.
for word; do :; done
if [ "$word" = start ] && [ ! -e {marker} ]; then
  [ {when} = before ] || python3 "$@" >/dev/null
  touch {marker}
  sleep 20
  exit 1
fi
exec python3 "$@"
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node(names=("alice", "key", "lock", "noisy", "hung", *LOST)) as site:
        yield site


@pytest.fixture(scope="module")
def away() -> Iterator[Site]:
    """Another, whose login node is gone for most of the time."""
    with one_node() as site:
        yield site


@pytest.fixture(scope="module")
def service(site: Site, away: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteService]:
    logins = dict(zip(("alice", "key", "lock", "noisy", "hung", *LOST), site.logins, strict=True))
    quick: dict[str, Any] = {"runner": runner(site)}
    own: dict[str, Any] = {"scheduler": "none", "slurm": {}}
    kinds: dict[str, dict[str, Any]] = {"login": quick | own, "job": quick | {"leader": "job"}}
    sites = {f"{name}-{kind}": (site, logins[name], kinds[kind]) for name in ("key", "lock") for kind in kinds}
    sites |= {f"away-{kind}": (away, away.alice, kinds[kind] | {"runner": runner(away)}) for kind in kinds}
    sites |= {"login": (site, site.alice, kinds["login"]), "job": (site, site.alice, kinds["job"])}
    sites |= {"hung": (site, logins["hung"], kinds["login"])}
    sites |= {"noisy-login": (site, logins["noisy"], own), "noisy-job": (site, logins["noisy"], {"leader": "job"})}
    sites |= {"noisy-toil": (site, logins["noisy"], {})}
    for name in LOST:
        python, marker = logins[name].write("bin/python3", ""), logins[name].home / "cut"
        python.write_text(WRAPPER.format(marker=marker, when=name.partition("-")[0]))
        python.chmod(0o755)
        sites[name] = (site, logins[name], {**kinds[name.partition("-")[2]], "python": str(python)})
    noise = "echo 'Welcome!'; echo '{\"error\": 1}'; echo 'mind the gap' >&2; printf 'no end of line'\n"
    logins["noisy"].write(".bashrc", noise)
    service = SiteService(
        tmp_path_factory.mktemp("service"),
        {
            name: on.settings("toil" if name.endswith("toil") else "cwltool", **changes)
            for name, (on, _, changes) in sites.items()
        },
    )
    try:
        service.start()
        connect(service, {name: login for name, (_, login, _) in sites.items()})
        yield service
    finally:
        service.end()


@pytest.fixture
def alice(service: SiteService) -> Client:
    return service.as_user("alice")


@pytest.fixture(scope="module", autouse=True)
def early(service: SiteService, site: Site, away: Site) -> dict[str, Gated]:
    """What is begun before all else, and looked at later."""
    found = {where: Gated(service, site, where) for where in ("noisy-login", "noisy-job", "noisy-toil", "hung")}
    found |= {where: Gated(service, away, where) for where in ("away-login", "away-job")}
    found["limited"] = Gated(service, away, "away-job")
    found["hung"].running()
    faults.freeze(site, site.logins[4])
    found["hung"].let_go()
    return found


@pytest.fixture(scope="module")
def gone(service: SiteService, away: Site, early: dict[str, Gated]) -> list[Gated]:
    """Executions whose login node is switched off, for as long as a test or two take."""
    executions = [early[where].running() for where in ("away-login", "away-job")]
    job = job_of(away, early["limited"].running())
    away.sshd.stop()
    away.cut_connections()
    away.said("scontrol", "update", f"jobid={job}", "timelimit=0")
    for execution in executions:
        execution.let_go()
    return [*executions, Gated(service, away, "away-login")]


def test_what_runs_goes_on_while_nobody_gets_in(service: SiteService, site: Site, alice: Client) -> None:
    _, key, lock, *_ = site.logins
    where = [f"{name}-{kind}" for name in ("key", "lock") for kind in ("login", "job")]
    executions = [Gated(service, site, each).running() for each in where]
    with (
        faults.authorized(site, lambda _: "", key),
        faults.account(site, "--lock --expiredate 1", "--unlock --expiredate ", lock),
    ):
        for execution in executions:
            told = execution.says("refuses the key", "the account may be locked", "The jobs go on.")
            assert told["status"] == "RUNNING"
            assert told["stale_since"]
            execution.let_go()
        late = [Gated(service, site, each) for each in ("key-login", "lock-job")]
        for execution in late:
            told = execution.says("refuses the key", "The execution begins when that is over.")
            assert told["status"] == "PENDING"
        # When it is tried again is told; meanwhile nobody knocks.
        assert "The service tries again within" in late[0].now["reason"]
        time.sleep(3)
        assert site.refusals(key) == 2, "once for each of its two sites"
    check(alice, *where)
    for execution in (*executions, *late):
        execution.succeeded_once()


def test_files_of_a_deleted_execution_go_when_the_account_can_be_opened_again(
    service: SiteService, site: Site, alice: Client
) -> None:
    execution = Gated(service, site, "login").running()
    execution.let_go()
    execution.succeeded_once()
    directory = Path(alice("GET", execution.path).json()["directory"])
    assert directory.is_dir()
    with faults.authorized(site, lambda _: ""):
        answer = alice("DELETE", execution.path, params={"purge": "true"})
        assert answer.status_code == 202
        assert "Warning" in answer.headers

        def waits_for() -> str:
            return alice("GET", execution.path).json()["removal_problem"] or ""

        eventually(lambda: "refuses the key" in waits_for(), PATIENCE)
        assert alice("GET", execution.path).json()["inputs"] == {}
        assert directory.is_dir()
    check(alice, "login")
    eventually(lambda: alice("GET", execution.path).status_code == 404, PATIENCE)
    assert not directory.exists()


@pytest.mark.parametrize("name", LOST)
def test_a_start_whose_answer_is_lost_is_found_again(
    service: SiteService, site: Site, lost: dict[str, Gated], name: str
) -> None:
    lost[name].succeeded_once()


@pytest.fixture(scope="module")
def lost(service: SiteService, site: Site) -> dict[str, Gated]:
    """Executions whose connections were cut in mid-start."""
    executions = {name: Gated(service, site, name) for name in LOST}
    logins = dict(zip(LOST, site.logins[-len(LOST) :], strict=True))
    while logins:
        cut = [name for name, login in logins.items() if (login.home / "cut").exists()]
        for name in cut:
            site.cut_connections(logins.pop(name))
        eventually(lambda: cut or any((login.home / "cut").exists() for login in logins.values()), PATIENCE)  # noqa: B023
    return executions


def test_a_connection_cut_in_mid_upload_goes_on_where_it_was(service: SiteService, site: Site, alice: Client) -> None:
    content = os.urandom(40_000_000)
    upload = alice.upload("large.bin", content)
    place = site.alice.home / ".hpcwaas" / "content"
    path = service.start_on(alice, "login", "script", script="sha256sum <$0 >sum.txt", given=[upload])
    cut = 0
    for least in (1_000_000, 15_000_000):
        eventually(lambda: any(size > least for size in parts(place)), PATIENCE, 0.002)  # noqa: B023
        site.cut_connections(site.alice)
        cut += len(parts(place))
    assert cut, "everything had arrived before it was cut"
    assert alice.finished(path, within=PATIENCE)["status"] == "SUCCEEDED"
    told = alice("GET", f"{path}/outputs/files", params={"path": "0"}).text.split()[0]
    assert (place / told).stat().st_size == len(content)


def parts(place: Path) -> list[int]:
    """How much there is of files that are on their way."""
    found = []
    for part in place.glob("*.part"):
        with contextlib.suppress(FileNotFoundError):
            found.append(part.stat().st_size)
    return found


def test_two_users_with_the_same_account(service: SiteService, site: Site, alice: Client) -> None:
    bob = service.as_user("bob")
    connect(service, {"login": site.alice}, "bob")
    hers, his = Gated(service, site, "login"), Gated(service, site, "login", user="bob")
    for execution in (hers, his):
        execution.running()
    assert hers.now["account"] == his.now["account"] == site.alice.name
    for client, other in ((bob, hers.path), (alice, his.path)):
        for suffix in ("", "/logs", "/outputs/files"):
            assert client("GET", other + suffix).status_code == 404
        assert client("DELETE", other).status_code == 404
        assert other not in client("GET", "/executions").text
    # That one of them gives the account up is nothing to the other.
    assert bob("DELETE", "/sites/login/account", params={"force": "true"}).status_code == 204
    for execution in (hers, his):
        execution.succeeded_once()


@pytest.mark.parametrize("where", ["noisy-login", "noisy-job", "noisy-toil"])
def test_a_noisy_profile_does_no_harm(early: dict[str, Gated], where: str) -> None:
    early[where].running().succeeded_once()


def test_a_connection_that_hangs_is_replaced(site: Site, early: dict[str, Gated]) -> None:
    early["hung"].succeeded_once()
    assert site.connections(site.logins[4]) > 1


def test_a_crowd_at_the_door_is_waited_for_and_few_sessions_are_enough(
    service: SiteService, site: Site, alice: Client
) -> None:
    with faults.sshd(site, MaxStartups="1", MaxSessions="1"):
        strangers = [faults.stranger(site) for _ in range(2)]
        try:
            executions = [Gated(service, site, "login") for _ in range(2)]
            for execution in executions:
                assert execution.says("closes connections before it greets")["status"] == "PENDING"
        finally:
            for stranger in strangers:
                stranger.close()
        check(alice, "login")
        for execution in executions:
            execution.running()
        for execution in executions:
            execution.let_go()
        for execution in executions:
            execution.ended()
        for execution in executions:
            execution.succeeded_once()


@pytest.mark.usefixtures("gone")
def test_a_changed_host_key_is_loud(service: SiteService, site: Site, alice: Client) -> None:
    executions = [Gated(service, site, where).running() for where in ("login", "job")]
    with faults.another_host_key(site):
        for execution in executions:
            told = execution.says("host key of the site", "has changed", "Somebody may pose as it", "The jobs go on.")
            assert told["status"] == "RUNNING"
            execution.let_go()
        points = alice("POST", "/sites/login/account/check").json()["points"]
        assert [point["id"] for point in points if point["status"] == "failed"] == ["host_key"]
        assert "Somebody may pose as it" in service.log.read_text()
    check(alice, "login", "job")
    for execution in executions:
        execution.succeeded_once()


def test_a_login_node_was_gone_for_long(service: SiteService, away: Site, gone: list[Gated]) -> None:
    *running, waits = gone
    assert waits.says("can't be reached", "The service tries again within")["status"] == "PENDING"
    for execution in running:
        eventually(lambda: execution.now["stale_since"], PATIENCE)  # noqa: B023
    pass_by(service, 600)
    for execution in running:
        told = execution.says("hasn't answered for 10 minutes; the jobs go on.", "The service tries again within")
        assert told["status"] == "RUNNING"
    waits.says("hasn't answered for 10 minutes; the execution begins when it does.")
    away.sshd.start()
    # It is noticed without anybody's help.
    waits.let_go()
    for execution in gone:
        execution.succeeded_once()
        assert execution.now["stale_since"] is None


def test_a_job_was_ended_by_its_time_limit_while_nobody_looked(early: dict[str, Gated]) -> None:
    early["limited"].failed("Slurm job ", " was ended by the time limit", begun=1)


def pass_by(service: SiteService, seconds: float) -> None:
    """Lets the silence of accounts be as old as it would be after such a time."""
    for path in service.data.rglob("silence.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"since": time.time() - seconds}))
