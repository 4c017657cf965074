"""A service process that kills itself while it brings an output to an execution that takes it:
`python -m tests.engines.taking_process DIRECTORY WHEN SOURCE SITE ID`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from hpcwaas.engines.cwl.sites import directory, taking
from hpcwaas.engines.cwl.storage.spool import Spool
from tests.engines.test_sites_taken import PLACES, Taking


def kill(*_: object) -> None:
    """Kills this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Starts an execution, and lives until it is killed."""
    place, when, source, site, execution_id = sys.argv[1:]
    fetch = taking.fetch

    def killing(*arguments: Any) -> None:
        if when == "after":
            fetch(*arguments)
        kill()

    bench = Taking(Path(place))
    match when:
        case "before" | "after":
            directory.fetch = killing  # type: ignore[assignment,attr-defined]
        case "amid":
            taking.Room.take = kill  # type: ignore[assignment]
        case "brought":
            enqueue = Spool.enqueue

            def second(spool: Spool, each: str) -> None:
                if (spool.bringing / bench.ticket(each)).exists():
                    kill()
                enqueue(spool, each)

            Spool.enqueue = second  # type: ignore[method-assign,assignment]
    bench.take(source, PLACES[site], execution_id=execution_id)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
