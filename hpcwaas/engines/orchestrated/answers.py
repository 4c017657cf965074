"""What engines answer from what they know of an execution, or of their server."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

from hpcwaas.core.models import Check, ExecutionState, Status
from hpcwaas.core.outputs import OutputValue
from hpcwaas.errors import Conflict, NotFound, ServiceError

_CHECK = 3.0
"""Seconds that a check may take."""


def is_ending(state: ExecutionState) -> bool:
    """Whether an execution is being cancelled, or has been.

    Raises:
        Conflict: it has ended otherwise.
    """
    if state.status in (Status.SUCCEEDED, Status.FAILED):
        raise Conflict(f"The execution has {state.status} already.")
    return state.status in (Status.CANCELLING, Status.CANCELLED)


def require_failed(state: ExecutionState) -> None:
    """Refuses to resume what hasn't failed.

    Raises:
        Conflict: it hasn't.
    """
    if state.status is not Status.FAILED:
        raise Conflict(f"Only a failed execution can be resumed; this one is {state.status}.")


def output(state: ExecutionState, name: str, path: str | None) -> OutputValue:
    """An output that is a value, or a part of it; see `Engine.output`.

    Raises:
        NotFound: there is no such output or part.
    """
    outputs = state.outputs or {}
    if name not in outputs:
        raise NotFound(f"The execution has no output {name!r}.")
    value = outputs[name]
    try:
        for part in path.split("/") if path else ():
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (LookupError, TypeError, ValueError):
        raise NotFound(f"The output {name!r} has no part {path!r}.") from None
    return OutputValue(value)


def check(name: str, server: str, ping: Callable[[float], None], pool: ThreadPoolExecutor) -> Check:
    """Whether a server answers, in seconds.

    Args:
        name: of the check.
        ping: asks it, in this many seconds.
    """
    begin = time.perf_counter()
    problems: list[str] = []
    try:
        pool.submit(ping, _CHECK).result(_CHECK)
    except NotInTime:
        problems.append(f"{server} takes longer than {_CHECK:.0f} seconds to answer.")
    except ServiceError as error:
        problems.append(error.detail)
    return Check(name, "failed" if problems else "ok", time.perf_counter() - begin, problems)
