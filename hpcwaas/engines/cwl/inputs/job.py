"""What is handed from checking inputs to running: everything an execution needs, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcwaas.common import written
from hpcwaas.core.models import JSON, StepDeclaration
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from hpcwaas.engines.cwl.workflows.metadata import NO_LIMITS, Limits
from hpcwaas.engines.cwl.workflows.slurm import NOTHING, Slurm, StepNeeds


@dataclass(frozen=True, slots=True)
class StagedFile:
    """An upload that becomes a file of the execution's inputs.

    Attributes:
        source: content of the upload, on the service's machine.
        target: path relative to the execution's directory, `inputs/<number>/<name>`; safe by construction.
        unpack: `zip` or `tar`: `source` is an archive and `target` the directory that its content makes.
        sha256: digest of the content.
    """

    source: Path
    target: str
    unpack: str | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """An input that is downloaded before the runner starts.

    Attributes:
        url: http or https; checked against private addresses when the connection is made, redirects included.
        target: as in `StagedFile`.
    """

    url: str
    target: str


@dataclass(frozen=True, slots=True)
class Job:
    """An execution's work.

    Attributes:
        document: main CWL file inside its snapshot (absolute), which doesn't change any more.
        fragment: process to run inside a `$graph` document, without `#`; None for the only one or `main`.
        order: the CWL input object; every location in it is relative to the execution's directory and percent-encoded.
        taken: outputs of other executions among its inputs.
        steps: the steps of the workflow; a lone tool is one step.
        time: seconds that it may run; None for the setting's.
        limits: the workflow's own, where they are narrower than those of the settings.
        needs: what its steps declare to need.
        slurm: what its jobs ask for: what metadata say, until it is placed.
        placement: where it is to run; None for this machine.
        remarks: what the log says of all that.
    """

    document: Path
    fragment: str | None
    order: Mapping[str, JSON]
    staged: tuple[StagedFile, ...]
    fetched: tuple[FetchedFile, ...]
    steps: tuple[StepDeclaration, ...]
    time: float | None = None
    needs: tuple[StepNeeds, ...] = ()
    slurm: Slurm = NOTHING
    placement: Placement | None = None
    remarks: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    taken: tuple[TakenOutput, ...] = ()

    def longest(self, otherwise: float | None) -> float | None:
        """Seconds that it may run, by all that is said of it; None for no limit.

        Args:
            otherwise: the setting.
        """
        return min((each for each in (self.time or otherwise, self.limits.time) if each is not None), default=None)


_NOT_YAML = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")


def dump_order(order: Mapping[str, JSON]) -> str:
    """The order as JSON that a YAML parser reads the same: runners take it for YAML, where an escaped pair of
    surrogates is no character, and some plain characters are line breaks or not allowed."""
    text = written.dumps(order, ensure_ascii=False)
    return _NOT_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
