"""A service before a simulated server, with what a benchmark asks both."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.tools.load import Client
from tests.simulators.controls import InProcess

PASSWORD = "a password for this run"  # noqa: S105 - of a service that lives for seconds
AUTHORIZATION = "Basic " + base64.b64encode(f"bench:{PASSWORD}".encode()).decode()
WORKERS = 2


@dataclass
class Service:
    """A running service and the simulator behind it."""

    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    simulator: InProcess

    @property
    def memory(self) -> float:
        """Megabytes that all worker processes take, pages that they share counted once (PSS)."""
        workers = psutil.Process(self.process.pid).children()
        return float(sum(worker.memory_full_info().pss for worker in workers)) / 2**20

    def calls(self) -> int:
        """Calls to the simulated server so far; what carries events is no call."""
        return sum(call.method != "WEBSOCKET" for call in self.simulator.calls())

    @contextlib.asynccontextmanager
    async def clients(self, count: int) -> AsyncIterator[list[Client]]:
        """So many connections."""
        found = [await Client.connect(self.address, AUTHORIZATION) for _ in range(count)]
        yield found
        for client in found:
            client.close()


@contextlib.contextmanager
def running(
    simulator: InProcess, settings_of: Callable[[str], dict[str, Any]], workers: int = WORKERS
) -> Iterator[Service]:
    """Runs a service before a simulator.

    Args:
        settings_of: the engine's section for an address, by its name.
    """
    with tempfile.TemporaryDirectory() as name, simulator:
        directory = Path(name)
        settings = {
            "listen_address": "127.0.0.1:0",
            "data_dir": str(directory / "data"),
            "auth": {"auth_type": "basic", "basic_auth": {"accounts": [{"username": "bench", "password": PASSWORD}]}},
            **settings_of(simulator.url),
            "server": {"workers": workers},
            "limits": {"requests": None, "executions": None},  # all the load comes from one user
        }
        directory.joinpath("settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        directory.joinpath("settings.yaml").chmod(0o600)
        log = directory / "log"
        command = [str(Path(sys.executable).with_name("hpcwaas-api")), "--config", str(directory / "settings.yaml")]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HWA_")}
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        try:
            while not (found := re.search(rb"Ready at http://([\d.]+):(\d+)", log.read_bytes())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            time.sleep(0.5)  # the other worker
            yield Service(process, (found[1].decode(), int(found[2])), simulator)
        finally:
            process.terminate()
            process.wait(20)
