"""What is stored of an execution in JSON: what was asked for (request.json) and where it stands (state.json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hpcwaas.core.models import ExecutionState, Status, StepDeclaration
from hpcwaas.engines.cwl.storage.outputs import TakenOutput

DIED = "The execution was interrupted: the processes that ran it were killed, or the machine was restarted."


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the processes of an execution may reach.

    Attributes:
        level: as `levels.choose` says.
        readable, writable: absolute paths besides the execution's own.
        setuid: whether setuid programs give more rights even so, where nothing is confined.
    """

    level: str = "landlock"
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    setuid: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What a supervisor needs to know of its execution. Paths are relative to the execution's directory.

    Attributes:
        ticket: name of its marker.
        document: absolute path of the main CWL file.
        archives: (path, target, `zip` or `tar`) of each archive to unpack.
        downloads: (URL, target) of each file to fetch.
        networks: where they may come from: the networks that are allowed, and those that are denied.
        command, arguments, environment: as in the settings.
        memory, log, disk: limits in bytes.
        time: limit in seconds; None for none.
        copies: (path, target) of each upload that has to be copied before it is an input.
        owner: whose execution it is, for a fair share between users.
        processes: limit of processes and threads.
        daemon: the program that asks a daemon for containers; empty when none is asked.
        own: names of limits that are the workflow's own, and not those of the settings.
        taken: (path, output) of each output of another execution, which is brought there before this one is queued.
    """

    ticket: str
    document: str
    fragment: str | None
    steps: tuple[StepDeclaration, ...]
    archives: tuple[tuple[str, str, str], ...]
    downloads: tuple[tuple[str, str], ...]
    command: tuple[str, ...]
    arguments: tuple[str, ...] | None
    environment: tuple[str, ...]
    cores: int
    memory: int
    log: int
    disk: int
    time: float | None = None
    copies: tuple[tuple[str, str], ...] = ()
    networks: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    owner: str = ""
    processes: int = 4096
    confinement: Confinement = Confinement()
    daemon: str = ""
    own: tuple[str, ...] = ()
    taken: tuple[tuple[str, TakenOutput], ...] = ()

    def whose(self, limit: str) -> str:
        """What sets a limit, for people."""
        return f"key limits.{limit} of the workflow's metadata" if limit in self.own else f"setting cwl.limits.{limit}"


REQUEST = TypeAdapter(Request)
"""Reads and writes request.json. What has a default may be missing: an earlier version may have queued it."""

_STATE = TypeAdapter(ExecutionState)
_STEP = ("name", "status", "label", "started_at", "ended_at")


def encode_state(state: ExecutionState) -> bytes:
    """The content of state.json: all but the outputs, which have their own file."""
    return _STATE.dump_json(state, exclude={"outputs", "stale_since"})


def read_state(values: Any) -> ExecutionState:
    """A state of what its JSON means.

    Raises:
        ValueError: it isn't one.
    """
    try:
        # An earlier version wrote each step as a list.
        steps = [dict(zip(_STEP, step, strict=True)) if isinstance(step, list) else step for step in values["steps"]]
        return _STATE.validate_python(values | {"steps": steps})
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def decode_state(content: bytes) -> ExecutionState:
    """Reads state.json. One that the disk did not keep whole belongs to an execution that died, and has no end yet."""
    try:
        return read_state(json.loads(content))
    except ValueError:
        return ExecutionState(Status.FAILED, reason=DIED)
