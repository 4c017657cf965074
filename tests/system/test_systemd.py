"""The unit of systemd, on a machine that systemd starts: executions go on, whatever happens to the service."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator

import pytest
import requests

from hpcwaas.identity.passwords import hash_password
from tests.e2e.processes import SCRIPT, eventually, log_text
from tests.ports import free_port
from tests.service import Client
from tests.system.systemd import UNIT, Machine

pytestmark = pytest.mark.system

CONFIGURATION = """\
listen_address: 127.0.0.1:{port}
auth:
  auth_type: basic
  basic_auth:
    accounts: [{{username: alice, password_hash: "{digest}"}}]
cwl:
  catalogue: /opt/workflows
  readable: [/opt/shared]
  confinement: namespaces
"""
LOG = "/var/log/hpcwaas.log"
WAITS = "echo began > /tmp/notes; until [ -e {go} ]; do sleep 0.1; done; cat /tmp/notes > notes.txt"
"""A script that needs what it left in /tmp when it's told to go on."""


class Host:
    """A machine with the service, installed as docs/how-to/systemd.md says."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        port, encoded = free_port(), base64.b64encode(b"alice:secret").decode()
        self.alice = Client(f"http://127.0.0.1:{port}", {"Authorization": f"Basic {encoded}"})
        machine.run("useradd", "--system", "--home-dir", "/var/lib/hpcwaas", "--shell", "/usr/sbin/nologin", "hpcwaas")
        machine.run("install", "-D", "--mode=0644", UNIT, "/etc/systemd/system/hpcwaas.service")
        # There is no journal.
        output = f"StandardOutput=append:{LOG}\nStandardError=append:{LOG}"
        self.write("/etc/systemd/system/hpcwaas.service.d/output.conf", f"[Service]\n{output}\n")
        self.write("/etc/hpcwaas-api/hpcwaas-api.yml", CONFIGURATION.format(port=port, digest=hash_password("secret")))
        machine.run("chown", "-R", "hpcwaas:", "/etc/hpcwaas-api")
        machine.run("chmod", "600", "/etc/hpcwaas-api/hpcwaas-api.yml")
        self.write("/opt/workflows/script.cwl", SCRIPT)
        machine.run("mkdir", "/opt/shared")
        machine.run("systemctl", "daemon-reload")

    def write(self, path: str, content: str) -> None:
        draft = self.machine.home / "tmp" / "draft"
        draft.write_text(content)
        draft.chmod(0o644)
        self.machine.run("install", "-D", "--mode=0644", "/tmp/draft", path)

    def systemctl(self, *arguments: str) -> str:
        return self.machine.run("systemctl", *arguments)

    def log(self) -> str:
        return self.machine.run("cat", LOG)

    def show(self, name: str) -> str:
        return self.systemctl("show", "hpcwaas", f"--property={name}", "--value")

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            try:
                return self.alice("GET", "/health/ready").ok and self.alice("GET", "/workflows").ok
            except requests.ConnectionError:
                return False

        try:
            eventually(ready)
        except AssertionError as error:
            raise AssertionError(self.log()) from error

    def begun(self, name: str) -> str:
        """An execution that has begun, and waits."""
        path = self.alice.trigger("script", script="echo BEGAN; " + WAITS.format(go=f"/opt/shared/{name}"))
        eventually(lambda: self.alice("GET", path).json()["status"] == "RUNNING")
        eventually(lambda: any("began" in line.lower() for line in log_text(self.alice, path)))
        return path

    def supervisors(self) -> list[str]:
        """The launcher, and those that watch executions."""
        return self.machine.done("pgrep", "--full", "hpcwaas.engines.cwl.run.launcher").stdout.split()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    home = tmp_path_factory.mktemp("machine")
    with Machine(home) as machine:
        host = Host(machine)
        host.systemctl("start", "hpcwaas", "--no-block")
        host.wait_until_ready()
        yield host


def test_systemd_has_nothing_to_say_about_the_unit(host: Host) -> None:
    assert host.machine.run("systemd-analyze", "verify", "/etc/systemd/system/hpcwaas.service") == ""
    analyze = ["systemd-analyze", "security", "--offline=true", "--threshold=32", "--no-pager", str(UNIT)]
    done = subprocess.run(analyze, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_service_has_no_more_rights_than_it_needs(host: Host) -> None:
    status = host.machine.run("cat", f"/proc/{host.show('MainPID')}/status")
    said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (said["CapBnd"], said["NoNewPrivs"], said["Seccomp"]) == ("0000000000000000", "1", "2")


def test_an_execution_goes_on_whatever_happens_to_the_service(host: Host) -> None:
    path, supervisors = host.begun("first"), host.supervisors()
    pids = [host.show("MainPID")]
    host.systemctl("restart", "hpcwaas")
    pids.append(host.show("MainPID"))
    host.systemctl("stop", "hpcwaas")
    assert set(supervisors) <= set(host.supervisors())
    host.systemctl("start", "hpcwaas")
    pids.append(host.show("MainPID"))
    host.systemctl("kill", "--kill-whom=main", "--signal=KILL", "hpcwaas")
    eventually(lambda: host.show("MainPID") not in (pids[-1], "0"))
    pids.append(host.show("MainPID"))
    assert len(set(pids)) == 4
    host.wait_until_ready()
    assert host.alice("GET", path).json()["status"] == "RUNNING"
    host.machine.run("touch", "/opt/shared/first")
    assert host.alice.finished(path)["status"] == "SUCCEEDED", log_text(host.alice, path)


def test_what_goes_on_is_ended_when_asked_for_and_a_wrong_configuration_fails_the_start(host: Host) -> None:
    path = host.begun("second")
    host.systemctl("stop", "hpcwaas")
    host.systemctl("kill", "--kill-whom=all", "hpcwaas")
    eventually(lambda: host.supervisors() == [])
    host.write("/etc/systemd/system/hpcwaas.service.d/wrong.conf", "[Service]\nEnvironment=HWA_NONSENSE=1\n")
    host.systemctl("daemon-reload")
    assert host.machine.done("systemctl", "start", "hpcwaas").returncode != 0
    assert "HWA_NONSENSE" in host.log()
    host.machine.run("rm", "/etc/systemd/system/hpcwaas.service.d/wrong.conf")
    host.systemctl("daemon-reload")
    host.systemctl("restart", "hpcwaas")
    host.wait_until_ready()
    assert host.alice.finished(path)["status"] == "FAILED"
