"""What metrics tell of the service's own things: executions, the queue, keys, sites, and what it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from datetime import UTC, datetime
from itertools import product

import psutil

from hpcwaas import __version__
from hpcwaas.common import metrics
from hpcwaas.common.metrics import OTHER, Read, Reading
from hpcwaas.core.engines import Engines
from hpcwaas.core.health import Health
from hpcwaas.core.key_types import KEY_TYPES
from hpcwaas.core.models import Status
from hpcwaas.core.ports.engine import QueueingEngine
from hpcwaas.core.ports.sites import SiteEngine
from hpcwaas.core.ports.tallies import Tallies
from hpcwaas.core.site_models import LOCAL

_NOT_OVER = tuple(status for status in Status if not status.over)

_Readings = Iterator[tuple[Reading, tuple[str, ...], float]]

_EXECUTIONS = Reading(
    "executions",
    "Executions that haven't ended, as stored. Replicas of one store tell the same: take their maximum.",
    engine=None,
    status=_NOT_OVER,
)
_OLDEST = Reading(
    "executions_oldest_seconds", "Age of the oldest of these executions; 0 without one.", engine=None, status=_NOT_OVER
)
_WAITING = Reading("queue_waiting", "Executions that wait for their turn on the service's own machine.", engine=None)
_RUNNING = Reading("queue_running", "Executions that run on the service's own machine.", engine=None)
_LIMIT = Reading("queue_limit", "How many may run there at the same time.", engine=None)
_KEYS = Reading("ssh_keys", "SSH keys of all users.", type=tuple(KEY_TYPES))
_SITE = Reading(
    "site_up", "Whether a site answers: 0 when nothing has been heard of it, or it is in maintenance.", site=None
)
_UP = Reading(
    "dependency_up", "Whether something that the service depends on is in order, as /health/ready tells.", dependency=()
)
_INFO = Reading("info", "1, for the version that runs.", version=(__version__,))
_MEMORY = Reading("worker_memory_bytes", "Resident memory of a worker process.", worker=())
_THREADS = Reading("worker_threads", "Threads of a worker process.", worker=())
_CPU = Reading("worker_cpu_seconds", "Processor time that a worker process has used.", counter=True, worker=())


class Figures:
    """Finds out all of that. Every method may raise `ServiceError`."""

    def __init__(self, tallies: Tallies, engines: Engines, health: Health) -> None:
        self._tallies = tallies
        self._names = engines.names
        found = [(name, engines.get(name)) for name in engines.names]
        self._queueing = [(name, engine) for name, engine in found if isinstance(engine, QueueingEngine)]
        self._with_sites = [engine for _, engine in found if isinstance(engine, SiteEngine)]
        self._health = health

    def all(self) -> Sequence[Read]:
        """What to ask, one after another."""
        return [self._executions, self._keys, self._queues, self._sites, self._dependencies, _workers]

    def _executions(self) -> _Readings:
        now = datetime.now(UTC)
        found: dict[tuple[str, str], tuple[int, float]] = {}
        for tally in self._tallies.unfinished():
            key = (tally.engine if tally.engine in self._names else OTHER, tally.status)
            number, oldest = found.get(key, (0, 0.0))
            found[key] = (number + tally.number, max(oldest, (now - tally.oldest).total_seconds()))
        for key in product((*self._names, OTHER), _NOT_OVER):
            number, oldest = found.get(key, (0, 0.0))
            yield _EXECUTIONS, key, number
            yield _OLDEST, key, oldest

    def _keys(self) -> _Readings:
        found = self._tallies.ssh_keys()
        for kind in KEY_TYPES:
            yield _KEYS, (kind,), found.get(kind, 0)

    def _queues(self) -> _Readings:
        for name, engine in self._queueing:
            if (queue := engine.queue()) is not None:
                yield _WAITING, (name,), queue.waiting
                yield _RUNNING, (name,), queue.running
                yield _LIMIT, (name,), queue.limit

    def _sites(self) -> _Readings:
        for engine in self._with_sites:
            for site in engine.sites():
                if site.id != LOCAL:
                    yield _SITE, (site.id,), float(site.state == "available")

    def _dependencies(self) -> _Readings:
        checks, patience = self._health.look()
        wait(checks, patience)
        for check in self._health.report().checks:
            yield _UP, (check.name,), float(check.status == "ok")


def _workers() -> _Readings:
    yield _INFO, (__version__,), 1.0
    for row, number in metrics.processes().items():
        try:
            process = psutil.Process(number)
            with process.oneshot():
                memory, threads, times = process.memory_info().rss, process.num_threads(), process.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        yield _MEMORY, (str(row),), memory
        yield _THREADS, (str(row),), threads
        yield _CPU, (str(row),), times.user + times.system
