"""The check of an account on a real login node: everything that may be wrong there is found, and said, with advice."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from examples.slurm.daemons import free_ports
from tests.e2e.processes import eventually
from tests.service import Client
from tests.system.site_faults import (
    account,
    another_host_key,
    authorized,
    disk,
    frozen,
    not_mine,
    profile,
    sshd,
    stopped,
)
from tests.system.slurm_site import Site, SiteService, one_node

pytestmark = pytest.mark.system

USERS = ("alice", "bob", "carol", "root")
"""All of them have the same account."""

Break = Callable[[Site], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node(accounting=True) as site:
        yield site


@pytest.fixture(scope="module")
def service(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteService]:
    empty = site.directory / "empty.sh"
    empty.write_text("")
    failing = site.directory / "failing.sh"
    failing.write_text(
        "echo 'Lmod has detected an error' >&2\necho 'toil: token=abc Bearer abcdefghijklmnopqrstu' >&2\nfalse\n"
    )
    lines: list[str] = []

    def described(**changes: Any) -> dict[str, Any]:
        return site.settings(containers="none", **changes)

    service = SiteService(
        tmp_path_factory.mktemp("service"),
        {
            "lap": described(),
            "nameless": described(host="login.nowhere.invalid:22"),
            "closed": described(host=f"127.0.0.1:{free_ports(1)[0]}"),
            "without-python": described(python="python-of-tomorrow"),
            "without-runner": described(prologue=str(empty)),
            "bad-prologue": described(prologue=str(failing)),
            "no-such-partition": described(slurm={"partition": "gpu"}),
            "closed-partition": described(slurm={"partition": "staff"}),
            "no-such-project": described(slurm={"partition": "main", "account": "biology"}),
            "own-project": described(slurm={"partition": "main", "account": "physics"}),
            "unset": described(work_dir="{scratch}/hpcwaas"),
        },
    )
    try:
        service.start()
        for user in USERS:
            client = service.as_user(user)
            key = client("POST", "/ssh_keys", json={"name": "lap"}).json()
            lines.append(key["public_key"])
            for each in service.settings["sites"]:
                account = {"user": site.alice.name, "ssh_key": key["id"]}
                assert client("PUT", f"/sites/{each}/account", json=account).ok
        site.alice.authorize(*lines)
        yield service
    finally:
        service.end()


@pytest.fixture
def alice(service: SiteService, request: pytest.FixtureRequest) -> Client:
    """Users take turns: nobody may have accounts checked too often."""
    return service.as_user(USERS[len(request.node.name) % len(USERS)])


def check(client: Client, site: str = "lap") -> dict[str, Any]:
    """The points by their ids; checks of their form."""
    answer = client("POST", f"/sites/{site}/account/check")
    assert answer.status_code == 200, answer.text
    points: list[dict[str, Any]] = answer.json()["points"]
    failed = [point for point in points if point["status"] == "failed"]
    assert answer.json()["usable"] is not bool(failed)
    for point in points:
        assert "Traceback" not in point["detail"]
        assert point["status"] != "failed" or point["advice"], point
    return {point["id"]: point for point in points}


def failures(points: dict[str, Any]) -> list[str]:
    return [name for name, point in points.items() if point["status"] == "failed"]


def test_everything_is_well(alice: Client) -> None:
    points = check(alice)
    assert list(points) == [
        *("name", "port", "host_key", "sign_in", "quiet", "work_dir", "room", "python", "runner"),
        *("containers", "scheduler", "partition", "project"),
    ]
    assert {point["status"] for point in points.values()} <= {"ok", "skipped"}, points
    assert failures(check(alice, "own-project")) == []


@pytest.mark.parametrize(
    ("where", "point", "words"),
    [
        ("nameless", "name", "login.nowhere.invalid"),
        ("closed", "port", "127.0.0.1"),
        ("without-python", "python", "python-of-tomorrow"),
        ("without-runner", "runner", "cwltool"),
        ("bad-prologue", "runner", "failed with status 1. It says: Lmod has detected an error / toil: "),
        ("no-such-partition", "partition", "gpu"),
        ("closed-partition", "partition", "staff"),
        ("no-such-project", "project", "biology"),
        ("unset", "work_dir", "SCRATCH"),
    ],
)
def test_what_the_operator_got_wrong(alice: Client, where: str, point: str, words: str) -> None:
    points = check(alice, where)

    assert failures(points)[0] == point, points
    assert words in f"{points[point]['detail']} {points[point]['advice']}", points[point]


PROMPTING = {"KbdInteractiveAuthentication": "yes", "UsePAM": "yes"}
"""Has sshd ask for the account's password, as it would for what a token shows."""


@contextlib.contextmanager
def password_expired(site: Site) -> Iterator[None]:
    """With a password that has to be changed at the next login."""
    with sshd(site, UsePAM="yes"), account(site, "--password x --expiredate ", "--password * --expiredate "):
        site.said("chage", "--lastday", "0", site.alice.name)
        try:
            yield
        finally:
            site.said("chage", "--lastday", "-1", site.alice.name)


BROKEN: dict[str, tuple[Break, str, str]] = {
    "host key changed": (another_host_key, "host_key", "key"),
    "key isn't installed": (lambda site: authorized(site, lambda _: ""), "sign_in", "authorized_keys"),
    "account is locked": (lambda site: account(site, "--lock --expiredate 1", "--unlock --expiredate "), "sign_in", ""),
    "shell is none": (lambda site: account(site, "--shell /usr/sbin/nologin", "--shell /bin/bash"), "quiet", ""),
    "second factor": (
        lambda site: sshd(site, AuthenticationMethods="publickey,password", PasswordAuthentication="yes"),
        *("sign_in", "factor"),
    ),
    "one-time password": (
        lambda site: sshd(site, AuthenticationMethods="publickey,keyboard-interactive", **PROMPTING),
        *("sign_in", "demands a second factor (keyboard-interactive)"),
    ),
    "prompts alone": (
        lambda site: sshd(site, AuthenticationMethods="keyboard-interactive", **PROMPTING),
        *("sign_in", "takes no SSH keys for the account"),
    ),
    "password has to be changed": (
        lambda site: password_expired(site),
        *("quiet", "Password change required but no TTY available"),
    ),
    "forced command": (
        lambda site: authorized(
            site, lambda lines: re.sub("^ssh", 'command="echo welcome" ssh', lines, flags=re.MULTILINE)
        ),
        *("quiet", "command"),
    ),
    "no room for sessions": (lambda site: sshd(site, MaxSessions="0"), "quiet", "session"),
    "no SFTP": (lambda site: sshd(site, Subsystem="sftp /bin/false"), "quiet", "SFTP"),
    "profile ends the shell": (lambda site: profile(site, "exit 0\n"), "quiet", ""),
    "disk is read-only": (lambda site: disk(site, "ro"), "work_dir", "can't be written to"),
    "disk is full": (lambda site: disk(site, "size=64k"), "room", ""),
    "work directory is somebody else's": (not_mine, "work_dir", ""),
    "slurmctld is down": (lambda site: stopped(site, "slurmctld"), "scheduler", "slurm"),
    "slurmctld doesn't answer": (lambda site: frozen(site, "slurmctld"), "scheduler", "slurm"),
    "munge is down": (lambda site: stopped(site, "munged"), "scheduler", "authentication"),
    "sshd doesn't answer": (lambda site: frozen(site, "sshd"), "port", ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_there(site: Site, alice: Client, name: str) -> None:
    broken, point, words = BROKEN[name]
    with broken(site):
        points = check(alice)

    assert failures(points)[0] == point, points
    told = f"{points[point]['detail']} {points[point]['advice']}"
    assert words.lower() in told.lower(), points[point]
    assert failures(check(alice)) == []


def test_no_prompt_is_answered_and_nothing_hangs(service: SiteService, site: Site) -> None:
    alice = service.as_user("alice")
    seen = len(site.log("sshd"))
    with sshd(site, AuthenticationMethods="publickey,keyboard-interactive", **PROMPTING):
        path = service.start_on(alice, "lap", "slow-count", seconds=1)
        eventually(lambda: "second factor" in (alice("GET", path).json()["reason"] or ""))
        waiting = alice("GET", path).json()
        assert (waiting["status"], waiting["steps"][0]["status"]) == ("PENDING", "PENDING")
        assert "Ask its operators for an exception for the service's key or address." in waiting["reason"]
        log = site.log("sshd")[seen:]
        assert "Partial publickey for" in log  # the key was accepted, and
        assert "keyboard-interactive for" not in log  # nobody tried to go on
    assert failures(check(alice)) == []  # after which it goes on at once
    assert alice.finished(path)["status"] == "SUCCEEDED"


def test_noise_is_told_and_does_no_harm(site: Site, alice: Client) -> None:
    with profile(site, "echo 'Welcome to the machine'\necho 'mind the gap' >&2\n"):
        points = check(alice)
    assert points["quiet"]["status"] in ("warning", "failed"), points
    assert "Welcome to the machine" in points["quiet"]["detail"]


def test_a_check_costs_no_job(site: Site, alice: Client) -> None:
    before = site.submitted()
    check(alice)
    assert site.submitted() == before


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_whatever_the_login_shell_is(site: Site, alice: Client, shell: str) -> None:
    assert Path(shell).exists()
    with account(site, f"--shell {shell}", "--shell /bin/bash"):
        assert failures(check(alice)) == []
