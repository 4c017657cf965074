"""What counting costs: a service with metrics beside one without, asked by turns, and what reading the metrics takes.

Both are asked for something simple, by turns, so that whatever else the machine does meets both.
Goals: the median and the processor time of a request are at most 5 % above those without metrics, and reading every 15
seconds takes at most 0.5 % of a core.

    python benchmarks/metrics.py [REQUESTS]
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.tools.report import Report
from tests.e2e.processes import Service

WARM, READS = 100, 20
TOKEN = "a-token-for-this-benchmark"  # noqa: S105 - of a service that lives for seconds


class Asked:
    """A running service, and a connection to it."""

    def __init__(self, service: Service) -> None:
        self._workers = service.processes("worker")
        self._session = requests.Session()
        self._url = service.url
        self._user = {"Authorization": f"Bearer {service.token}"}
        self.times: list[float] = []

    def ask(self, path: str = "/whoami", token: str | None = None) -> None:
        """Sends a request, and notes how long it takes."""
        headers = {"Authorization": f"Bearer {token}"} if token else self._user
        began = time.perf_counter()
        answer = self._session.get(f"{self._url}{path}", headers=headers, timeout=60)
        self.times.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text

    def spent(self) -> float:
        """Seconds of a processor that its workers have taken."""
        return sum(sum(worker.cpu_times()[:2]) for worker in self._workers)


@contextlib.contextmanager
def started(**variables: str) -> Iterator[Service]:
    """A service with two workers."""
    with tempfile.TemporaryDirectory() as home:
        service = Service(Path(home), HWA_SERVER_WORKERS="2", HWA_LIMITS_REQUESTS="1000000", **variables)
        try:
            yield service.start()
        finally:
            service.end()


def main(count: int) -> bool:
    """Measures. Returns whether all goals are met."""
    report = Report()
    with started() as without, started(HWA_METRICS_TOKEN=TOKEN) as counting:
        both = plain, measured = Asked(without), Asked(counting)
        for _ in range(WARM):
            plain.ask()
            measured.ask()
        plain.times, measured.times = [], []
        before = [asked.spent() for asked in both]
        for number in range(count):
            for asked in both if number % 2 else reversed(both):
                asked.ask()
        spent = [asked.spent() - since for asked, since in zip(both, before, strict=True)]
        for name, asked, used in zip(("without metrics", "with metrics"), both, spent, strict=True):
            median, late = (1000 * statistics.quantiles(asked.times, n=100)[part] for part in (49, 98))
            report.line(name, median_ms=median, p99_ms=late, processor_ms=1000 * used / count)
        ratio = statistics.median(measured.times) / statistics.median(plain.times)
        report.goal("median of a request", "1.05 times that without", f"{ratio:.3f} times", ratio <= 1.05)
        ratio = spent[1] / spent[0]
        report.goal("processor time of a request", "1.05 times that without", f"{ratio:.3f} times", ratio <= 1.05)
        since = measured.spent()
        for _ in range(READS):
            measured.ask("/metrics", TOKEN)
        share = (measured.spent() - since) / READS / 15
        report.goal("reading the metrics every 15 seconds", "0.5 % of a core", f"{share:.2%}", share <= 0.005)
    return report.table()


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000) else 1)
