"""What the tests of engines share that drive an orchestrator's server."""

from __future__ import annotations

import threading
import time

from hpcwaas.core.models import ExecutionState, Level, LogPage, Status
from hpcwaas.core.ports.engine import Engine
from tests.simulators.controls import Controls

ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR


def until(engine: Engine, reference: str, *statuses: Status, timeout: float = 60) -> ExecutionState:
    deadline = time.monotonic() + timeout
    while (state := engine.state(reference)).status not in statuses:
        assert time.monotonic() < deadline, state
        time.sleep(0.02)
    return state


def wait(engine: Engine, reference: str, start: int, timeout: float) -> bool:
    """Waits for a log entry at `start`, or for the end; whether it came in time."""
    woken = threading.Event()
    end = engine.watch(reference, ALL, start, woken.set)
    came = woken.wait(timeout)
    end()
    end()
    return came


def whole_log(engine: Engine, reference: str, timeout: float = 90) -> LogPage:
    deadline = time.monotonic() + timeout
    while not (page := engine.log(reference, ALL, 0, None)).over:
        assert time.monotonic() < deadline, page
        wait(engine, reference, page.total, 2)
    return page


def made(simulator: Controls, what: str) -> int:
    """How many calls there were with this in their method and path."""
    return sum(what in f"{call.method} {call.path}" for call in simulator.calls())
