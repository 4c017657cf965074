"""The embedded engine with another runner than cwltool: Toil, which `make test-system` installs beside the service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from hpcwaas.core.models import ExecutionState, Level, Status, StoredUpload, Upload
from hpcwaas.core.outputs import OutputArchive, OutputFile
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.settings import CWLSettings
from tests.waiting import wait

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv-toil" / "bin"
ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR
ARGUMENTS = (
    "--batchSystem=single_machine",
    "--jobStore={workdir}/jobstore",
    "--workDir={tmpdir}",
    "--coordinationDir={tmpdir}",
    "--maxCores={cores}",
    "--maxMemory={memory_mib}Mi",
    "--clean=always",
    "--no-container",
    "--no-prepull",
    "--relax-path-checks",
    "--disableProgress",
    "--logColors=False",
)

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CWLEngine]:
    assert (BIN / "toil-cwl-runner").exists(), "Toil isn't installed: use `make test-system`"
    settings = CWLSettings.model_validate(
        {
            "limits": {"cores": 2, "memory": "4 GiB"},
            # Toil starts other programs of its own by their names: its folder has to be on the PATH.
            "runner": {
                "command": ["env", f"PATH={BIN}{os.pathsep}{os.environ['PATH']}", "toil-cwl-runner"],
                "arguments": ARGUMENTS,
            },
        }
    )
    engine = CWLEngine(settings, tmp_path_factory.mktemp("data"))
    yield engine
    engine.close()


def run(engine: CWLEngine, workflow_id: str, inputs: dict[str, object], *uploads: Path) -> tuple[str, ExecutionState]:
    """Runs a workflow to its end; every upload's id is its name."""
    stored = {
        path.name: StoredUpload(
            Upload(path.name, "alice", path.name, "text/plain", path.stat().st_size, "0" * 64, datetime.now(UTC)), path
        )
        for path in uploads
    }
    details = engine.workflow(workflow_id)
    reference = engine.start(uuid4().hex, details, engine.prepare(details, inputs, stored.get))
    wait(engine, reference, Level(0), 0, 150)
    return reference, engine.state(reference)


def log(engine: CWLEngine, reference: str) -> str:
    return "\n".join(entry.content for entry in engine.log(reference, ALL, 0, None).entries)


def test_scatter_over_uploads_with_values_and_files(engine: CWLEngine, tmp_path: Path) -> None:
    texts = [tmp_path / "one.txt", tmp_path / "two words.txt"]
    for text in texts:
        text.write_text("the cat the dog\n")

    reference, state = run(engine, "word-statistics", {"texts": [text.name for text in texts], "top": 1}, *texts)

    assert state.status is Status.SUCCEEDED, (state.reason, log(engine, reference))
    assert state.outputs is not None
    assert state.outputs["total"] == 8
    assert state.outputs["frequent"] == ["the"]
    table = engine.output(reference, "table", None, "zip")
    assert isinstance(table, OutputFile)
    with table.stream as stream:
        assert stream.read().splitlines()[1] == b"the,4,2,2"
    assert "one.txt: 4 words, 3 distinct" in log(engine, reference)


def test_directory_output(engine: CWLEngine) -> None:
    reference, state = run(engine, "parameter-sweep", {"transmission_rates": [0.2, 0.4], "days": 50})

    assert state.status is Status.SUCCEEDED, (state.reason, log(engine, reference))
    archive = engine.output(reference, "curves", None, "zip")
    assert isinstance(archive, OutputArchive)
    assert b"".join(archive.chunks).startswith(b"PK")


def test_failure_is_told(engine: CWLEngine) -> None:
    reference, state = run(engine, "failing-halfway", {})

    assert state.status is Status.FAILED
    assert state.reason
    assert "line 11: temperature is 'n/a', expected a number" in log(engine, reference)
