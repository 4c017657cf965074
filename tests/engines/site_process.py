"""A service process with a site, that may kill itself at an instant:
`python -m tests.engines.site_process DIRECTORY MACHINE WHEN METHOD IDS…`."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import wraps
from pathlib import Path
from typing import Any

from hpcwaas.engines.cwl.sites.mirror import Mirror
from tests.engines.site_bench import OUTPUT, SiteBench


def kill(when: str, method: str) -> None:
    """Kills this process `before` or `after` the first call of a method of the mirror."""
    original = getattr(Mirror, method)

    @wraps(original)
    def killing(*arguments: Any, **more: Any) -> Any:
        if when == "after":
            original(*arguments, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Mirror, method, killing)


def main() -> None:
    """Starts executions, and lives until it is killed."""
    directory, machine, when, method, *ids = sys.argv[1:]
    if when != "never":
        kill(when, method)
    bench = SiteBench(Path(directory), machine=machine)
    for each in ids:
        bench.start(OUTPUT, execution_id=each)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
