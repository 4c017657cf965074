"""The service before a simulated orchestrator: list, trigger, status and followers, with what each costs upstream.

Simulator, service and load are processes of this machine and share its cores; figures compare only within a run.
Delays of lines are from the moment at which the server has them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks.tools.followers import Followers
from benchmarks.tools.load import Answer, Client, hammer, percentile
from benchmarks.tools.report import Report
from benchmarks.tools.service import Service, running
from tests.simulators.controls import InProcess
from tests.simulators.serving import Call


@dataclass(frozen=True)
class Goals:
    """What is to be met.

    Attributes:
        in_a_row: calls that a cold list may take, one after the other.
        list_warm: lists a second with 32 clients, when it is warm.
        trigger_calls: calls that a start may take, one after the other.
        followed_calls: a second, for the followers of one execution.
        delay_p50, delay_p95: seconds from a line to them.
    """

    in_a_row: int
    list_warm: int
    trigger_calls: int
    followed_calls: float
    delay_p50: float
    delay_p95: float


@dataclass(frozen=True)
class Orchestrator:
    """What is measured.

    Attributes:
        simulator: starts one, with arguments of its command line.
        settings_of: the engine's section for an address, by its name.
        things: what its worlds have many of, as its command line says it.
        workflow: the id of the workflow of the one of a number.
        more: arguments that let a line be there as soon as it is written.
        cold_calls: the fewest calls that a list takes of so many things.
        listing: paths of calls for a list that takes one for each of the things. They don't count among those for
            followers, since others look at the list meanwhile.
    """

    simulator: Callable[..., InProcess]
    settings_of: Callable[[str], dict[str, Any]]
    things: str
    workflow: Callable[[int], str]
    cold_calls: Callable[[int], int]
    goals: Goals
    more: tuple[str, ...] = ()
    listing: str | None = None

    def running(self, count: int, *arguments: str) -> Any:
        """Runs a service before so many of the things."""
        simulator = self.simulator("--port", "0", f"--{self.things}", str(count), *arguments)
        return running(simulator, self.settings_of)

    def lists(self, call: Call) -> bool:
        """Whether a call may be one of those for a list."""
        return call.method != "WEBSOCKET" and (self.listing is None or bool(re.fullmatch(self.listing, call.path)))

    async def trigger(self, client: Client, number: int, key: str = "") -> Answer:
        """Starts the workflow of a number."""
        path = f"/workflows/{self.workflow(number)}"
        answer = await client.ask("POST", path, b"{}", f"Idempotency-Key: {key}\r\n" if key else "")
        assert answer.status == 201, answer
        return answer


def in_a_row(calls: list[Call]) -> int:
    """Most of these calls that were made one after the other: the first one, and then those of the busiest
    connection."""
    return min(len(calls), 1) + max(Counter(call.port for call in calls[1:]).values(), default=0)


async def cold_list(one: Orchestrator, service: Service, client: Client, count: int) -> tuple[Answer, list[Call]]:
    """The first list that anybody asks for, and the calls that were made for it.

    Whoever else reads the list before would make the figure worthless: so it is asserted that nobody has, and that this
    request made all the calls that a list takes.
    """
    await client.ask("GET", "/whoami")  # the first check of a password is slow on purpose
    before = [call for call in service.simulator.calls() if one.lists(call)]
    assert not before, f"the list was read before anybody asked for it: {before[:3]}"
    began = time.time()
    answer = await client.ask("GET", "/workflows")
    ended = time.time()
    assert len(json.loads(answer.body)["workflows"]) == count
    calls = [call for call in service.simulator.calls() if one.lists(call)]
    assert len(calls) >= one.cold_calls(count), f"{len(calls)} calls can't have been all: it was kept somewhere"
    assert all(began <= call.at <= ended for call in calls), "calls outside of the request that is measured"
    return answer, calls


async def measure_list(one: Orchestrator, report: Report) -> None:
    """The list of workflows: cold, warm, with 32 clients."""
    for delay in (0.0, 0.02):
        for count in (1, 50, 500):
            case = f"list, {count} {one.things}, {delay * 1000:.0f} ms"
            with one.running(count, "--delay", str(delay)) as service:
                async with service.clients(32) as clients:
                    cold, calls = await cold_list(one, service, clients[0], count)
                    rounds = in_a_row(calls)
                    await hammer(clients, "/workflows", 0.5)  # now every worker has it
                    service.simulator.forget_calls()
                    warm = await hammer(clients[:1], "/workflows", 0.5)
                    seconds = 3.0
                    crowd = await hammer(clients, "/workflows", seconds)
                    upstream = service.calls()
            report.line(
                case,
                cold_ms=cold.seconds * 1000,
                cold_calls=len(calls),
                cold_in_a_row=rounds,
                warm_ms=percentile(warm, 50) * 1000,
                crowd_per_s=len(crowd) / seconds,
                crowd_p95_ms=percentile(crowd, 95) * 1000,
                warm_calls=upstream,
            )
            if (delay, count) == (0.02, 500):
                most = one.goals.in_a_row
                report.goal(f"{case}, cold", f"≤ {most} calls in a row", f"{rounds}", rounds <= most)
                report.goal(f"{case}, cold", "≤ 120 ms", f"{cold.seconds * 1000:.0f} ms", cold.seconds <= 0.12)
                report.goal(f"{case}, warm", "no call", f"{upstream} calls", upstream == 0)
                rate = len(crowd) / seconds
                least = one.goals.list_warm
                report.goal(f"{case}, warm, 32 clients", f"≥ {least}/s", f"{rate:.0f}/s", rate >= least)


async def measure_trigger(one: Orchestrator, report: Report) -> None:
    """Starting executions, one after another, each of another application."""
    for delay in (0.0, 0.02):
        for count in (1, 50, 500):
            case = f"trigger, {count} {one.things}, {delay * 1000:.0f} ms"
            with one.running(count, "--delay", str(delay), "--duration", "60") as service:
                async with service.clients(1) as (client,):
                    await client.ask("GET", "/workflows")
                    await one.trigger(client, 0)
                    took, calls = [], []
                    for number in range(1, 26):
                        service.simulator.forget_calls()
                        answer = await one.trigger(client, number % count, f"key-{number}")
                        calls.append(service.calls())
                        took.append(answer.seconds)
                        await asyncio.sleep(0.02)
                    again = await one.trigger(client, 25 % count, "key-25")
            same = again.header("location") == answer.header("location")
            report.line(
                case,
                p50_ms=percentile(took, 50) * 1000,
                p95_ms=percentile(took, 95) * 1000,
                calls_p50=percentile(list(map(float, calls)), 50),
            )
            if (delay, count) == (0.02, 50):
                most = one.goals.trigger_calls
                limit, p50 = most * 0.02 + 0.015, percentile(took, 50)
                report.goal(
                    case, f"≤ {limit * 1000:.0f} ms ({most} calls + 15 ms)", f"{p50 * 1000:.0f} ms", p50 <= limit
                )
                report.goal(case, "repeated with its key: the same", "the same" if same else "another", same)


async def measure_status(one: Orchestrator, report: Report) -> None:
    """The status of one running execution."""
    for delay in (0.0, 0.02):
        with one.running(50, "--delay", str(delay), "--duration", "120") as service:
            async with service.clients(64) as clients:
                path = (await one.trigger(clients[0], 0)).header("location")
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


async def follow(one: Orchestrator, service: Service, count: int, executions: int, seconds: float) -> dict[str, float]:
    """So many followers of so many executions. Returns the figures."""
    async with service.clients(9) as (observer, *starters):
        await observer.ask("GET", "/workflows")
        pending = list(range(executions))

        async def start(client: Client) -> list[str]:
            found = []
            while pending:
                found.append((await one.trigger(client, pending.pop())).header("location"))
            return found

        paths = [path for found in await asyncio.gather(*map(start, starters)) for path in found]
        # No sooner: the service closes connections of strangers who don't ask anything for some seconds.
        async with service.clients(count) as clients:
            return await watched(one, service, observer, clients, paths, seconds)


async def watched(
    one: Orchestrator, service: Service, observer: Client, clients: list[Client], paths: list[str], seconds: float
) -> dict[str, float]:
    """The figures of clients that follow these executions, and of somebody who does other things meanwhile."""
    followers = Followers()
    for number, client in enumerate(clients):
        followers.start(client, paths[number % len(paths)])
    await followers.settle()
    service.simulator.forget_calls()
    followers.count()
    others = []
    began = time.perf_counter()
    while time.perf_counter() < began + seconds:
        for path in ("/workflows?limit=10", paths[0]):
            answer = await observer.ask("GET", path)
            assert answer.status == 200, answer
            others.append(answer.seconds)
            await asyncio.sleep(0.05)
    counted = [call for call in service.simulator.calls() if call.method != "WEBSOCKET"]
    if one.listing is not None:
        counted = [call for call in counted if not one.lists(call)]
    calls = len(counted) / (time.perf_counter() - began)
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


FOLLOWED = ("--duration", "300", "--log-rate", "1", "--delay", "0.02")


async def measure_one(one: Orchestrator, report: Report) -> None:
    """Followers of one execution."""
    for count in (50, 200, 500):
        with one.running(50, *FOLLOWED, *one.more) as service:
            figures = await follow(one, service, count, 1, 16)
        report.line(f"{count} followers of one execution", **figures)
    case = "500 followers of one execution"
    calls, p50, p95 = figures["upstream_per_s"], figures["delay_p50_s"], figures["delay_p95_s"]
    goals = one.goals
    report.goal(case, f"≤ {goals.followed_calls} calls/s", f"{calls:.2f} calls/s", calls <= goals.followed_calls)
    report.goal(case, f"delay p50 ≤ {goals.delay_p50} s", f"{p50:.2f} s", p50 <= goals.delay_p50)
    report.goal(case, f"delay p95 ≤ {goals.delay_p95} s", f"{p95:.2f} s", p95 <= goals.delay_p95)
    report.goal(case, "others' p95 ≤ 50 ms", f"{figures['others_p95_ms']:.0f} ms", figures["others_p95_ms"] <= 50)


async def measure_many(one: Orchestrator, report: Report) -> None:
    """Followers of as many executions."""
    for count in (50, 200, 500):
        with one.running(count, *FOLLOWED, *one.more) as service:
            figures = await follow(one, service, count, count, 16)
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


def main(one: Orchestrator, about: str | None) -> None:
    """Measures and prints.

    Args:
        about: what the program says of itself.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0] if about else None)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parts = parser.parse_args().parts or list(PARTS)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    report = Report()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for part in parts:
            runner.run(PARTS[part](one, report))
    sys.exit(not report.table())
