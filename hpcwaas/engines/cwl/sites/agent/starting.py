"""Starts executions, and lets those that failed go on."""

import contextlib
import hashlib
import json
import os
import re
import time
from functools import partial
from typing import Dict, Iterable, List

from hpcwaas.engines.cwl.sites.agent.answers import JSON, Trouble, told
from hpcwaas.engines.cwl.sites.agent.archives import unpack
from hpcwaas.engines.cwl.sites.agent.execution import Execution, Launched, fresh_state
from hpcwaas.engines.cwl.sites.agent.files import CHUNK, dump, link, remove_tree, seen, write
from hpcwaas.engines.cwl.sites.agent.runs import again
from hpcwaas.engines.cwl.sites.agent.taking import take

_NOT_YAML = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")


def start(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Takes what was sent, and starts executions. One that was started before is left alone."""
    root = order["work_dir"]
    accept = order.get("accept") or {}
    accepted: List[str] = []
    wrong: List[str] = []
    for kind in ("content", "workflows"):
        for digest in accept.get(kind) or []:
            (accepted if _accept(root, kind, _digest(digest)) else wrong).append(digest)
    launched: List[Launched] = []
    answers = {each["id"]: told(partial(_start, root, each, launched)) for each in order.get("executions") or []}
    return {"accepted": accepted, "wrong": wrong, "executions": dict(answers, **_begun(launched))}


def _begun(launched: List[Launched]) -> Dict[str, JSON]:
    """Waits until supervisors have begun; tells of those that haven't."""
    answers = {}
    for execution, process in launched:
        answer = told(partial(execution.wait, process))
        if answer:
            answers[execution.id] = answer
    return answers


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise Trouble("failed", text, "this is no SHA-256")
    return text


def _accept(root: str, kind: str, digest: str) -> bool:
    """Takes a file that has come. False when it is another one, which is removed. Who brings the same for another site
    of the service, or another service, may be faster at any point."""
    part = os.path.join(root, "content", f"{digest}.part")
    target = os.path.join(root, kind, digest)
    try:
        return _take(part, target, kind, digest) or os.path.exists(target)
    except OSError:
        if os.path.exists(target):
            return True
        raise


def _take(part: str, target: str, kind: str, digest: str) -> bool:
    if os.path.exists(target):
        with contextlib.suppress(OSError):
            os.unlink(part)
        return True
    content = hashlib.sha256()
    try:
        with open(part, "rb") as file:
            head = file.read(4)
            file.seek(0)
            for chunk in iter(lambda: file.read(CHUNK), b""):
                content.update(chunk)
    except FileNotFoundError:
        return False
    if content.hexdigest() != digest:
        os.unlink(part)
        return False
    if kind == "content":
        # Uploads come without rights, and a tool that is given a script may run it.
        os.chmod(part, 0o500 if head.startswith((b"#!", b"\x7fELF")) else 0o400)
        os.rename(part, target)
    else:
        try:
            unpack(part, target, "tar")
        except ValueError:
            return False
        finally:
            os.unlink(part)
    return True


def _start(root: str, order: Dict[str, JSON], launched: List[Launched]) -> Dict[str, JSON]:
    execution = Execution(root, order["id"])
    if not execution.exists():
        request = order["request"]
        inputs = request.get("inputs") or []
        wanted = {
            "content": sorted({_digest(each["sha256"]) for each in inputs}),
            "workflows": [_digest(request["document"].split("/")[1])],
        }
        missing = {kind: _missing(root, kind, digests) for kind, digests in wanted.items()}
        if any(missing.values()):
            return {"missing": missing}
        make(execution, request, order["job"])
    return {"started": execution.launch(launched)}


def _missing(root: str, kind: str, digests: Iterable[str]) -> Dict[str, int]:
    """What isn't there yet, with how much of it has come."""
    sizes = {}
    for digest in digests:
        if not os.path.exists(os.path.join(root, kind, digest)):
            status = seen(os.path.join(root, "content", f"{digest}.part"))
            sizes[digest] = status.st_size if status else 0
    return sizes


def make(execution: Execution, request: Dict[str, JSON], job: JSON) -> None:
    """Makes an execution's directory."""
    above = os.path.dirname(execution.directory)
    present = time.time()
    for name in os.listdir(above):
        stale = os.path.join(above, name)
        if name.startswith(".") and present - os.lstat(stale).st_mtime > 86400:
            remove_tree(stale)
    draft = os.path.join(above, f".{execution.id}.{os.getpid()}")
    os.makedirs(draft, mode=0o700)
    try:
        os.mkdir(os.path.join(draft, "inputs"))
        for each in request.get("inputs") or []:
            target = _place(draft, each["target"])
            source = os.path.join(execution.root, "content", each["sha256"])
            os.utime(source)
            if not each.get("unpack"):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                link(source, target)
        for each in request.get("taken") or []:
            target = _place(draft, each["target"])
            os.makedirs(os.path.dirname(target), exist_ok=True)
            take(execution.root, each, target)
        write(os.path.join(draft, "job.json"), _as_yaml(job).encode(errors="replace"))
        write(os.path.join(draft, "request.json"), dump(request))
        os.rename(draft, execution.directory)
    except OSError:
        if not execution.exists():  # otherwise somebody else was faster
            raise
    finally:
        if os.path.isdir(draft):
            remove_tree(draft)


def _place(draft: str, path: str) -> str:
    """The place of an input."""
    target = os.path.normpath(os.path.join(draft, path))
    if not target.startswith(os.path.join(draft, "inputs", "")):
        raise Trouble("failed", path, "this is no place for an input")
    return target


def _as_yaml(job: JSON) -> str:
    """An input object as JSON that a YAML parser reads the same: runners take it for YAML, where an escaped pair of
    surrogates is no character, and some plain characters are line breaks or not allowed."""
    text = job if isinstance(job, str) else json.dumps(job, ensure_ascii=False)
    return _NOT_YAML.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def resume(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Lets executions that failed go on where they stopped. Each attempt has a number, and begins once."""
    answers = {}
    launched: List[Launched] = []
    for identifier, attempt in order["executions"].items():
        execution = Execution(order["work_dir"], identifier)
        answers[identifier] = told(partial(_resume, execution, attempt, launched))
    return {"executions": dict(answers, **_begun(launched))}


def _resume(execution: Execution, attempt: int, launched: List[Launched]) -> Dict[str, JSON]:
    if not execution.exists():
        return {"missing": {}}
    request = execution.request()
    state = execution.state()
    if execution.attempt() < attempt:
        if state.get("status") not in ("FAILED", "CANCELLED") or execution.alive():
            raise Trouble("failed", execution.directory, "it has not failed")
        if not os.path.isdir(execution.path("jobstore")):
            raise Trouble("missing", execution.path("jobstore"), "nothing is left of it to go on with")
        request.update(attempt=attempt, resume=True)
        write(execution.path("request.json"), dump(request))
    if state.get("attempt", 1) < execution.attempt():
        for name in ("cancel", "submitting", "jobs.json", "messages", "stage"):
            remove_tree(execution.path(name))
        # What was done stays done.
        before = {step["name"]: step for step in state.get("steps") or []}
        done = {name: step for name, step in before.items() if step["status"] == "SUCCEEDED"}
        steps = [
            done.get(step["name"]) or dict(step, scatter=again(before.get(step["name"], {}).get("scatter")))
            for step in fresh_state(request)["steps"]
        ]
        execution.write_state(dict(fresh_state(request), steps=steps, process=state.get("process")))
    return {"started": execution.launch(launched)}
