"""What runs workflows in tests: the real launcher, supervisors and cwltool."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcwaas.core.models import ExecutionState, Level, StepDeclaration, Workflow, WorkflowDetails
from hpcwaas.core.outputs import OutputFile
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.settings import CWLSettings
from tests.waiting import wait

DATA = Path(__file__).parent.parent / "data" / "run"
ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR
DETAILS = WorkflowDetails(Workflow("w", "w", "cwl", "w", "local", "local"), {}, (), (), "1")
"""Of what isn't in the catalogue of the engine that runs it."""


@dataclass
class Bench:
    """Executions in a directory of their own."""

    directory: Path
    executions: CWLEngine

    @classmethod
    def open(cls, directory: Path, **settings: Any) -> Bench:
        parsed = CWLSettings.model_validate({"max_running": 4} | settings)
        return cls(directory, CWLEngine(parsed, directory.parent))

    def start(self, document: str, order: dict[str, Any], *steps: str, **more: Any) -> str:
        declared = tuple(StepDeclaration(name) for name in steps or (document,))
        values: dict[str, Any] = {"fragment": None, "staged": (), "fetched": ()} | more
        job = Job(document=DATA / f"{document}.cwl", order=order, steps=declared, **values)
        return self.begin(job)

    def begin(self, job: Job, execution_id: str | None = None) -> str:
        return self.executions.start(execution_id or uuid.uuid4().hex, DETAILS, job)

    def shell(self, script: str) -> str:
        return self.start("shell", {"script": script})

    def end(self, reference: str, timeout: float = 90) -> ExecutionState:
        wait(self.executions, reference, Level(0), 0, timeout)
        state = self.executions.state(reference)
        assert state.status.over, state
        return state

    def text(self, reference: str, levels: Level = ALL) -> str:
        return "\n".join(entry.content for entry in self.executions.log(reference, levels, 0, None).entries)

    def content(self, reference: str, name: str, path: str | None = None) -> bytes:
        output = self.executions.output(reference, name, path, "zip")
        assert isinstance(output, OutputFile)
        with output.stream as stream:
            return stream.read()
