"""Makes outputs of executions the inputs of others, without a copy."""

import contextlib
import os
import stat
from typing import Dict

from hpcwaas.engines.cwl.sites.agent.answers import JSON, Trouble
from hpcwaas.engines.cwl.sites.agent.execution import Execution
from hpcwaas.engines.cwl.sites.agent.files import link
from hpcwaas.engines.cwl.sites.agent.outputs import contents, inside


def take(root: str, taken: Dict[str, JSON], target: str) -> None:
    """Links an output file, or the files of an output directory as an archive of it has them.

    Args:
        taken: its execution, its path there, and its kind.
        target: doesn't exist; its parent does.

    Raises:
        Trouble: it isn't there any more.
    """
    top = os.path.realpath(Execution(root, taken["execution"]).path("outputs"))
    source = inside(top, os.path.join(top, taken["path"]))
    is_file = taken["kind"] == "File"
    if not source or not (os.path.isfile(source) if is_file else os.path.isdir(source)):
        raise _gone(taken, target)
    if is_file:
        _link(source, target)
        return
    os.mkdir(target)
    for name, path, status in contents(source, lambda name, reason: None):
        place = os.path.join(target, name)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(place)
        else:
            _link(path, place)
    if not os.path.isdir(source):  # it was removed meanwhile, and some of it may be missing
        raise _gone(taken, target)


def _link(source: str, target: str) -> None:
    # Both are one file: a tool that writes to its input mustn't change the output that it was.
    mode = stat.S_IMODE(os.stat(source).st_mode)
    with contextlib.suppress(OSError):  # somebody else's, who has lent it
        if mode & 0o222:
            os.chmod(source, mode & ~0o222)
    link(source, target)


def _gone(taken: Dict[str, JSON], target: str) -> Trouble:
    words = f"{os.path.basename(target)}, an output of the execution {taken['execution']} and an input of this one,"
    return Trouble("missing", words, "it was removed there, or its file system was purged")
