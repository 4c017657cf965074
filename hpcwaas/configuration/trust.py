"""Whether a configuration file is the operator's own: who writes it decides who is let in. Who writes the prologue of a
site decides what runs by its users' accounts."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from hpcwaas.common.scrubbing import secrets_in
from hpcwaas.configuration.settings import Settings

_EXECUTIONS_READ = ("/usr", sys.prefix, sys.base_prefix)


def problems(path: Path, settings: Settings) -> Iterator[str]:
    """What of a configuration file, or of the directories that it is in, gives it into the hands of others.

    Args:
        settings: that were made of it.
    """
    yield from others_write(path, settings)
    for place in _EXECUTIONS_READ:
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(place)):
            yield f"{path} isn't read: executions can read all of {place}; move it to /etc/hpcwaas-api"


def others_write(path: Path, settings: Settings) -> Iterator[str]:
    """What of a file, or of the directories that it is in, lets others decide what it says."""
    real = Path(os.path.realpath(path))
    for part in (real, *real.parents):
        status = part.stat()
        kind = "it" if part == real else f"the directory {part}"
        if status.st_uid not in (0, os.geteuid()):
            yield (
                f"{path} isn't read: {kind} belongs to the account with the number {status.st_uid}, and has to belong "
                "to root or to the service's account"
            )
        shared = part != real and status.st_mode & stat.S_ISVTX
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not shared:
            yield f"{path} isn't read: others can write {kind}; `chmod go-w {part}`"
    of_engines = (place for section in settings.engines.values() for place in section.writable_places())
    for name, holder in (("data_dir", settings.data_dir), ("shared_dir", settings.shared), *of_engines):
        if real.is_relative_to(os.path.realpath(holder)):
            yield f"{path} isn't read: it is in {name}, where executions may write; move it to /etc/hpcwaas-api"


def warnings(path: Path, settings: Settings) -> Iterator[str]:
    """What of a file should be otherwise, and stops nothing."""
    if path.stat().st_mode & stat.S_IROTH and any(secrets_in(settings)):
        yield f"{path} contains secrets, and everybody on this machine can read it; `chmod o-r {path}`"
