"""The machine of one node that everybody may try sites with: what it offers, and that it leaves nothing."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from examples.slurm.daemons import processes
from tests.e2e.processes import eventually
from tests.system.slurm_site import ROOT, Site, one_node

pytestmark = pytest.mark.system


def ssh(site: Site, key: Path, command: str) -> str:
    """What a command prints that is run by a connection of its own, errors included."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes")
    words = [f"-o{option}" for option in options]
    done = subprocess.run(
        ["ssh", "-i", str(key), "-p", str(site.port), *words, f"{site.alice.name}@127.0.0.1", command],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("accounting", [False, True])
def test_jobs_run_for_whoever_has_a_key_and_nothing_is_left(accounting: bool, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with one_node(accounting=accounting) as site:
        assert "Permission denied" in ssh(site, key, "true")
        site.alice.authorize((tmp_path / "key.pub").read_text())
        told = ssh(site, key, "sbatch --wait --wrap 'echo done by $(id -un); exit 3'; cat slurm-1.out")
        assert f"done by {site.alice.name}\n" in told
        assert "JobState=FAILED" in ssh(site, key, "scontrol show job 1")
        refused = ssh(site, key, "sbatch --partition=staff --wrap true; sbatch --account=nobodys --wrap true")
        assert "User's group not permitted to use this partition" in refused
        assert ("Invalid account" in refused) is accounting
        assert ("Slurm accounting storage is disabled" in ssh(site, key, "sacct")) is not accounting
        ssh(site, key, "sbatch --wrap 'sleep 600'; nohup sleep 600 >/dev/null 2>&1 &")
        assert site.queued()
        assert (site.connections(site.alice), site.commands(site.alice)) == (5, 5)
        directory, names = site.directory, [login.name for login in site.logins]
    assert not directory.exists()
    assert not {entry.pw_name for entry in pwd.getpwall()} & set(names)
    # What was killed takes a moment to be gone.
    eventually(lambda: not [line for _, line in processes() if str(directory) in line], 60)


def test_a_command_finds_it_in_its_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.slurm.one_node", "sh", "-c", "env; exit 7"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert {"SITE_HOST", "SITE_HOST_KEY", "SITE_USER", "SITE_HOME", "SLURM_CONF"} <= {
        line.partition("=")[0] for line in done.stdout.splitlines()
    }
