"""What stands in the way of one of several machines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from hpcwaas.configuration.settings import MACHINE, Settings
from hpcwaas.errors import ConfigurationError


def problems(settings: Settings) -> Iterator[ConfigurationError]:
    """What is wrong with the settings of several machines. Changes nothing.

    Yields:
        One error for each.
    """
    own, shared = settings.data_dir.absolute(), settings.shared_dir
    if shared is None:
        if settings.machine is not None:
            yield ConfigurationError("machine", "is of no use without `shared_dir`: remove it")
        return
    if not shared.is_absolute():
        yield ConfigurationError("shared_dir", f"{shared} has to be an absolute path, the same on all machines")
    elif own.is_relative_to(shared) or shared.is_relative_to(own):
        yield ConfigurationError("shared_dir", f"{shared} and `data_dir` ({own}) can't be one inside of the other")
    # Never made: it would lie below the place where nothing is mounted.
    elif not shared.is_dir():
        yield ConfigurationError("shared_dir", f"{shared} is no directory: mount it, or make it once")
    elif not os.access(shared, os.W_OK | os.X_OK):
        yield ConfigurationError("shared_dir", f"{shared} can't be written by the service's account")
    if settings.database_url.startswith("sqlite"):
        yield ConfigurationError("shared_dir", "needs PostgreSQL (`store.url`), which all machines reach")
    if not re.match(MACHINE, str(settings.machine_name)):
        yield ConfigurationError("machine", f"the host name {settings.machine_name!r} can't be the name: give another")
