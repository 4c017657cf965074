"""Functions called in processes of their own, at the same time.

These are started, not forked: a process of tests has threads, and a fork of it may wait forever for what one of
them held.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_PATIENCE = 120


def at_once(function: Callable[..., object], arguments: Iterable[Iterable[object]]) -> list[Any]:
    """Calls a function once for each list of arguments, each in its own process, when all of them are ready.

    Args:
        function: a function of a module.
        arguments: what JSON can hold.

    Returns: what the calls gave, as JSON does.
    """
    with contextlib.ExitStack() as stack:
        processes = []
        for each in arguments:
            line = [sys.executable, "-m", __name__, function.__module__, function.__name__, json.dumps(list(each))]
            process = subprocess.Popen(line, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=_PATIENCE)[0]) for process in processes]


def _main(module: str, name: str, arguments: str) -> None:
    function = getattr(importlib.import_module(module), name)
    print("ready", flush=True)  # noqa: T201
    if sys.stdin.readline() == "go\n":
        print(json.dumps(function(*json.loads(arguments))))  # noqa: T201


if __name__ == "__main__":
    _main(*sys.argv[1:])
