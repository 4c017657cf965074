"""A search for private keys in the memory of both machines: what a core of a process would hold."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.processes import eventually
from tests.key_marks import marks
from tests.system.openbao import OpenBao
from tests.system.slurm_site import Site, SiteService, one_node

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SERVERS = ("sshd", "slurmctld", "slurmd", "slurmstepd", "munged")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node() as site:
        yield site


@contextlib.contextmanager
def dumping_cores() -> Iterator[None]:
    """What is started within may write a core when it crashes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def memory(process: psutil.Process) -> Iterator[bytes]:
    """All that a process may have written in its memory, part by part."""
    with contextlib.suppress(OSError), Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            span, rights, _, _, _, *name = line.split(maxsplit=5)
            if "w" in rights and not (name and name[0].startswith(("[v", "/dev/"))):
                start, end = (int(each, 16) for each in span.split("-"))
                with contextlib.suppress(OSError):
                    memory.seek(start)
                    yield memory.read(end - start)


def holding(processes: list[psutil.Process], secrets: set[bytes]) -> list[str]:
    """Which processes hold any of these."""
    return [
        f"{process.pid} {process.name()}"
        for process in processes
        if any(secret in part for part in memory(process) for secret in secrets)
    ]


def of_site(site: Site) -> list[psutil.Process]:
    """The processes of the site: its servers, and what runs for the account."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() in SERVERS or process.uids().real == site.alice.uid:
                found.append(process)
    return found


@pytest.mark.parametrize(("where", "kind"), [("embedded", "ed25519"), ("openbao", "rsa")])
def test_no_process_holds_a_key_when_it_is_made_or_has_signed_in(
    site: Site, tmp_path: Path, where: str, kind: str
) -> None:
    with contextlib.ExitStack() as stack:
        more, vault = {}, None
        if where == "openbao":
            vault = stack.enter_context(OpenBao(tmp_path / "vault"))
            more = {"vault_config": vault.settings(key_reader=vault.role("hpcwaas-reader"))}
        service = SiteService(tmp_path / "service", {"lap": site.settings(leader="job")}, **more)
        if vault is not None:
            del service.settings["vault"]
        stack.callback(service.end)
        with dumping_cores():
            service.start()
        alice = service.as_user("alice")
        key = alice("POST", "/ssh_keys", json={"type": kind}).json()
        site.alice.authorize(key["public_key"])
        assert alice("PUT", "/sites/lap/account", json={"user": site.alice.name, "ssh_key": key["id"]}).ok
        pem = vault.private_key(key["id"]) if vault else service.private_key(key["id"])
        secrets = marks(pem)

        def nobody_holds_it() -> bool:
            # Whatever else the service does overwrites nothing of that: it stays for hours, if it is there.
            return not holding(service.processes("master", "worker"), secrets)

        if vault is None:
            eventually(nobody_holds_it, 20)
        else:  # parts of what was sent to the vault may stay, with who made the key
            service.stop()
            service.start()
        before = site.connections(site.alice)
        assert alice("POST", "/sites/lap/account/check").json()["usable"] is True
        go = site.alice.home / f"go-{where}-{kind}"
        path = service.start_on(alice, "lap", "script", script=f"while [ ! -e {go} ]; do sleep 0.2; done")
        eventually(lambda: alice("GET", path).json()["status"] == "RUNNING")
        assert site.connections(site.alice) == before + 2  # one of them is open
        eventually(nobody_holds_it, 20)
        there = of_site(site)
        assert {"sshd", "slurmstepd"} <= {process.name() for process in there}
        assert holding(there, secrets) == []
        go.touch()
        assert alice.finished(path)["status"] == "SUCCEEDED"
        assert nobody_holds_it()

        # The kernel writes no core of a process that is closed to others.
        for process in service.processes("worker"):
            process.send_signal(signal.SIGABRT)
            process.wait(30)
        assert list(service.home.rglob("core*")) == []


def test_the_search_finds_what_is_there() -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\n" + "A1b2" * 16 + "\n" + "C3d4" * 16 + "\n-----END RSA PRIVATE KEY-----\n"
    with subprocess.Popen(["sleep", "60"], env={"LEAK": pem}) as leak:
        eventually(lambda: psutil.Process(leak.pid).name() == "sleep")
        assert holding([psutil.Process(leak.pid)], marks(pem)) == [f"{leak.pid} sleep"]
        leak.kill()
