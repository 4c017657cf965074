"""What the tests of the engine `alien4cloud` share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from tests.simulators.alien4cloud import Simulator

RUN = "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@"
"""Begin of the ids of what is deployed in the recorded world."""

ENGINE = "hpcwaas.engines.alien4cloud"
Make = Callable[..., Alien4CloudEngine]


def start(engine: Alien4CloudEngine, workflow: str = f"{RUN}exec_job", id_: str | None = None, **inputs: Any) -> str:
    details = engine.workflow(workflow)
    if not inputs and details.inputs["required"]:
        inputs = {"user_id": "alice"}
    return engine.start(id_ or str(uuid.uuid4()), details, engine.prepare(details, inputs, lambda _: None))


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
