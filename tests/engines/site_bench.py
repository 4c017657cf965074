"""Executions on a site of the tests: the real agent on a simulated login node, and a runner that is a shell script."""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcwaas.core.models import ExecutionState, Level, Status, StepDeclaration
from hpcwaas.core.outputs import OutputFile
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.inputs.job import Job, StagedFile
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.site_settings import SiteSettings
from tests.engines.cwl_bench import ALL, DETAILS
from tests.simulators.logins import HOST_KEY, Logins
from tests.waiting import pause, until

PLACEMENT = Placement("mare", "u1234", "key")

RUNNER = """#!/bin/sh
# Runs as `runner --outdir DIRECTORY DOCUMENT JOB`; the job's member `script` is what it does.
outdir=$2; job=$4; here=$(dirname "$job")
echo x >> "$HOME/began"
script=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["script"])' "$job")
cd "$outdir" && . /dev/stdin <<END
$script
END
"""
"""Writes a line to `began` whenever it is started."""

OUTPUT = """
echo text > file.txt; mkdir -p folder; echo inner > folder/inner.txt
echo '{"file": {"class": "File", "location": "file://'$outdir'/file.txt", "checksum": "sha1$1"},'
echo ' "folder": {"class": "Directory", "location": "file://'$outdir'/folder"}}'
"""


class SiteBench:
    """An engine with one site and nothing on this machine.

    Args:
        directory: of everything: the service's data and the homes.
        site: settings of the site that differ.
        connections: to use; a `Logins` of its own otherwise.
        machine: name of the machine, with a data directory of its own, among several.
    """

    def __init__(
        self,
        directory: Path,
        site: Mapping[str, Any] | None = None,
        logins: Logins | None = None,
        machine: str | None = None,
    ) -> None:
        self.directory = directory
        self.machine = machine
        self.owner = "alice"
        self.logins = logins or Logins(directory / "homes")
        self.home = self.logins.home(PLACEMENT)
        self.runner = directory / "runner"
        self.runner.write_text(RUNNER)
        self.runner.chmod(0o755)
        self.document = directory / "workflow" / "files" / "tool.cwl"
        self.document.parent.mkdir(parents=True, exist_ok=True)
        self.document.write_text("class: CommandLineTool\n")
        (self.document.parent.parent / "description.json").write_text("{}")
        self.site = dict(site or {})
        self.others: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, Any] = {"catalogue": self.document.parent, "local": False}
        self.engine = self.make()

    def make(self, *, with_site: bool = True) -> CWLEngine:
        """An engine on the same data."""
        given = {
            "title": "Mare",
            "host": "login.example.org",
            "host_keys": [HOST_KEY],
            "scheduler": "none",
            "runner": {"command": [str(self.runner)]},
        } | self.site
        sites = {"mare": given, **{name: given | other for name, other in self.others.items()}} if with_site else {}
        return CWLEngine(
            CWLSettings.model_validate(self.settings),
            self.directory / (self.machine or "data"),
            sites={name: SiteSettings.model_validate(each) for name, each in sites.items()},
            connections=self.logins,
            shared_dir=self.directory / "shared" if self.machine else None,
            machine=self.machine,
        )

    def again(self, **more: bool) -> None:
        """Closes the engine and makes another one, as a restart of the service does."""
        self.engine.close()
        self.engine = self.make(**more)

    def job(self, script: str, *files: Path, placement: Placement = PLACEMENT) -> Job:
        staged = tuple(
            StagedFile(path, f"inputs/{number}/{path.name}", None, hashlib.sha256(path.read_bytes()).hexdigest())
            for number, path in enumerate(files)
        )
        return Job(
            document=self.document,
            fragment=None,
            order={"script": script},
            staged=staged,
            fetched=(),
            steps=(StepDeclaration("tool"),),
            placement=placement,
        )

    def start(self, script: str, *files: Path, execution_id: str | None = None, **more: Any) -> str:
        return self.begin(self.job(script, *files, **more), execution_id)

    def begin(self, job: Job, execution_id: str | None = None) -> str:
        return self.engine.start(execution_id or uuid.uuid4().hex, DETAILS, job, self.owner)

    def until(self, reference: str, told: Callable[[ExecutionState], bool], within: float = 60) -> ExecutionState:
        """Waits until a state is so."""
        begun = time.monotonic()
        while not told(state := self.engine.state(reference)):
            assert time.monotonic() < begun + within, state
            pause(begun)
        return state

    @staticmethod
    def wait(condition: Callable[[], bool]) -> None:
        """Waits until something is so."""
        until(condition, 60)

    def end(self, reference: str, within: float = 60) -> ExecutionState:
        return self.until(reference, lambda state: state.status.over, within)

    def running(self, reference: str) -> ExecutionState:
        return self.until(reference, lambda state: state.status is Status.RUNNING)

    def began(self) -> int:
        """How often the runner was started."""
        with contextlib.suppress(FileNotFoundError):
            return len((self.home / "began").read_text().splitlines())
        return 0

    def text(self, reference: str, levels: Level = ALL) -> str:
        return "\n".join(entry.content for entry in self.engine.log(reference, levels, 0, None).entries)

    def content(self, reference: str, name: str, path: str | None = None) -> bytes:
        output = self.engine.output(reference, name, path, "zip")
        assert isinstance(output, OutputFile)
        with output.stream as stream:
            return stream.read()

    def count(self, command: str) -> int:
        """How often the agent was asked to do something."""
        return sum(each.endswith(f"'{command}'") for each in self.logins.commands)

    @property
    def work_dir(self) -> Path:
        return self.home / ".hpcwaas"


@contextlib.contextmanager
def opened(directory: Path, **more: Any) -> Iterator[SiteBench]:
    """A bench that is closed afterwards."""
    bench = SiteBench(directory, **more)
    try:
        yield bench
    finally:
        bench.engine.close()
