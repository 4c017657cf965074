"""What the tests of the engine `yorc` share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from hpcwaas.engines.yorc.engine import YorcEngine

ENGINE = "hpcwaas.engines.yorc"
DEMO = "demo-Environment@"
"""Begin of the ids of what is deployed in the recorded world."""

Make = Callable[..., YorcEngine]


def start(engine: YorcEngine, workflow: str = f"{DEMO}hello", id_: str | None = None, **inputs: Any) -> str:
    details = engine.workflow(workflow)
    if workflow.endswith("@hello") and not inputs:
        inputs = {"who": "bob"}
    return engine.start(id_ or str(uuid.uuid4()), details, engine.prepare(details, inputs, lambda _: None))
