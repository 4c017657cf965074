"""Tells how executions stand, as soon as there is something new."""

import base64
import contextlib
import os
import time
from functools import partial
from typing import Callable, Dict, Optional, Tuple

from hpcwaas.engines.cwl.sites.agent.answers import JSON, Trouble, more, told
from hpcwaas.engines.cwl.sites.agent.execution import Execution
from hpcwaas.engines.cwl.sites.agent.files import load, open_file, seen, touch
from hpcwaas.engines.cwl.sites.agent.log import MAX_LINE
from hpcwaas.engines.cwl.sites.agent.processes import boot_id
from hpcwaas.engines.cwl.sites.agent.programs import commands


def watch(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """As `look`; waits no longer when another order comes."""
    return look(order, more)


def look(order: Dict[str, JSON], woken: Optional[Callable[[float], bool]] = None) -> Dict[str, JSON]:
    """How executions stand; waits until there is something new.

    Args:
        woken: waits for a moment, and says whether somebody wants the answer now.
    """
    root, wanted = order["work_dir"], order.get("executions") or {}
    executions = {identifier: Execution(root, identifier) for identifier in wanted}
    for identifier, execution in executions.items():
        if wanted[identifier].get("log") is not None:
            with contextlib.suppress(OSError):
                touch(execution.path("followed"))
    _wait(order, executions, woken or _pause)
    news = seen(os.path.join(root, "news"))
    answers, room = {}, order.get("log_room") or 1 << 20
    for identifier, execution in executions.items():
        answer = told(partial(_tell, execution, wanted[identifier], room))
        room -= len(answer.get("log") or "")
        answers[identifier] = answer
    answer = {"clock": time.time(), "boot_id": boot_id(), "news": news.st_size if news else 0, "executions": answers}
    with contextlib.suppress(OSError):
        status = os.statvfs(root)
        answer["free_bytes"] = status.f_bavail * status.f_frsize
    return dict(answer, commands=commands(order, order.get("prologue"), always=False))


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _wait(order: Dict[str, JSON], executions: Dict[str, Execution], woken: Callable[[float], bool]) -> None:
    """Waits until there is something new, gathers what comes right after it, and gives up when time has run out."""
    wanted, path = order.get("executions") or {}, os.path.join(order["work_dir"], "news")
    begin = time.monotonic()
    deadline = begin + min(order.get("wait") or 0.0, 60.0)
    last = -1  # whatever happened since the look before is seen at once
    gathering = False
    next_pulse = begin
    while True:
        status = seen(path)
        size = status.st_size if status else 0
        if size != last or gathering:
            urgent, changed = _changes(executions, wanted)
            if urgent or order.get("news") is None:
                return
            if changed and not gathering:
                gathering = True
                deadline = min(deadline, time.monotonic() + (order.get("settle") or 0.0))
        last = size
        present = time.monotonic()
        if present >= next_pulse:  # one that died tells nobody
            next_pulse = present + 1.0
            if any(each.claimed() and each.alive() is False and not each.over() for each in executions.values()):
                deadline = min(deadline, begin + 1.0)
        if present >= deadline or woken(0.05):
            return


def _changes(executions: Dict[str, Execution], wanted: Dict[str, JSON]) -> Tuple[bool, bool]:
    """Whether there is something that can't wait (an end), and whether there is anything."""
    changed = False
    for identifier, execution in executions.items():
        asked = wanted[identifier]
        if _stamp(execution) != asked.get("have") or _unread(execution, asked.get("log")):
            changed = True
            if execution.over():
                return True, True
        elif asked.get("rest") is not None and execution.over() and _unread(execution, asked["rest"]):
            return True, True
    return False, changed


def _unread(execution: Execution, offset: Optional[int]) -> bool:
    """Whether a log that is asked for goes on behind an offset."""
    if offset is None:
        return False
    status = seen(execution.path("log.jsonl"))
    return status is not None and status.st_size > offset


def _stamp(execution: Execution) -> str:
    """What is another one when the state or the jobs are."""
    statuses = [seen(execution.path(name)) for name in ("state.json", "jobs.json", "leader.json")]
    return " ".join(f"{status.st_mtime_ns}.{status.st_ino}" if status else "-" for status in statuses)


def _tell(execution: Execution, asked: Dict[str, JSON], room: int) -> Dict[str, JSON]:
    if not execution.exists():
        return {"exists": False}
    answer: Dict[str, JSON] = {"exists": True, "state": None, "jobs": None, "alive": None, "log": None}
    # Before the state, which is written first: it is never older than the log.
    over = execution.over()
    offset = asked.get("rest") if over and asked.get("log") is None else asked.get("log")
    if offset is not None and room > 0 and _unread(execution, offset):
        try:
            piece = _piece(execution.path("log.jsonl"), offset, room, over)
        except OSError as error:
            answer["log_lost"] = error.strerror
        else:
            answer["log"] = base64.b64encode(piece).decode("ascii")
    stamp = answer["stamp"] = _stamp(execution)
    over = execution.over()
    # After the state: that of one that is over is the size of all of it.
    status = seen(execution.path("log.jsonl"))
    answer["log_size"] = status.st_size if status else 0
    if stamp != asked.get("have"):
        answer["state"] = execution.state() or None
        if answer["state"] is None and os.path.lexists(execution.path("state.json")):
            raise Trouble("failed", execution.path("state.json"), "something has written there")
        answer["jobs"] = execution.known_jobs()
        answer["outputs"] = load(execution.path("outputs.json")) if over else None
    answer["leader_job"] = execution.leader_job()
    if not over:
        answer["alive"] = execution.alive()
    return answer


def _piece(path: str, offset: int, room: int, over: bool) -> bytes:
    """Whole lines of a log: as many as there is room for, and one at least. One that breaks off is given in the end."""
    with open_file(path) as file:
        file.seek(offset)
        piece = file.read(max(room, 8 * MAX_LINE))
    end = piece.rfind(b"\n", 0, room) + 1 or piece.find(b"\n") + 1 or (len(piece) if over else 0)
    return piece[:end]
