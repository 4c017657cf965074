"""What stands in the way of the embedded engine on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator

from hpcwaas.engines.cwl.confinement import levels
from hpcwaas.engines.cwl.containers import KEY, Containers
from hpcwaas.engines.cwl.settings import CWLSettings, LimitSettings, RunnerSettings

_LEAST_MEMORY = 16 * 2**20
_LEAST_LOG = 4 * 2**10
_LEAST_DISK = 2**20


def problems(settings: CWLSettings, local: bool) -> Iterator[tuple[str, str]]:
    """The names of settings that this machine or other settings stand against, and why; see `EngineEntry.problems`."""
    catalogue = settings.catalogue
    if not (os.access(catalogue, os.F_OK) and catalogue.is_dir()):
        yield "catalogue", f"{catalogue} is no directory"
    elif not os.access(catalogue, os.R_OK | os.X_OK):
        yield "catalogue", f"{catalogue} isn't readable"
    if not settings.local:
        return
    if problem := _runner(settings.runner):
        yield "runner.command", problem
    yield from _limits(settings.limits)
    wanted = settings.confinement
    for problem in Containers(settings).problems(confined=levels.choose(wanted) != levels.NONE):
        yield KEY, problem
    if (wanted != levels.AUTO or not local) and (problem := levels.problem(wanted)):
        detail = (
            f"{problem}: executions can't be kept from the files of the service and of other users. `none` serves all "
            "the same, where whoever may run a workflow may act as the service's account"
        )
        yield "confinement", detail


def _runner(runner: RunnerSettings) -> str | None:
    if runner.command == ("cwltool",):
        if importlib.util.find_spec("cwltool") is None:
            return "cwltool isn't installed: `pip install 'hpcwaas[cwl]'`, or set another CWL runner"
        return None
    return None if shutil.which(runner.command[0]) else f"there is no program {runner.command[0]}"


def _limits(limits: LimitSettings) -> Iterator[tuple[str, str]]:
    # The usual slip is a number without its unit.
    for name, given, least, unit in (
        ("memory", limits.memory, _LEAST_MEMORY, "16MiB"),
        ("log", limits.log, _LEAST_LOG, "4kiB"),
        ("disk", limits.disk, _LEAST_DISK, "1MiB"),
    ):
        if given < least:
            yield f"limits.{name}", f"nothing runs within {given} bytes; expected {unit} or more, with a unit"
