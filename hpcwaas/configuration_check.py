"""Finds settings that are each well formed and can't be honoured."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hpcwaas import listening
from hpcwaas.errors import ConfigurationError
from hpcwaas.resources import resource
from hpcwaas.settings import LimitSettings, RunnerSettings, Settings

_LEAST_MEMORY = 16 * 2**20
_LEAST_LOG = 4 * 2**10
_LEAST_DISK = 2**20


def contradictions(settings: Settings) -> Iterator[ConfigurationError]:
    """What this machine or another setting stands against. Changes nothing.

    Yields:
        One error for each.
    """
    try:
        listening.check(settings)
    except ConfigurationError as error:
        yield error
    if problem := _directory(settings.data_dir):
        yield ConfigurationError("data_dir", problem)
    if settings.store.url is None and "?" in str(settings.data_dir):
        yield ConfigurationError("data_dir", "can't hold a question mark: the database's URL would end there")
    if (settings.store.url or "").startswith("sqlite") and ":////" not in (settings.store.url or ""):
        yield ConfigurationError(
            "store.url", "SQLite needs an absolute path here: sqlite:////var/lib/hpcwaas/hpcwaas.db"
        )
    catalogue = settings.cwl.catalogue or resource("examples")
    if not (os.access(catalogue, os.F_OK) and catalogue.is_dir()):
        yield ConfigurationError("cwl.catalogue", f"{catalogue} is no directory")
    elif not os.access(catalogue, os.R_OK | os.X_OK):
        yield ConfigurationError("cwl.catalogue", f"{catalogue} isn't readable")
    if problem := _runner(settings.cwl.runner):
        yield ConfigurationError("cwl.runner.command", problem)
    yield from _limits(settings.cwl.limits)


def _directory(path: Path) -> str | None:
    if os.access(path, os.F_OK):  # Path.exists() raises when a directory above may not be entered
        if not path.is_dir():
            return f"{path} is no directory"
        return None if os.access(path, os.R_OK | os.W_OK | os.X_OK) else f"{path} isn't writable"
    parent = next(it for it in path.parents if os.access(it, os.F_OK))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return f"{path} doesn't exist and can't be made in {parent}"
    return None


def _runner(runner: RunnerSettings) -> str | None:
    if runner.command == ("cwltool",):
        if importlib.util.find_spec("cwltool") is None:
            return "cwltool isn't installed: `pip install 'hpcwaas[cwl]'`, or set another CWL runner"
        return None
    return None if shutil.which(runner.command[0]) else f"there is no program {runner.command[0]}"


def _limits(limits: LimitSettings) -> Iterator[ConfigurationError]:
    # The usual slip is a number without its unit.
    for name, given, least, unit in (
        ("memory", limits.memory, _LEAST_MEMORY, "16MiB"),
        ("log", limits.log, _LEAST_LOG, "4kiB"),
        ("disk", limits.disk, _LEAST_DISK, "1MiB"),
    ):
        if given < least:
            yield ConfigurationError(
                f"cwl.limits.{name}", f"nothing runs within {given} bytes; expected {unit} or more, with a unit"
            )
