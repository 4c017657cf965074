"""What the tests of the engine `alien4cloud` share."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hpcwaas.core.models import ExecutionState, Level, LogPage, Status
from hpcwaas.core.ports.engine import Engine
from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from tests.simulators.alien4cloud import Simulator

ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR
RUN = "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@"
"""Begin of the ids of what is deployed in the recorded world."""

ENGINE = "hpcwaas.engines.alien4cloud"
Make = Callable[..., Alien4CloudEngine]


def start(engine: Alien4CloudEngine, workflow: str = f"{RUN}exec_job", id_: str | None = None, **inputs: Any) -> str:
    details = engine.workflow(workflow)
    if not inputs and details.inputs["required"]:
        inputs = {"user_id": "alice"}
    return engine.start(id_ or str(uuid.uuid4()), details, engine.prepare(details, inputs, lambda _: None))


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


def made(simulator: Simulator, what: str) -> int:
    """How many calls there were with this in their method and path."""
    return sum(what in f"{call.method} {call.path}" for call in simulator.calls())


def log_line(simulator: Simulator, execution: str, number: int, stamp: float, content: str = "") -> None:
    seconds = datetime.fromtimestamp(stamp, UTC)
    simulator._inner.executions.logs.append(
        {
            "level": ("DEBUG", "INFO", "WARN", "ERROR")[number % 4],
            "timestamp": int(stamp * 1000),
            # trailing zeros are cut off, as the orchestrator does it
            "rawtimestamp": seconds.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z",
            "executionId": execution,
            "content": content or f"line {number}",
        }
    )
