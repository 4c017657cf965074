"""Executions that take more than their share: each meets its limit with a clear reason, and nobody else notices."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpcwaas.engines.cwl.storage.trees import disk_use
from tests.e2e.processes import Service, eventually, log_text
from tests.service import PASSWORDS, Client, as_user

MIB = 1 << 20
LIMITS = {"log": 8 * MIB, "disk": 128 * MIB, "memory": 256 * MIB}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(
        tmp_path_factory.mktemp("limits"),
        HWA_CWL_MAX_RUNNING="3",
        **{f"HWA_CWL_LIMITS_{name.upper()}": str(size) for name, size in LIMITS.items()},
    )
    configuration = service.home / "service.yml"
    accounts = ", ".join(f'{{username: {name}, password: "{password}"}}' for name, password in PASSWORDS.items())
    configuration.write_text(f"auth: {{auth_type: basic, basic_auth: {{accounts: [{accounts}]}}}}\n")
    service.arguments = ["--config", configuration]
    assert service.command("db", "upgrade").returncode == 0
    yield service.start()
    service.end()


class Bystander:
    """Another user, who works all the while and measures how long the service takes to answer."""

    def __init__(self, user: Client) -> None:
        self.user = user
        self.slowest = 0.0
        self.ended: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._stop.is_set():
            path = self.user.trigger("script", script="echo mine > a.txt")
            while True:
                begin = time.monotonic()
                execution = self.user("GET", path).json()
                self.user("GET", "/workflows")
                self.slowest = max(self.slowest, time.monotonic() - begin)
                if execution["status"] not in ("PENDING", "RUNNING"):
                    break
                time.sleep(0.05)
            self.ended.append(execution)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self.ended
        assert {execution["status"] for execution in self.ended} == {"SUCCEEDED"}
        assert self.slowest < 2


def directory(service: Service, path: str) -> Path:
    return service.data / "cwl" / "executions" / path.rpartition("/")[2]


GREEDY = [
    (
        "i=0; while [ $i -lt 64 ]; do head -c 16777216 /dev/zero | tr '\\0' 'x' | fold -w 99 >&2; i=$((i+1)); done",
        "The execution wrote more than 8 MiB of log; the limit is the setting cwl.limits.log.",
    ),
    (
        "yes | head -c 1073741824 > big.txt",
        "The execution wrote more than 128 MiB of files; the limit is the setting cwl.limits.disk.",
    ),
    (
        "head -c 1048576 /dev/zero > one; i=0; while [ $i -lt 1024 ]; do cp one $i.txt; i=$((i+1)); done",
        "The execution wrote more than 128 MiB of files; the limit is the setting cwl.limits.disk.",
    ),
    (
        "exec python3 -c 'import time; a = [bytearray(8 << 20) for _ in range(64) if not time.sleep(0.02)]'",
        "The execution used more than 256 MiB of memory; the limit is the setting cwl.limits.memory.",
    ),
]


@pytest.mark.parametrize(("script", "reason"), GREEDY, ids=["log", "one file", "many files", "memory"])
def test_who_takes_too_much_is_stopped_and_nobody_else_notices(service: Service, script: str, reason: str) -> None:
    alice = as_user(service.url, "alice")
    with Bystander(as_user(service.url, "bob")):
        path = alice.trigger("script", script=script)
        execution = alice.finished(path, within=60)
    assert (execution["status"], execution["reason"]) == ("FAILED", reason)
    assert alice("GET", f"{path}/logs", params={"from": 0, "size": -1}).json()["logs"][-1]["content"] == reason
    eventually(lambda: not list((service.data / "cwl" / "active").glob(f"*{path.rpartition('/')[2]}")))
    # What is left counts as its own and stays within its limits; the temporary files are gone.
    assert disk_use([directory(service, path)]) < LIMITS["disk"] + LIMITS["log"] + 2 * MIB
    assert not (directory(service, path) / "tmp").exists()


def test_no_process_outlives_a_cancelled_execution(service: Service) -> None:
    alice, mark = as_user(service.url, "alice"), uuid.uuid4().hex

    def alive() -> int:
        return sum(
            mark in " ".join(process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
            for process in psutil.process_iter(["cmdline", "status"])
        )

    script = f"for i in $(seq 200); do setsid sh -c 'trap \"\" TERM; sleep 300; : {mark}' & done; echo all >&2; wait"
    with Bystander(as_user(service.url, "bob")):
        path = alice.trigger("script", script=script)
        eventually(lambda: "all" in log_text(alice, path))
        assert alive() >= 200
        assert alice("DELETE", path).status_code == 202
        execution = alice.finished(path)
    assert (execution["status"], execution["reason"]) == ("CANCELLED", "Cancelled on request.")
    assert alive() == 0
