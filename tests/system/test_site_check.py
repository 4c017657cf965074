"""The check of an account on a real machine: each thing that may be wrong there is told at its point."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.key_types import KeyPair, generate
from hpcwaas.core.ports.sites import Credential, Credentials
from hpcwaas.core.site_models import Job, Placement, Point, PointStatus
from hpcwaas.engines.cwl.sites import points as points_module
from hpcwaas.engines.cwl.sites.agency import first_contact
from hpcwaas.engines.cwl.sites.point import TITLES
from hpcwaas.engines.cwl.sites.slurm import Slurm
from hpcwaas.engines.cwl.sites.ssh import SSHConnections
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import Unavailable
from hpcwaas.vault import accounts
from hpcwaas.vault.hashicorp import HashiCorpVault
from hpcwaas.vault.secret_id import SecretId
from hpcwaas.vault.settings import HashiCorpSettings
from tests.simulators.vault import vault_server
from tests.system.slurm_site import Site, one_node

pytestmark = pytest.mark.system

KEY = generate("ed25519", None, "")
OK, WARNING, FAILED, SKIPPED = PointStatus


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node(accounting=True) as site:
        site.alice.authorize(KEY.public_key)
        yield site


class Vault:
    """Gives the key to whoever asks, unless it is sealed."""

    def __init__(self, key: KeyPair = KEY, *, sealed: bool = False) -> None:
        self._key = key
        self._sealed = sealed

    def credential(self, placement: Placement, purpose: str) -> Credential:
        if self._sealed:
            raise Unavailable("The vault is sealed or not ready. Tell an operator.")
        return Credential(self._key.private_key)

    def ready(self, placement: Placement) -> None:
        raise AssertionError("a check makes a connection of its own")


class Intents:
    """Of a vault in which nothing is written."""

    def add(self, key_id: str) -> None: ...

    def remove(self, key_id: str) -> None: ...

    def before(self, moment: datetime) -> Sequence[str]:
        return ()


def check(site: Site, vault: Credentials | None = None, *, key: str | None = "key", **changes: Any) -> dict[str, Point]:
    """What a check tells, by points. All points are there, in their order, and whatever is wrong has advice."""
    settings = SiteSettings.model_validate(site.settings(**{"containers": "none", **changes}))
    connections = SSHConnections({"mare": settings}, vault or Vault())
    try:
        found = points_module.check(connections.fresh, settings, Placement("mare", site.alice.name, key))
    finally:
        connections.close()
    assert [point.id for point in found] == [*TITLES]
    assert all(bool(point.advice) == (point.status in (WARNING, FAILED)) for point in found)
    return {point.id: point for point in found}


def not_well(found: dict[str, Point]) -> set[str]:
    """The points that aren't as they should be; that of containers isn't looked at, since they are turned off."""
    assert found["containers"].status is SKIPPED
    return {name for name, point in found.items() if point.status is not OK} - {"containers"}


def first_failure(found: dict[str, Point]) -> Point:
    """The point that failed. Those before it are all right, those behind it weren't looked at."""
    names = [*found]
    (bad,) = [name for name in names if found[name].status is FAILED]
    assert not_well(found) & {*names[: names.index(bad)]} == set()
    assert {found[name].status for name in names[names.index(bad) + 1 :]} <= {SKIPPED}
    return found[bad]


def test_an_account_where_all_is_well_passes_and_nothing_is_submitted(site: Site) -> None:
    found = check(site)
    assert not_well(found) == set(), found
    assert site.submitted() == []
    assert not (site.alice.home / ".hpcwaas").exists()  # nothing is left there either
    assert "physics" not in found["project"].detail


def test_a_project_of_the_settings_is_tried(site: Site) -> None:
    slurm = {"partition": "main", "time": "00:10:00"}
    assert check(site, slurm={**slurm, "account": "physics"})["project"].status is OK
    bad = first_failure(check(site, slurm={**slurm, "account": "chemistry"}))
    assert bad.id == "project"
    assert "It has: physics." in bad.detail


@pytest.mark.parametrize(
    ("slurm", "words"),
    [
        ({"partition": "nope"}, "There is no partition nope"),
        ({"partition": "staff"}, "User's group not permitted to use this partition"),
        ({"partition": "main", "time": "02:00:00"}, "runs jobs for 1:00:00 at most"),
    ],
)
def test_a_partition_that_takes_no_jobs_is_told(site: Site, slurm: dict[str, str], words: str) -> None:
    found = check(site, slurm=slurm)
    assert (found["partition"].status, words in found["partition"].detail) == (FAILED, True), found["partition"]
    assert found["project"].status is OK


def test_a_site_without_scheduler_needs_none(site: Site) -> None:
    found = check(site, scheduler="none")
    assert {found[point].status for point in ("scheduler", "partition", "project")} == {SKIPPED}
    assert found["runner"].status is OK


def test_a_runner_that_is_not_found_is_told_with_all_else(site: Site) -> None:
    found = check(site, runner={"command": ["no-such-runner"]}, containers=None)
    assert found["runner"].status is FAILED
    assert "no-such-runner" in found["runner"].detail
    assert found["partition"].status is OK


def test_python_that_is_not_there_or_too_old_is_told(site: Site, tmp_path: Path) -> None:
    bad = check(site, python="python2.7")["python"]
    assert (bad.status, "There is no program python2.7" in bad.detail) == (FAILED, True)
    old = site.alice.home / "old-python"
    old.write_text(
        '#!/bin/sh\ncase "$2" in *BOOT*|*exec*) echo SyntaxError: invalid >&2; exit 1;; esac\necho version 3.4.1\n'
    )
    old.chmod(0o755)
    bad = check(site, python=str(old))["python"]
    assert (bad.status, "Python 3.4.1 can't run" in bad.detail) == (FAILED, True), bad
    old.unlink()


def test_a_work_directory_that_can_t_be_used_is_told(site: Site) -> None:
    assert "SCRATCH" in check(site, work_dir="{scratch}/x")["work_dir"].detail
    assert "may not write there" in check(site, work_dir="/root/x")["work_dir"].detail


def test_a_login_that_talks_is_told_and_goes_on(site: Site) -> None:
    profile = site.alice.home / ".bashrc"
    profile.write_text("echo Welcome to the machine\n")
    found = check(site)  # SFTP, too: a shell starts its server there
    profile.unlink()
    assert (found["quiet"].status, "Welcome to the machine" in found["quiet"].detail) == (WARNING, True)
    assert not_well(found) == {"quiet"}


def test_a_site_without_transfers_of_files_is_told(site: Site) -> None:
    before = dict(site.sshd_options)
    site.start_sshd(Subsystem="sftp /bin/false")
    bad = first_failure(check(site))
    site.start_sshd(**before)
    assert (bad.id, "no file transfer" in bad.detail) == ("quiet", True)


@pytest.mark.parametrize("shell", ["/usr/bin/tcsh", "/bin/dash"])
def test_every_login_shell_will_do(site: Site, shell: str) -> None:
    def use(program: str) -> None:
        subprocess.run(["usermod", "-s", program, site.alice.name], check=True, stderr=subprocess.DEVNULL)

    use(shell)
    found = check(site)
    use("/bin/bash")
    assert not_well(found) == set(), found


def test_a_login_that_waits_for_an_answer_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_module, "_QUIET", 1.0)
    profile = site.alice.home / ".bashrc"
    profile.write_text("sleep 30\n")
    bad = first_failure(check(site))
    profile.unlink()
    assert (bad.id, "didn't end" in bad.detail) == ("quiet", True)


def test_a_forced_command_is_told(site: Site) -> None:
    site.start_sshd(ForceCommand="echo only sftp here")
    bad = first_failure(check(site))
    del site.sshd_options["ForceCommand"]
    site.start_sshd()
    assert (bad.id, "only sftp here" in bad.detail) == ("quiet", True)


def test_another_key_another_host_key_and_a_sealed_vault_are_told(site: Site) -> None:
    bad = first_failure(check(site, Vault(generate("ed25519", None, ""))))
    assert (bad.id, "refuses the key" in bad.detail) == ("sign_in", True)
    other = " ".join(generate("ed25519", None, "").public_key.split()[:2])
    bad = first_failure(check(site, host_keys=[other]))
    assert (bad.id, "has changed" in bad.detail) == ("host_key", True)
    bad = first_failure(check(site, Vault(sealed=True)))
    assert (bad.id, "sealed" in bad.detail) == ("sign_in", True)


def test_certificates_of_the_vault_open_the_account_and_name_the_purpose(site: Site) -> None:
    with vault_server() as server:
        service = server.role()
        authority = server.authority(service, default_extensions={})
        ca = {"role": "hpcwaas"}
        login = {"role_id": service.role_id, "secret_id": server.secret_id(service)}
        settings = HashiCorpSettings.model_validate({"address": server.url, **login, "ssh_ca": ca})
        vault = HashiCorpVault(settings, Intents(), SecretId(login["secret_id"]))
        vault.start()
        opens = accounts.make(settings, vault, None)
        assert opens is not None
        bad = first_failure(check(site, opens, key=None))
        assert (bad.id, "refuses the certificate" in bad.detail) == ("sign_in", True)
        (site.directory / "ssh" / "authorities").write_text(authority.public_key)
        found = check(site, opens, key=None)
        (site.directory / "ssh" / "authorities").write_text("")
        vault.close()
    assert not_well(found) == set(), found
    assert f"ID hpcwaas check as {site.alice.name}" in site.log("sshd")


def test_jobs_are_told_with_their_times_whatever_the_zone_of_the_site(site: Site) -> None:
    settings = SiteSettings.model_validate(site.settings())
    connections = SSHConnections({"mare": settings}, Vault())
    (site.alice.home / ".bashrc").write_text("export TZ=Asia/Tokyo\n")
    begun = datetime.now(UTC).replace(microsecond=0)
    with connections.of(Placement("mare", site.alice.name, "key"), "a test") as connection:
        job = connection.run("sbatch --parsable --wait --wrap 'sleep 1; exit 3'").stdout.decode().strip()
        slurm = Slurm(site.alice.name)
        found: list[Job] = []
        while not found or found[0].reason != "exit status 3":
            body = {"work_dir": settings.work_dir, "variables": [], "commands": slurm.commands([job])}
            answer, _ = first_contact(connection, settings.python, body)
            assert answer is not None
            found = [*slurm.read(answer["commands"])]
    connections.close()
    (site.alice.home / ".bashrc").unlink()
    (end,) = found
    assert (end.state, end.name) == ("FAILED", "wrap")
    assert end.submitted_at is not None
    assert end.started_at is not None
    assert end.ended_at is not None
    assert begun <= end.submitted_at <= end.started_at < end.ended_at <= datetime.now(UTC)


def test_a_scheduler_that_is_down_is_told(site: Site) -> None:
    site.slurmctld.stop()
    found = check(site)
    site.slurmctld.start()
    assert (found["scheduler"].status, "Slurm doesn't answer" in found["scheduler"].detail) == (FAILED, True)
    assert {found[point].status for point in ("partition", "project")} == {SKIPPED}


def test_a_site_that_does_not_answer_keeps_nobody_waiting(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_module, "_SECONDS", 1.0)
    site.sshd.freeze()
    begun = time.monotonic()
    bad = first_failure(check(site))
    site.sshd.thaw()
    assert (bad.id, "no answer within the 1 seconds" in bad.detail) == ("port", True)
    assert time.monotonic() - begun < 60
    deadline = time.monotonic() + 60
    while any(thread.name == "site check" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.1)
