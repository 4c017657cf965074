"""What a service does for users while many look on, and what it takes when nobody does.

A thousand streams and long polls are open, of an execution whose log grows; users' requests are measured beside those
of the same service without them. Then a service that has nothing to do, and one that everybody uses for a while.

Goals, with two workers and the load on the same cores: 99 of 100 simple requests take at most 50 ms while a thousand
look on; an idle service takes at most 0.5 % of a core; after the use, memory, threads and open files are what they were
at its middle, and no rows or files are left.

    python benchmarks/streams.py [MINUTES OF USE]
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import requests

sys.path.insert(0, str(Path(__file__).parents[1]))

from waas_cli.api import Waas, calls
from waas_cli.errors import NotFound

from benchmarks.tools.report import Report
from tests.e2e.processes import Service, eventually

STREAMS_OF_LOGS, STREAMS_OF_EVENTS, POLLS = 500, 300, 200
REQUESTS, IDLE_SECONDS, AT_ONCE = 1500, 60.0, 3
GROWTH = 1.05
"""How much of the memory at the middle may be there in the end: what was asked for is remembered, within bounds."""

COUNT = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'i=0; while [ $i -lt "$0" ]; do echo "second $i" >&2; sleep 1; i=$((i+1)); done; echo done']
inputs:
  seconds: {type: int, inputBinding: {position: 1}}
outputs: {text: stdout}
stdout: text.txt
"""


@contextlib.contextmanager
def started() -> Iterator[Service]:
    """A service with two workers and one workflow."""
    with tempfile.TemporaryDirectory() as home:
        service = Service(Path(home), HWA_SERVER_WORKERS="2", HWA_LIMITS_REQUESTS="1000000")
        try:
            service.publish("count", COUNT)
            yield service.start()
        finally:
            service.end()


class Onlookers:
    """Those who look at an execution, in an event loop of their own. To be used in a `with` block."""

    def __init__(self, service: Service, execution_id: str) -> None:
        address = urlsplit(service.url)
        self._host, self._port = str(address.hostname), address.port
        self._token = service.token
        self._where = f"/executions/{execution_id}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: list[asyncio.Task[None]] = []
        self.open = self.events = self.lost = 0

    def __enter__(self) -> Onlookers:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(120)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(120)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _begin(self) -> None:
        wanted = [("/logs", True)] * STREAMS_OF_LOGS + [("/events", True)] * STREAMS_OF_EVENTS
        for where, streamed in wanted + [("/logs", False)] * POLLS:
            self._tasks.append(asyncio.create_task(self._look(self._where + where, streamed=streamed)))
            if len(self._tasks) % 50 == 0:
                await asyncio.sleep(0.2)  # users don't come in the same millisecond

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self, where: str, *, streamed: bool) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            position = 0
            while True:
                kind = "text/event-stream" if streamed else "application/json"
                query = "" if streamed else f"?from={position}&timeout=30s"
                writer.write(
                    f"GET {where}{query} HTTP/1.1\r\nHost: {self._host}\r\nAccept: {kind}\r\n"
                    f"Authorization: Bearer {self._token}\r\n\r\n".encode()
                )
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head.split(b"\r\n")[0], head
                self.open += position == 0
                if streamed:
                    while await reader.readline():
                        self.events += 1
                    self.lost += 1
                    return
                length = next(int(line.split()[1]) for line in head.split(b"\r\n") if b"content-length" in line.lower())
                position += (await reader.readexactly(length)).count(b'"index"')
        finally:
            writer.close()


def asked(service: Service, count: int) -> list[float]:
    """How many milliseconds each of some simple requests takes."""
    session, times = requests.Session(), []
    headers = {"Authorization": f"Bearer {service.token}"}
    for _ in range(count):
        began = time.perf_counter()
        answer = session.get(f"{service.url}/whoami", headers=headers, timeout=60)
        times.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, answer.text
        time.sleep(0.005)  # a user, not a flood
    return times


def looked_on(report: Report) -> None:
    """Measures requests while many look on, and without them."""
    with started() as service:
        waas = Waas(service.url, access_token=service.token)
        execution_id = waas.trigger("count", {"seconds": 600})
        eventually(lambda: list(waas.logs(execution_id)))
        asked(service, 100)
        alone = asked(service, REQUESTS)
        with Onlookers(service, execution_id) as onlookers:
            eventually(lambda: onlookers.open >= STREAMS_OF_LOGS + STREAMS_OF_EVENTS + POLLS)
            seen, threads = onlookers.events, [worker.num_threads() for worker in service.processes("worker")]
            beside = asked(service, REQUESTS)
            assert onlookers.events > seen + STREAMS_OF_LOGS, "nothing was told meanwhile"
            assert not onlookers.lost
        for name, times in (("nobody looks on", alone), ("a thousand look on", beside)):
            report.line(name, median_ms=statistics.median(times), p99_ms=statistics.quantiles(times, n=100)[98])
        late = statistics.quantiles(beside, n=100)[98]
        report.goal("99 of 100 requests beside a thousand", "50 ms", f"{late:.1f} ms", late <= 50)
        report.goal("threads of a worker then", "64", f"{max(threads)}", max(threads) <= 64)
        waas.cancel(execution_id)


def idle(report: Report) -> None:
    """Measures a service that nobody asks for anything."""
    with started() as service:
        time.sleep(20)  # what a start leaves to be done
        before = {process.pid: sum(process.cpu_times()[:2]) for process in service.processes()}
        time.sleep(IDLE_SECONDS)
        spent = sum(sum(process.cpu_times()[:2]) - before[process.pid] for process in service.processes())
        share = spent / IDLE_SECONDS
        report.goal("an idle service", "0.5 % of a core", f"{share:.2%}", share <= 0.005)


def used(report: Report, seconds: float) -> None:
    """Uses a service, and compares what it holds in the middle and at the end."""
    with started() as service:
        over, failures = threading.Event(), list[BaseException]()

        def user(number: int) -> None:
            try:
                with Waas(service.url, access_token=service.token) as waas:
                    while not over.is_set():
                        _use(waas, service.home / f"given-{number}.txt")
            except BaseException as error:
                failures.append(error)
                raise

        users = [threading.Thread(target=user, args=(number,)) for number in range(AT_ONCE)]
        for each in users:
            each.start()
        found = []
        for _ in range(2):
            over.wait(seconds / 2)
            found.append(_holds(service))
        over.set()
        for each in users:
            each.join()
        assert not failures, failures
        middle, end = found
        report.line("in the middle", **middle)
        report.line("at the end", **end)
        ratio = end["memory_mib"] / middle["memory_mib"]
        report.goal("memory after the use", f"{GROWTH} times that in its middle", f"{ratio:.3f} times", ratio <= GROWTH)
        for name in ("threads", "open_files"):
            most = middle[name] + 4 * AT_ONCE  # connections come and go
            report.goal(f"{name} after the use", f"{most:.0f}", f"{end[name]:.0f}", end[name] <= most)
        eventually(lambda: not any((service.data / "cwl" / "executions").iterdir()))
        with service.database() as database:
            rows = sum(
                database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of ours
                for table in ("executions", "uploads", "shares", "execution_sources")
            )
        report.goal("rows and directories that are left", "0", str(rows), rows == 0)


def _use(waas: Waas, given: Path) -> None:
    given.write_text("some text")
    uploaded = waas.upload(given)
    execution_id = waas.trigger("count", {"seconds": 0})
    list(waas.logs(execution_id, follow=True))
    assert waas.wait(execution_id)["status"] == "SUCCEEDED"
    list(waas.executions())
    waas.workflows()
    waas.delete(execution_id)
    waas.call(calls.delete_file(uploaded["id"]))
    with contextlib.suppress(NotFound):
        waas.execution(execution_id)


def _holds(service: Service) -> dict[str, float]:
    processes = service.processes("master", "worker", "launcher")
    memory = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            memory += process.memory_full_info().uss / 2**20
    return {
        "memory_mib": memory,
        "threads": float(sum(process.num_threads() for process in processes)),
        "open_files": float(sum(process.num_fds() for process in processes)),
    }


def main(minutes: float) -> bool:
    """Measures. Returns whether all goals are met."""
    report = Report()
    looked_on(report)
    idle(report)
    used(report, 60 * minutes)
    return report.table()


if __name__ == "__main__":
    sys.exit(0 if main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0) else 1)
