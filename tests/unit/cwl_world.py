"""A CWL workflow with inputs of many types, and a user with uploads for them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import Execution, StoredUpload, Upload, Workflow, WorkflowDetails
from hpcwaas.engines.cwl.inputs.archives import look
from hpcwaas.engines.cwl.inputs.checks import prepare_job
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.inputs.sources import Sources
from hpcwaas.engines.cwl.workflows.parameters import load_parameter
from hpcwaas.engines.cwl.workflows.schema import inputs_schema
from hpcwaas.engines.cwl.workflows.snapshot import Snapshot
from hpcwaas.errors import InputProblem, InvalidInputs

COLOUR = {"type": "enum", "symbols": ["red", "green"], "name": "Colour"}
SAMPLE = {
    "type": "record",
    "name": "Sample",
    "fields": [{"name": "name", "type": "string"}, {"name": "depth", "type": ["null", "int"]}],
}
DIGEST = "0" * 64
"""Of every upload."""

DECLARED: list[dict[str, Any]] = [
    {"name": "threads", "type": "int"},
    {"name": "total", "type": ["null", "long"]},
    {"name": "ratio", "type": "double", "default": 0.5},
    {"name": "flag", "type": ["null", "boolean"]},
    {"name": "title", "type": ["null", "string"]},
    {"name": "colour", "type": ["null", COLOUR]},
    {"name": "numbers", "type": ["null", {"type": "array", "items": "int"}]},
    {"name": "samples", "type": ["null", {"type": "array", "items": SAMPLE}]},
    {"name": "either", "type": ["null", "int", {"type": "array", "items": "string"}]},
    {"name": "reads", "type": ["null", "File"]},
    {"name": "many", "type": ["null", {"type": "array", "items": "File"}]},
    {"name": "folder", "type": ["null", "Directory"]},
    {"name": "anything", "type": ["null", "Any"]},
    {"name": "text_or_file", "type": ["null", "File", "string"]},
    {"name": "word_or_file", "type": ["null", "File", COLOUR]},
]


def look_here(upload: StoredUpload) -> str:
    """Looks into an archive in this process."""
    with upload.path.open("rb") as source:
        return look(source, 2**20)


class World:
    """A workflow with inputs and a user with uploads."""

    def __init__(self, directory: Path, declared: list[dict[str, Any]]) -> None:
        self.directory = directory
        self.uploads: dict[str, StoredUpload] = {}
        self.executions: dict[str, Execution] = {}
        self.outputs: dict[str, Any] = {}
        self.announced = False
        parameters = tuple(load_parameter(item) for item in declared)
        self.snapshot = Snapshot("v1", directory / "main.cwl", "main", None, None, parameters, (), ())
        workflow = Workflow("wf", "wf", "cwl", "wf", "local", "local")
        self.details = WorkflowDetails(workflow, inputs_schema(parameters), (), (), "v1")

    def upload(self, key: str, name: str, content: bytes = b"x") -> Path:
        path = self.directory / key
        path.write_bytes(content)
        upload = Upload(key, "alice", name, "text/plain", len(content), DIGEST, datetime.now(UTC))
        self.uploads[key] = StoredUpload(upload, path)
        return path

    def prepare(self, http_inputs: bool = False, **inputs: Any) -> Job:
        networks = Networks() if http_inputs else None
        find, kept = self.executions.get, self.outputs.__getitem__
        sources = Sources(self.uploads.get, look_here, networks, find, kept, self.announced)
        return prepare_job(self.snapshot, inputs, sources)

    def order(self, **inputs: Any) -> Any:
        """The order, with the required input given."""
        return {key: value for key, value in self.prepare(threads=1, **inputs).order.items() if key != "threads"}

    def problems(self, http_inputs: bool = False, **inputs: Any) -> list[InputProblem]:
        with pytest.raises(InvalidInputs) as caught:
            self.prepare(http_inputs, **{"threads": 1, **inputs})
        return list(caught.value.problems)
