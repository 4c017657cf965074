"""The real service for tests: started as its operator would, looked at from outside, killed without mercy."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import yaml

from tests.ports import free_port
from tests.service import Client
from tests.waiting import pause

BIN = Path(sys.executable).parent
MEASURED = {name: value for name, value in os.environ.items() if name == "COVERAGE_PROCESS_CONFIG"}
"""What processes with an environment of their own need to be told by `make coverage`."""

SCRIPT = """\
cwlVersion: v1.2
class: CommandLineTool
doc: Runs a script. Every `*.txt` that it leaves is an output.
baseCommand: [sh, -c]
inputs:
  script: {type: string, inputBinding: {position: 1}}
  given: {type: "File[]?", inputBinding: {position: 2}}
outputs:
  files: {type: "File[]", outputBinding: {glob: "*.txt"}}
"""


class Service:
    """A service with its home, data and catalogue in one directory; may be started again on the same.

    Args:
        home: `HOME` of everything that is started here.
        variables: for the environment of the service, `HWA_...`.
    """

    def __init__(self, home: Path, **variables: str) -> None:
        self.home = home
        self.data = home / "data"
        self.catalogue = home / "catalogue"
        self.profile = home / "state" / "waas" / "local.yaml"
        self.log, self.printed = home / "service.log", home / "service.out"
        self.environment = {"PATH": f"{BIN}{os.pathsep}{os.defpath}", "HOME": str(home), **MEASURED}
        self.environment |= {"XDG_STATE_HOME": str(home / "state")}
        self.variables = {"HWA_DATA_DIR": str(self.data), "HWA_CWL_CATALOGUE": str(self.catalogue), **variables}
        self.address = f"127.0.0.1:{free_port()}"
        self.arguments: list[str | Path] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._seen = 0
        self.catalogue.mkdir(exist_ok=True)
        self.publish("script", SCRIPT)

    def publish(self, workflow_id: str, document: str) -> None:
        """Puts a workflow into the catalogue, at once."""
        draft = self.home / "draft"
        draft.write_text(document)
        draft.rename(self.catalogue / f"{workflow_id}.cwl")

    def command(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs `hpcwaas-api` to its end."""
        return subprocess.run(
            [BIN / "hpcwaas-api", *self.arguments, *arguments],
            env=self.environment | self.variables,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self) -> Service:
        """Starts the service and waits until it is ready; on the address of the time before."""
        self.launch()
        return self.wait_until_ready()

    def launch(self) -> None:
        """Starts the service."""
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log, self.printed.open("ab") as printed:
            self.process = subprocess.Popen(
                [BIN / "hpcwaas-api", *self.arguments, "-l", self.address],
                env=self.environment | self.variables,
                cwd=self.home,
                stdout=printed,
                stderr=log,
            )

    def wait_until_ready(self) -> Service:
        """Waits until the service that was started last is ready."""
        seen = self._seen
        eventually(lambda: b"Ready at" in self.log.read_bytes()[seen:] or self._died(), 90)
        found = re.search(r"Ready at (https?://([^\s\"]+))", self.log.read_bytes()[seen:].decode())
        assert found, self.log.read_text()
        self.url, self.address = found[1], found[2]
        return self

    def _died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Stops the service in order, and waits until everything that it started without being asked is gone."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
        if not list((self.data / "cwl").glob("active/*")) + list((self.data / "cwl").glob("queue/*")):
            eventually(lambda: not self.processes())

    def end(self) -> None:
        """Kills everything that is left; for the end of a test."""
        while left := [*self.processes(), *self.strangers()]:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if self.process is not None:
                self.process.wait(60)
            time.sleep(0.05)

    def strangers(self) -> list[psutil.Process]:
        """Processes of executions."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("HOME", "").startswith(
                    f"{self.data}{os.sep}"
                ):
                    found.append(process)
        return found

    def processes(self, *kinds: str) -> list[psutil.Process]:
        """The living processes of the service of some kinds: master, worker, launcher, supervisor, runner."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                kind = self.kind(process)
                if kind and (not kinds or kind in kinds) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kind(self, process: psutil.Process) -> str | None:
        """Which part of the service a process is, if any."""
        line = process.cmdline()
        if str(BIN / "hpcwaas-api") in line and process.environ().get("HOME") == str(self.home):
            return "master" if self.process and process.pid == self.process.pid else "worker"
        if "hpcwaas.engines.cwl.run.launcher" not in line or str(self.data / "cwl") not in line:
            return None
        if os.getsid(process.pid) != process.pid:
            return "runner"
        # A supervisor holds the lock of its execution.
        return "supervisor" if any(f.path.endswith("supervisor.lock") for f in process.open_files()) else "launcher"

    def kill(self, *kinds: str) -> None:
        """`kill -9` for all processes of some kinds, at the same moment."""
        victims = self.processes(*kinds)
        assert victims, kinds
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.send_signal(signal.SIGKILL)
        if "master" in kinds and self.process is not None:
            self.process.wait(60)

    @property
    def token(self) -> str:
        """Of the local mode."""
        return str(yaml.safe_load(self.profile.read_text())["access_token"])

    @property
    def user(self) -> Client:
        """The user of the local mode."""
        return Client(self.url, {"Authorization": f"Bearer {self.token}"})

    def waas(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs `waas` to its end."""
        with self.waas_started(*arguments, **variables) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def waas_started(self, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        """Starts `waas`."""
        return subprocess.Popen(
            [BIN / "waas", *arguments],
            env=self.environment | variables,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """The service's records, to look at from outside."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.data / 'hpcwaas.db'}", uri=True, isolation_level=None)
        ) as connection:
            yield connection


def eventually(condition: Callable[[], object], seconds: float = 60, least: float = 0.02) -> None:
    """Waits for something to become true."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds, "waited too long"
        pause(begun, least)


def log_text(user: Client, path: str) -> list[str]:
    """The log of an execution, line by line, without levels and times."""
    answer = user("GET", f"{path}/logs", params={"from": 0, "size": -1, "timeout": "0"})
    assert answer.status_code == 200, answer.text
    return [entry["content"] for entry in answer.json()["logs"]]
