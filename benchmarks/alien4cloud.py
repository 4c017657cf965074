"""The service before a simulated Alien4Cloud: list, trigger, status and followers, with what each costs upstream.

Simulator, service and load are processes of this machine and share its cores; figures compare only within a run.
Delays of lines are from the moment at which Alien4Cloud has them.

    python benchmarks/alien4cloud.py [list|trigger|status|one|many ...]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import uvloop
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.tools.load import Answer, Client, hammer, percentile
from tests.simulators.alien4cloud import SimulatorProcess

PASSWORD = "a password for this run"  # noqa: S105 - of a service that lives for seconds
AUTHORIZATION = "Basic " + base64.b64encode(f"bench:{PASSWORD}".encode()).decode()
WORKERS = 2


@dataclass
class Service:
    """A running service and the simulator behind it."""

    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    simulator: SimulatorProcess

    @property
    def memory(self) -> float:
        """Megabytes that all worker processes take, pages that they share counted once (PSS)."""
        workers = psutil.Process(self.process.pid).children()
        return float(sum(worker.memory_full_info().pss for worker in workers)) / 2**20

    def calls(self) -> int:
        """Calls to Alien4Cloud so far; what carries events is no call."""
        return sum(call.method != "WEBSOCKET" for call in self.simulator.calls())

    @contextlib.asynccontextmanager
    async def clients(self, count: int) -> AsyncIterator[list[Client]]:
        """So many connections."""
        found = [await Client.connect(self.address, AUTHORIZATION) for _ in range(count)]
        yield found
        for client in found:
            client.close()


@contextlib.contextmanager
def running(*simulator: str, workers: int = WORKERS) -> Iterator[Service]:
    """Runs a service before a simulator with these arguments."""
    with tempfile.TemporaryDirectory() as name, SimulatorProcess("--port", "0", *simulator) as alien4cloud:
        directory = Path(name)
        settings = {
            "listen_address": "127.0.0.1:0",
            "data_dir": str(directory / "data"),
            "auth": {"auth_type": "basic", "basic_auth": {"accounts": [{"username": "bench", "password": PASSWORD}]}},
            "alien_config": {"address": alien4cloud.url},
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
            yield Service(process, (found[1].decode(), int(found[2])), alien4cloud)
        finally:
            process.terminate()
            process.wait(20)


class Report:
    """Prints figures, and keeps count of missed goals."""

    def __init__(self) -> None:
        self.goals: list[tuple[str, str, str, bool]] = []

    def line(self, case: str, **figures: float) -> None:
        """Prints the figures of one case."""
        print(f"{case:<44}", "  ".join(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)

    def goal(self, case: str, goal: str, figure: str, met: bool) -> None:
        """Notes whether a goal is met."""
        self.goals.append((case, goal, figure, met))

    def table(self) -> bool:
        """Prints all goals. Returns whether all are met."""
        print()
        for case, goal, figure, met in self.goals:
            print(f"{'met   ' if met else 'MISSED'}  {case}: {figure} (goal: {goal})")
        return all(goal[3] for goal in self.goals)


async def measure_list(report: Report) -> None:
    """The list of workflows: cold, warm, with 32 clients."""
    for delay in (0.0, 0.02):
        for count in (1, 50, 500):
            case = f"list, {count} applications, {delay * 1000:.0f} ms"
            with running("--applications", str(count), "--delay", str(delay)) as service:
                async with service.clients(32) as clients:
                    await clients[0].ask("GET", "/whoami")  # the first check of a password is slow on purpose
                    service.simulator.forget_calls()
                    cold = await clients[0].ask("GET", "/workflows")
                    assert len(json.loads(cold.body)["workflows"]) == count
                    calls = service.calls()
                    await hammer(clients, "/workflows", 0.5)  # now every worker has it
                    service.simulator.forget_calls()
                    warm = await hammer(clients[:1], "/workflows", 0.5)
                    seconds = 3.0
                    crowd = await hammer(clients, "/workflows", seconds)
                    upstream = service.calls()
            report.line(
                case,
                cold_ms=cold.seconds * 1000,
                cold_calls=calls,
                warm_ms=percentile(warm, 50) * 1000,
                crowd_per_s=len(crowd) / seconds,
                crowd_p95_ms=percentile(crowd, 95) * 1000,
                warm_calls=upstream,
            )
            if (delay, count) == (0.02, 500):
                report.goal(f"{case}, cold", "≤ 3 calls", f"{calls} calls", calls <= 3)
                report.goal(f"{case}, cold", "≤ 120 ms", f"{cold.seconds * 1000:.0f} ms", cold.seconds <= 0.12)
                report.goal(f"{case}, warm", "no call", f"{upstream} calls", upstream == 0)
                rate = len(crowd) / seconds
                report.goal(f"{case}, warm, 32 clients", "≥ 500/s", f"{rate:.0f}/s", rate >= 500)


async def trigger(client: Client, application: int, key: str = "") -> Answer:
    """Starts the workflow of an application."""
    path = f"/workflows/App{application:04}@env-{application:04}@exec_job"
    answer = await client.ask("POST", path, b"{}", f"Idempotency-Key: {key}\r\n" if key else "")
    assert answer.status == 201, answer
    return answer


async def measure_trigger(report: Report) -> None:
    """Starting executions, one after another, each of another application."""
    for delay in (0.0, 0.02):
        for count in (1, 50, 500):
            case = f"trigger, {count} applications, {delay * 1000:.0f} ms"
            with running("--applications", str(count), "--delay", str(delay), "--duration", "60") as service:
                async with service.clients(1) as (client,):
                    await client.ask("GET", "/workflows")
                    await trigger(client, 0)
                    took, calls = [], []
                    for number in range(1, 26):
                        service.simulator.forget_calls()
                        answer = await trigger(client, number % count, f"key-{number}")
                        calls.append(service.calls())
                        took.append(answer.seconds)
                        await asyncio.sleep(0.02)
                    again = await trigger(client, 25 % count, "key-25")
            same = again.header("location") == answer.header("location")
            report.line(
                case,
                p50_ms=percentile(took, 50) * 1000,
                p95_ms=percentile(took, 95) * 1000,
                calls_p50=percentile(list(map(float, calls)), 50),
            )
            if (delay, count) == (0.02, 50):
                limit, p50 = 3 * 0.02 + 0.015, percentile(took, 50)
                report.goal(case, f"≤ {limit * 1000:.0f} ms (3 calls + 15 ms)", f"{p50 * 1000:.0f} ms", p50 <= limit)
                report.goal(case, "repeated with its key: the same", "the same" if same else "another", same)


async def measure_status(report: Report) -> None:
    """The status of one running execution."""
    for delay in (0.0, 0.02):
        with running("--applications", "50", "--delay", str(delay), "--duration", "120") as service:
            async with service.clients(64) as clients:
                path = (await trigger(clients[0], 0)).header("location")
                await asyncio.sleep(1.5)
                await hammer(clients, path, 1.0)
                upstream = {}
                for count in (1, 64):
                    service.simulator.forget_calls()
                    seconds = 5.0
                    took = await hammer(clients[:count], path, seconds)
                    upstream[count] = service.calls() / seconds
                    rate = len(took) / seconds
                    report.line(
                        f"status, {count} clients, {delay * 1000:.0f} ms",
                        per_s=rate,
                        p50_ms=percentile(took, 50) * 1000,
                        p95_ms=percentile(took, 95) * 1000,
                        upstream_per_s=upstream[count],
                    )
        if delay:
            report.goal("status, 64 clients, 20 ms", "≥ 2500/s", f"{rate:.0f}/s", rate >= 2500)
            figure = f"{upstream[1]:.1f}/s with 1 client, {upstream[64]:.1f}/s with 64"
            report.goal("status, upstream", "the same with 1 client and 64", figure, upstream[64] <= upstream[1] + 0.5)


class Followers:
    """Users who follow logs, each with a request that waits.

    Attributes:
        delays: seconds from a line to a follower, of each line that came in the time that counts.
    """

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._began = self._ended = float("inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._following = 0

    def start(self, client: Client, path: str) -> None:
        """Lets one more user follow."""
        self._tasks.append(asyncio.create_task(self._follow(client, path)))

    async def _follow(self, client: Client, path: str) -> None:
        position = 0
        while True:
            answer = await client.ask("GET", f"{path}/logs?from={position}&timeout=60s")
            now = time.time()
            entries = json.loads(answer.body)["logs"]
            self._following += position == 0 < len(entries)
            position += len(entries)
            for entry in entries:
                stamp = datetime.fromisoformat(entry["timestamp"]).timestamp()
                if self._began <= stamp < self._ended:
                    self.delays.append(now - stamp)

    async def settle(self) -> None:
        """Waits until all have what there was before they came."""
        while self._following < len(self._tasks):
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)

    def count(self) -> None:
        """From now on lines count."""
        self._began = time.time()

    async def finish(self) -> float:
        """Counts no more lines, and gives those on their way time to arrive.

        Returns:
            the mean number of lines that a follower got.
        """
        self._ended = time.time()
        await asyncio.sleep(3)
        return len(self.delays) / len(self._tasks)

    async def stop(self) -> None:
        """Ends them all."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


async def follow(service: Service, count: int, executions: int, seconds: float) -> dict[str, float]:
    """So many followers of so many executions. Returns the figures."""
    async with service.clients(count + 9) as clients:
        await clients[-1].ask("GET", "/workflows")
        pending = list(range(executions))

        async def start(client: Client) -> list[str]:
            found = []
            while pending:
                found.append((await trigger(client, pending.pop())).header("location"))
            return found

        paths = [path for found in await asyncio.gather(*map(start, clients[-9:-1])) for path in found]
        followers = Followers()
        for number, client in enumerate(clients[:count]):
            followers.start(client, paths[number % executions])
        await followers.settle()
        service.simulator.forget_calls()
        followers.count()
        others = []
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            for path in ("/workflows?limit=10", paths[0]):
                answer = await clients[-1].ask("GET", path)
                assert answer.status == 200, answer
                others.append(answer.seconds)
                await asyncio.sleep(0.05)
        calls = service.calls() / (time.perf_counter() - began)
        lines = await followers.finish()
        figures = {
            "lines_each": lines,
            "upstream_per_s": calls,
            "delay_p50_s": percentile(followers.delays, 50),
            "delay_p95_s": percentile(followers.delays, 95),
            "others_p95_ms": percentile(others, 95) * 1000,
            "memory_mb": service.memory,
        }
        await followers.stop()
    return figures


FOLLOWED = ("--duration", "300", "--log-rate", "1", "--lag", "0", "--delay", "0.02")


async def measure_one(report: Report) -> None:
    """Followers of one execution."""
    for count in (50, 200, 500):
        with running("--applications", "50", *FOLLOWED) as service:
            figures = await follow(service, count, 1, 16)
        report.line(f"{count} followers of one execution", **figures)
    case = "500 followers of one execution"
    calls, p50, p95 = figures["upstream_per_s"], figures["delay_p50_s"], figures["delay_p95_s"]
    report.goal(case, "≤ 2 calls/s", f"{calls:.1f} calls/s", calls <= 2)
    report.goal(case, "delay p50 ≤ 0.6 s", f"{p50:.2f} s", p50 <= 0.6)
    report.goal(case, "delay p95 ≤ 1.2 s", f"{p95:.2f} s", p95 <= 1.2)
    report.goal(case, "others' p95 ≤ 50 ms", f"{figures['others_p95_ms']:.0f} ms", figures["others_p95_ms"] <= 50)


async def measure_many(report: Report) -> None:
    """Followers of as many executions."""
    for count in (50, 200, 500):
        with running("--applications", str(count), *FOLLOWED) as service:
            figures = await follow(service, count, count, 16)
        report.line(f"{count} followers of {count} executions", **figures)
    case = "500 followers of 500 executions"
    calls, p95, memory = figures["upstream_per_s"] / 500, figures["delay_p95_s"], figures["memory_mb"]
    report.goal(case, "≤ 1 call/s each", f"{calls:.2f} calls/s", calls <= 1)
    report.goal(case, "delay p95 ≤ 2 s", f"{p95:.2f} s", p95 <= 2)
    report.goal(case, "≤ 250 MB", f"{memory:.0f} MB", memory <= 250)


PARTS = {
    "list": measure_list,
    "trigger": measure_trigger,
    "status": measure_status,
    "one": measure_one,
    "many": measure_many,
}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parts = parser.parse_args().parts or list(PARTS)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    report = Report()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for part in parts:
            runner.run(PARTS[part](report))
    sys.exit(not report.table())


if __name__ == "__main__":
    main()
