"""Cancels executions, ends those that nobody supervises any more, and removes them."""

import contextlib
import os
import shutil
import signal
import socket
from functools import partial
from typing import Dict

from hpcwaas.engines.cwl.sites.agent.answers import JSON, told
from hpcwaas.engines.cwl.sites.agent.execution import CANCELLED, OVER, Execution
from hpcwaas.engines.cwl.sites.agent.files import remove_tree, touch
from hpcwaas.engines.cwl.sites.agent.processes import kill_strays


def cancel(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Asks executions to end; ends those that nobody supervises."""
    answers = {}
    for identifier in order["ids"]:
        execution = Execution(order["work_dir"], identifier)
        answers[identifier] = told(partial(_cancel, execution))
    return {"executions": answers}


def _cancel(execution: Execution) -> Dict[str, JSON]:
    if not execution.exists():
        return {"exists": False}
    state = execution.state()
    if state.get("status") in OVER:
        if state.get("jobs_left") != []:
            execution.write_state(dict(state, jobs_left=execution.end_jobs(30.0)))
        return {"over": True}
    touch(execution.path("cancel"))
    claim, alive = execution.claimed(), execution.alive()
    if claim and claim["node"] == socket.gethostname() and alive:
        os.kill(claim["pid"], signal.SIGTERM)  # which only wakes it
    elif alive is False or not claim:
        reason = CANCELLED if state else "Cancelled on request before it began."
        return dict(execution.bury("CANCELLED", reason), over=True)
    return {"over": False}


def bury(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Ends executions whose supervisor is dead."""
    answers = {}
    for identifier, end in order["executions"].items():
        execution = Execution(order["work_dir"], identifier)
        answers[identifier] = told(partial(_bury, execution, end))
    return {"executions": answers}


def _bury(execution: Execution, end: Dict[str, JSON]) -> Dict[str, JSON]:
    if execution.exists():
        return execution.bury(end["status"], end["reason"])
    kill_strays(execution.id, execution.directory)
    left = execution.end_jobs(30.0) if shutil.which("squeue") else []
    return {"buried": True, "exists": False, "jobs_left": left}


def remove(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Removes executions that are over, uploads that none has used for `content_days`, and those of `content` that
    none uses."""
    removed = []
    for identifier in order.get("ids") or []:
        execution = Execution(order["work_dir"], identifier)
        away = os.path.join(order["work_dir"], "executions", f".{identifier}.removed")
        if execution.exists():
            if not execution.over():
                continue
            remove_tree(away)
            with contextlib.suppress(OSError):
                os.rename(execution.directory, away)
        remove_tree(away)  # a look that broke off may have left it
        if not execution.exists() and not os.path.lexists(away):
            removed.append(identifier)
    for digest in order.get("content") or []:
        path = os.path.join(order["work_dir"], "content", os.path.basename(digest))
        with contextlib.suppress(OSError):
            if os.lstat(path).st_nlink == 1:
                os.unlink(path)
    days = order.get("content_days")
    if days is not None:
        clock = os.path.join(order["work_dir"], "clock")
        touch(clock)
        oldest = os.stat(clock).st_mtime - days * 86400
        with os.scandir(os.path.join(order["work_dir"], "content")) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if status.st_nlink == 1 and status.st_mtime < oldest:
                    os.unlink(entry.path)
    return {"removed": removed}
