"""Runs the plain cwltool many times: `python bare_cwltool.py < runs.json`, a list of argument lists.

cwltool and its schemas are loaded once and forked for each run. What a run prints goes to `stdout` and `stderr` in the
folder after `--outdir`, its exit status to `status`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from cwltool.main import main
from cwltool.process import get_schema

PROCESSES = 3


def run(arguments: list[str]) -> None:
    """Runs cwltool in this process, and ends it."""
    folder = Path(arguments[arguments.index("--outdir") + 1])
    folder.mkdir(parents=True)
    os.chdir(folder)
    status = 1
    try:
        with Path("stdout").open("w", encoding="utf-8") as output, Path("stderr").open("w", encoding="utf-8") as errors:
            os.dup2(errors.fileno(), 2)
            # Without the callback it would throw away the schemas that have been loaded.
            status = main(arguments, stdout=output, stderr=errors, custom_schema_callback=lambda: None)
    finally:
        Path("status").write_text(str(status))
        os._exit(0)


if __name__ == "__main__":
    for version in ("v1.0", "v1.1", "v1.2"):
        get_schema(version)
    running = 0
    for each in json.load(sys.stdin):
        if running == PROCESSES:
            os.wait()
            running -= 1
        if os.fork() == 0:
            run(each)
        running += 1
    for _ in range(running):
        os.wait()
