"""What runs on a site: it starts executions, supervises them, and tells how they stand.

One file for a login node that has nothing but a Python: 3.6 or later, which is what RHEL 8 and its kin call `python3`,
and the standard library. The service copies it to WORK_DIR/bin once per version, and runs it by SSH as `PYTHON FILE
COMMAND` with a JSON object on standard input. The answer is one JSON object behind a line `@@HPCWAAS TOKEN`, so that
whatever profile files print is passed over; what fails in a way that can be foreseen is `{"error": {"kind", "path",
"detail"}}`; see `Trouble`.

    bin/                    this file, by its digest
    content/SHA256          uploads, each once; `.part` while they come
    workflows/DIGEST/       published workflows
    news                    grows by a byte whenever something is to be told
    executions/ID/          request.json job.json inputs/ work/ state.json outputs.json log.jsonl outputs/ cancel
        supervisor.json     who supervises it: made by whoever is first, which is how one is started once
        leader.json         the job of the scheduler that the supervisor runs in, where it runs in one
        jobs.json           jobs of the scheduler that its runner started
        jobstore/           Toil's, as long as the execution may be resumed

Everything appears by renaming or linking, so that a process killed between any two calls leaves something that the next
one understands. Times are the site's own, and none is compared with one of another machine.

What is known of Toil (9.6.0, with Slurm 22.05), and looked at here:

- With `--batchSystem slurm` each job is submitted as `toil_job_N_NAME`; what `--slurmArgs` says goes along, so the
  comment that tells whose job it is. Without a partition Toil looks for one that allows its time limit (ten hours where
  `--slurmTime` isn't given, which takes what Slurm takes: a bare number is minutes), and gives up if there is none.
- `--writeMessages` names a file to which the leader writes a line for each event, fields separated by tabs:
  `JobIssuedMessage NAME KIND/ID N`, `ExternalBatchIdMessage N SLURM-ID SlurmBatchSystem`, `JobCompletedMessage NAME
  KIND/ID EXIT`, `JobFailedMessage NAME KIND/ID`. NAME is WORKFLOW.STEP.TOOL; of a scatter it is WORKFLOW.NUMBER.TOOL,
  without the step; inside an inner workflow it begins with the inner one's name. So a request says of each step which
  processes it runs, and a job that fits several steps belongs to none.
- By default a job goes on with its successor, and the messages name the first one for both: `--disableChaining`.
- By default what fails is tried again with more memory: `--retryCount`. Jobs of a failed node are requeued by Slurm.
- A job is told (SIGUSR2) between 30 and 90 seconds before its time limit, and ends itself: Slurm calls that a failure,
  and one with a limit of a minute ends when it begins.
- An sbatch or squeue that fails is tried again for `--statePollingTimeout`, whatever the reason.
- Tools' standard error comes when their step ends. A leader that is killed leaves its jobs, queued and running ones.
- `--restart` takes the same job store, document and inputs, and does what isn't done yet. What a killed leader left
  runs at the same time if nobody cancels it before. Numbers begin at 1 again, and the workflow itself isn't issued.
- What fails is told as failed, and then everything before it, too.
"""

import base64
import contextlib
import ctypes
import errno
import hashlib
import io
import json
import math
import os
import pwd
import re
import select
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import traceback
import zipfile
from datetime import datetime, timezone
from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple
from urllib.parse import quote, unquote, urlsplit

GRACE = 5.0
"""Seconds between asking the processes of an execution to end and killing them."""

FULL = "The disk of the site is full, or the account's quota is used up: the execution was stopped."
PURGED = (
    "The files of the execution were removed on the site while it ran, by somebody or by a purge of old files: it was "
    "stopped."
)
CANCELLED = "Cancelled on request."

JSON = Any

_MAX_LINE = 16 * 1024
_MAX_OUTPUT_OBJECT = 16 << 20
_PART_LIMIT = 200_000
_DEPTH_LIMIT = 100
_MEMBER_LIMIT = 100_000
_NAMED = 20
_CHUNK = 1 << 18
_RESERVE = 64 << 10
_BEAT = 20.0
_SILENT = 600.0
_FOLLOWED = 60.0
_ENDED = re.compile("COMPLET|CANCELLED|FAILED|TIMEOUT|NODE_FAIL|PREEMPTED|BOOT_FAIL|DEADLINE|OUT_OF_MEMORY|REVOKED")
_AWAY = re.compile(r"unable to contact|timed out|connection (refused|reset)|zero bytes|temporar|communication", re.I)
_LIMITS = re.compile(r"submit limit|violates|(QOS|Assoc)(Max|Grp)", re.I)
"""What Slurm says when it takes no job of this account now, and may later."""
_OVER = ("SUCCEEDED", "FAILED", "CANCELLED")
_INFO, _WARN, _ERROR = 2, 4, 8


# ---- failures


class Trouble(Exception):
    """Something that can be foreseen.

    Args:
        kind: `full`, `denied`, `read-only`, `missing` or `failed`; `later`: the scheduler gives no answer now.
    """

    def __init__(self, kind: str, path: str, detail: str) -> None:
        super().__init__(detail)
        self.answer = {"error": {"kind": kind, "path": path, "detail": detail}}


_KINDS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EFBIG: "full",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EROFS: "read-only",
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ESTALE: "missing",
}


def trouble(error: OSError) -> Trouble:
    """What an error of the system is called in an answer."""
    path = error.filename if isinstance(error.filename, str) else ""
    return Trouble(_KINDS.get(error.errno or 0, "failed"), path, error.strerror or str(error))


# ---- files


def write(path: str, content: bytes) -> None:
    """Replaces a file at once, and has it on the disk."""
    draft = f"{path}.{os.getpid()}.new"
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        error.filename = path  # errors of writing name no file
        raise


def dump(value: JSON) -> bytes:
    """JSON in ASCII: halves of surrogates, which names of files may hold, stay what they are."""
    return json.dumps(value).encode("ascii")


def load(path: str) -> JSON:
    """A JSON object; None when there is no such file, or the disk did not keep it whole."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read().decode())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, (dict, list)) else None


def touch(path: str) -> None:
    """Makes a file, or sets its time by the clock of the file system."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.utime(path)


def seen(path: str) -> Optional[os.stat_result]:
    """The present status of a file. A network file system asks its server only for what is opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)
    return None


def remove_tree(path: str) -> None:
    """Removes what can be removed of a directory, whatever rights a tool took away."""

    def again(function: Callable[..., Any], name: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), stat.S_IRWXU)
            os.chmod(name, stat.S_IRWXU)
            if function in (os.unlink, os.remove, os.rmdir):
                function(name)
            else:
                shutil.rmtree(name, ignore_errors=True)

    if os.path.islink(path) or os.path.isfile(path):
        with contextlib.suppress(OSError):
            os.unlink(path)
    else:
        shutil.rmtree(path, onerror=again)


def disk_use(path: str) -> int:
    """Bytes that a directory occupies."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += max(4096, os.lstat(os.path.join(folder, name)).st_blocks * 512)
    return total


def now() -> str:
    """The present time."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def size_text(size: int) -> str:
    """A number of bytes as people write it."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


# ---- the log


_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_LEVELS = {"D": 1, "I": _INFO, "W": _WARN, "E": _ERROR, "C": _ERROR}
_PLAIN = re.compile(r"(DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL):? (?P<text>.*)", re.DOTALL)
_BRACKETS = re.compile(r"\t?\[[^\]]*\] (?:\[[^\]]*\] )?\[([DIWEC])\] (?P<text>.*)", re.DOTALL)


def clean(text: str) -> str:
    """A line as a terminal would leave it standing."""
    if text.isprintable():
        return text
    return _CONTROLS.sub("", _ESCAPES.sub("", text.rstrip("\r")).rpartition("\r")[2])


def interpret(line: str) -> Tuple[int, str, bool]:
    """The level of a line, its text, and whether it is a message of the runner: `INFO …`, or Toil's `[time] [thread]
    [I] …`, which stands behind a tab where a worker said so."""
    match = _PLAIN.fullmatch(line) or _BRACKETS.fullmatch(line)
    return (_LEVELS[match.group(1)[0]], match.group("text"), True) if match else (_INFO, line, False)


class Log:
    """Appends to a log.

    Args:
        limit: bytes after which nothing more is kept.
    """

    def __init__(self, path: str, limit: int) -> None:
        self._file = open(path, "ab+", buffering=0)  # noqa: SIM115
        self._limit = limit
        self._size = self._cut()
        self.full = False

    def _cut(self) -> int:
        """Cuts off a last line that a killed writer left half-written."""
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - 8 * _MAX_LINE)
        self._file.seek(start)
        tail = self._file.read()
        end = start + tail.rfind(b"\n") + 1
        if end != size:
            self._file.truncate(end)
        return end

    def write(self, entries: Iterable[Tuple[int, str]]) -> None:
        """Appends entries. What doesn't fit any more is dropped, and `full` is set."""
        moment = json.dumps(now())
        for level, content in entries:
            line = f"[{level},{moment},{json.dumps(content, ensure_ascii=False)}]\n".encode(errors="replace")
            if self.full or self._size + len(line) > self._limit:
                self.full = True
                return
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            self._size += len(line)

    def end(self, level: int, content: str) -> None:
        """Appends a last entry, which always fits."""
        self._limit += 4 * _MAX_LINE
        self.full = False
        self.write([(level, content)])
        os.fsync(self._file.fileno())
        self._file.close()


# ---- steps


_STEP = re.compile(
    r"\[step (?P<name>[^\]]+)\] (?:(?P<event>start)$|completed (?P<end>\w+)$|Cannot make job: .+)", re.DOTALL
)
_PARTS = re.compile(r"(?:(?:\d+|iteration\d+)\.)+(?P<process>.+)", re.DOTALL)


class Steps:
    """Status and times of the steps, from what runners say. A step of Toil runs as soon as a job of it is queued.

    Args:
        declared: `name` and `label` of each step; `processes`, where it is known: the short names, such as `tool.cwl`,
            of the process that the step runs and of all inside it.
        before: how the steps stood when an earlier attempt ended.
        process: what Toil called the whole workflow then.
    """

    def __init__(
        self, declared: Iterable[Dict[str, JSON]], before: Iterable[Dict[str, JSON]] = (), process: Optional[str] = None
    ) -> None:
        self._steps: Dict[str, Dict[str, JSON]] = {}
        self._processes: Dict[str, Set[str]] = {}
        for each in declared:
            step = {"name": each["name"], "status": "PENDING", "label": each.get("label")}
            self._steps[each["name"]] = dict(step, started_at=None, ended_at=None)
            self._processes[each["name"]] = set(each.get("processes") or ())
        self._steps.update((step["name"], step) for step in before)
        self.process = process
        self._going: Dict[str, Dict[str, int]] = {}
        self._failing: Dict[str, Set[str]] = {}
        self._working: Set[str] = set()
        self._issued: Dict[str, str] = {}
        self.jobs: List[Dict[str, JSON]] = []

    def all(self) -> List[Dict[str, JSON]]:
        """The steps, in the workflow's order."""
        return list(self._steps.values())

    def failed(self) -> Optional[str]:
        """The step that failed first."""
        failed = {step["ended_at"]: name for name, step in self._steps.items() if step["status"] == "FAILED"}
        return failed[min(failed)] if failed else None

    def cwltool(self, text: str) -> bool:
        """Takes a message of cwltool. True when a step changed."""
        match = _STEP.match(text)
        if not match:
            lone = next(iter(self._steps)) if len(self._steps) == 1 and text.startswith("[job ") else None
            return lone is not None and self._start(lone)
        name = match.group("name")
        if name not in self._steps:  # of a workflow inside the workflow
            return False
        if match.group("event"):
            return self._start(name)
        end = match.group("end")
        running = self._steps[name]["status"] == "RUNNING"
        # A scatter that skipped some of its jobs ends as skipped, too.
        good = end == "success" or (end == "skipped" and running)
        self._end(name, "SUCCEEDED" if good else "SKIPPED" if end == "skipped" else "FAILED")
        return True

    def toil(self, fields: List[str]) -> bool:
        """Takes a message of Toil. True when a step or `jobs` changed."""
        topic, values = fields[0].rpartition(".")[2], fields[1:]
        if topic == "ExternalBatchIdMessage":
            name = self._issued.get(values[0])
            if name is not None and "slurm" in values[2].lower():
                self.jobs.append({"id": values[1], "step": self._step_of(name), "name": name})
            return name is not None
        if topic not in ("JobIssuedMessage", "JobCompletedMessage", "JobFailedMessage"):
            return False
        name, kind = re.sub(r"\._(wrapper|resolve)$", "", values[0]), values[1].partition("/")[0][len("kind-") :]
        if kind not in ("CWLJob", "CWLJobWrapper", "CWLWorkflow", "ResolveIndirect"):  # those that have names
            return False
        if topic == "JobIssuedMessage":
            return self._issue(name, kind, values[2])
        step = self._step_of(name)
        if step is None:
            return False
        if topic == "JobFailedMessage":  # which comes of all before it, too
            return name in self._failing.get(step, ()) and self._end(step, "FAILED")
        return self._complete(step, name, kind, values[2] == "0")

    def _complete(self, step: str, name: str, kind: str, good: bool) -> bool:
        going, failing = self._going.setdefault(step, {}), self._failing.setdefault(step, set())
        if not good:
            failing.add(name)
        elif kind == "CWLWorkflow":  # it ends when its results are put together
            return False
        going[name] = max(0, going.get(name, 0) - 1)
        if failing or any(going.values()):
            return False
        return self._end(step, "SUCCEEDED" if step in self._working else "SKIPPED")

    def _issue(self, name: str, kind: str, number: str) -> bool:
        self._issued[number] = name
        if kind == "CWLWorkflow" and self.process is None:
            self.process = name
        step = self._step_of(name)
        if step is None or kind == "ResolveIndirect":
            return False
        going = self._going.setdefault(step, {})
        going[name] = going.get(name, 0) + 1
        self._failing.setdefault(step, set()).discard(name)
        if kind != "CWLJobWrapper":  # which decides whether there is something to do
            self._working.add(step)
        return self._start(step, again=True)

    def _step_of(self, name: str) -> Optional[str]:
        """The step that a job of Toil belongs to, by its name; None when that can't be told for sure."""
        if name == self.process:
            return None
        if len(self._steps) == 1:
            return next(iter(self._steps))
        if self.process and name.startswith(f"{self.process}."):
            rest = name[len(self.process) + 1 :]
            named = [step for step in self._steps if rest.startswith(f"{step}.")]
            if named:
                return max(named, key=len)
            match = _PARTS.fullmatch(rest)
            found = [step for step, inside in self._processes.items() if match and match.group("process") in inside]
        else:
            found = [
                step
                for step, inside in self._processes.items()
                if any(name.startswith(f"{process}.") for process in inside)
            ]
        return found[0] if len(found) == 1 else None

    def _start(self, name: str, again: bool = False) -> bool:
        step = self._steps[name]
        if step["status"] != "PENDING" and not (again and step["status"] in ("SUCCEEDED", "SKIPPED")):
            return False
        step.update(status="RUNNING", started_at=step["started_at"] or now(), ended_at=None)
        return True

    def _end(self, name: str, status: str) -> bool:
        moment = now()
        self._steps[name].update(status=status, ended_at=moment, started_at=self._steps[name]["started_at"] or moment)
        return True


_JOB_END = re.compile(
    r"\[job [^\]]+\] (?:(?P<exit>exited with status: \d+|was terminated by signal: \w+"
    r"|exceeded time limit of \d+ seconds)|Job error:\s*(?P<error>.+))"
)
_STANDARD_ERROR = "Failed command standard error:"
_REFUSED = re.compile(r"sbatch: error: Batch job submission failed: (.+?)\.?$")


_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|\bENOSPC\b|\bEDQUOT\b")
_JOB_FAILED = re.compile(r"Job failed with exit value (\d+)|Exit reason: (\w+)|Failed job in backing scheduler: (\d+)")
_SIGNALLED = "140"
"""How a job ends that is told of its time limit before it listens."""


class Diagnosis:
    """Finds in a log why a run failed: the first tool that did, and the last line that it wrote; or what the scheduler
    did to a job.

    Args:
        time: limit of a job, as the scheduler writes it.
    """

    def __init__(self, time: Optional[str] = None) -> None:
        self._ends = {
            "TIMELIMIT": f"was ended by {f'the time limit of {time}' if time else 'its time limit'}",
            "MEMLIMIT": "used more memory than it had asked for (OUT_OF_MEMORY)",
            "KILLED": "was cancelled or killed",
            "LOST": "was lost with its node",
        }
        self._ended = ["", "", ""]
        self._full = False
        self._failure = ""
        self._tail = ""
        self._closed = False
        self._begun = ""
        self._error = ""
        self.last = ""
        self.refused = ""

    def observe(self, level: int, text: str, message: bool) -> None:
        """Takes a line of the log."""
        text = text.strip()
        self.last = text or self.last
        self._full |= bool(_DISK_FULL.search(text))
        match = _JOB_FAILED.search(text)
        if match:
            self._take_end(match.groups())
        match = _REFUSED.search(text)
        if match:
            self.refused = f"Slurm refused a job of the execution: {match.group(1)}."
        if self._begun and text and not message:
            level, text, message = _ERROR, f"{self._begun} {text}", True
        self._begun = ""
        if not message:
            self._tail = self._tail if self._closed else text or self._tail
            return
        if level >= _WARN and text.endswith(":") and not text.endswith(_STANDARD_ERROR):
            self._begun = text  # it goes on in the next line
            return
        match = None if self._failure or level < _WARN else _JOB_END.search(text)
        if match:
            self._failure = match.group("error") or match.group("exit").replace(": ", " ")
            self._closed = True
        elif text.endswith(_STANDARD_ERROR) and "cwltoil" in text:  # Toil gives it afterwards
            self._tail, self._closed = "", bool(self._tail and not self._failure)
        elif self._failure:
            self._closed = True
        elif level >= _ERROR:
            self._error = text

    def _take_end(self, found: Sequence[Optional[str]]) -> None:
        """Takes what Toil says of a job's end, in three lines."""
        self._ended = [new or old for new, old in zip(found, self._ended if not found[0] else ("", "", ""))]
        status, word, job = self._ended
        words = self._ends.get("TIMELIMIT" if status == _SIGNALLED else word)
        if job and words and not self._failure:
            self._failure, self._tail, self._closed = f"Slurm job {job} {words}", "", True

    def reason(self, step: Optional[str], status: int) -> str:
        """Why the run failed.

        Args:
            step: that failed first, if one did.
            status: exit status of the runner; negative when a signal ended it.
        """
        if self.refused:
            return self.refused
        words = self._words(step, status)
        return f"The disk of the site was full, or the account's quota was used up. {words}" if self._full else words

    def _words(self, step: Optional[str], status: int) -> str:
        cause = self._failure + (f": {self._tail}" if self._failure and self._tail else "")
        if cause:
            return (f"Step {step} failed: {cause}" if step else f"The tool failed: {cause}")[:1000]
        end = f"exited with status {status}" if status >= 0 else f"was ended by signal {-status}"
        cause = self._error or self.last
        return f"The runner {end}" + (f": {cause[:1000]}" if cause else ".")


def finished(steps: Iterable[Dict[str, JSON]], status: str) -> List[Dict[str, JSON]]:
    """The steps of an execution that ended: none of them goes on."""
    running, pending = {"SUCCEEDED": ("SUCCEEDED", "SUCCEEDED"), "FAILED": ("FAILED", "SKIPPED")}.get(
        status, ("CANCELLED", "CANCELLED")
    )
    ends = {"RUNNING": running, "PENDING": pending}
    moment = now()
    return [
        dict(step, status=ends[step["status"]], ended_at=moment if step["started_at"] else None)
        if step["status"] in ends
        else step
        for step in steps
    ]


# ---- archives


def _members(path: str, kind: str) -> Iterator[Tuple[str, bool, bool, Callable[[], Any]]]:
    """(name, whether a directory, whether a program, opener) of what is in an archive.

    Raises:
        ValueError: it holds what it must not.
    """
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise ValueError(f"{info.filename!r} is a link or a device")
                name = info.filename
                if not info.flag_bits & 0x800:  # UTF-8 all the same, when it was written on Linux or macOS
                    with contextlib.suppress(UnicodeError):
                        name = name.encode("cp437").decode()
                yield name, name.endswith("/"), bool(mode & 0o100), partial(archive.open, info)
        return
    with tarfile.open(path, "r:*") as tar:
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise ValueError(f"{member.name!r} is a link or a device")
            yield member.name, member.isdir(), bool(member.mode & 0o100), partial(tar.extractfile, member)


def unpack(source: str, target: str, kind: str) -> None:
    """Unpacks an archive into a new directory, completely or not at all: plain files and directories, nothing outside.

    Raises:
        ValueError: it is damaged, or holds what it must not; says what.
    """
    draft = f"{target}.{os.getpid()}.new"
    remove_tree(draft)
    os.makedirs(draft)
    try:
        for number, (name, directory, program, opener) in enumerate(_members(source, kind)):
            if number >= _MEMBER_LIMIT:
                raise ValueError(f"it has more than {_MEMBER_LIMIT} members")
            parts = [part for part in name.rstrip("/").split("/") if part != "."]
            if name.startswith("/") or ".." in parts or "" in parts or "\0" in name or len(parts) > _DEPTH_LIMIT:
                raise ValueError(f"{name!r} is no path inside it")
            place = os.path.join(draft, *parts)
            os.makedirs(place if directory else os.path.dirname(place), exist_ok=True)
            if directory:
                continue
            mode = 0o777 if program else 0o666
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
            with os.fdopen(descriptor, "wb") as file, opener() as stream:
                shutil.copyfileobj(stream, file, _CHUNK)
        os.rename(draft, target)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"it is damaged: {error}") from error
    except OSError as error:
        if error.errno in (None, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
            raise ValueError(f"it is damaged, or a name in it can't be used: {error.strerror or error}") from error
        raise
    except Exception as error:
        if type(error).__module__ in ("zlib", "lzma", "_lzma", "struct"):
            raise ValueError(f"it is damaged: {error}") from error
        raise
    finally:
        if os.path.isdir(draft):
            remove_tree(draft)


# ---- outputs


def inside(root: str, path: str) -> Optional[str]:
    """The real path of something, when it is below `root` (a real path)."""
    target = os.path.realpath(path)
    return target if target == root or target.startswith(f"{root}/") else None


def contents(root: str, leave_out: Callable[[str, str], Any]) -> Iterator[Tuple[str, str, os.stat_result]]:
    """(name, real path, status) of files and directories below a directory, as an archive of it has them. Links to
    files inside are files; what else is no file or directory is left out."""
    root = os.path.realpath(root)
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.listdir(os.path.join(root, folder)))
        except OSError as error:
            leave_out(folder, error.strerror or "it can't be read")
            continue
        for entry in entries:
            name = f"{folder}/{entry}" if folder else entry
            path = os.path.join(root, name)
            target = inside(root, path)
            try:
                status = os.stat(target) if target else None
            except OSError:
                status = None
            link = os.path.islink(path)
            if target is None or status is None:
                leave_out(name, "it is a link that leads nowhere, in a circle, out of the directory, or to no file")
            elif stat.S_ISREG(status.st_mode):
                if os.access(target, os.R_OK):
                    yield name, target, status
                else:
                    leave_out(name, "it can't be read")
            elif not stat.S_ISDIR(status.st_mode):
                leave_out(name, "it is neither a file nor a directory")
            elif link:
                leave_out(name, "it is a link to a directory")
            else:
                yield name, target, status
                if name.count("/") < _DEPTH_LIMIT - 1:
                    pending.append(name)
                elif os.listdir(target):
                    leave_out(name, f"what is in it lies deeper than {_DEPTH_LIMIT} levels of directories")


class Collector:
    """Collects what is kept of an output object.

    Args:
        directory: of the outputs. Files and directories elsewhere are dropped.
    """

    def __init__(self, directory: str) -> None:
        self._root = os.path.realpath(directory)
        self._left = _PART_LIMIT
        self.warnings: List[str] = []

    def collect(self, value: Dict[str, JSON]) -> Dict[str, JSON]:
        """The object, in which `location` is a path relative to the directory."""
        kept = {}
        for name, part in value.items():
            left = self._left
            try:
                kept[name] = self._keep(part, name, 1)
            except OverflowError:
                kept[name], self._left = None, left
                self.warnings.append(f"Output {name} is dropped: all outputs may have {_PART_LIMIT} values together.")
        return kept

    def _keep(self, part: JSON, name: str, level: int) -> JSON:
        if self._left <= 0:
            raise OverflowError
        self._left -= 1
        if level > _DEPTH_LIMIT:
            self.warnings.append(f"Output {name[:80]}… is cut off: it is nested in more than {_DEPTH_LIMIT} levels.")
            return None
        if isinstance(part, list):
            return [self._keep(item, f"{name}[{index}]", level + 1) for index, item in enumerate(part)]
        if isinstance(part, float) and not math.isfinite(part):
            self.warnings.append(f"Output {name} is given as null: JSON has no {part}.")
            return None
        if isinstance(part, str):
            return _valid(part)
        if not isinstance(part, dict):
            return part
        if part.get("class") in ("File", "Directory"):
            return self._path(part, name, level)
        return {_valid(key): self._keep(item, f"{name}.{key}", level + 1) for key, item in part.items()}

    def _path(self, part: Dict[str, JSON], name: str, level: int) -> JSON:
        path = _location(part)
        target = inside(self._root, path) if path else None
        is_file = part["class"] == "File"
        if not path or not target or not (os.path.isfile(target) if is_file else os.path.isdir(target)):
            kind = part["class"].lower()
            self.warnings.append(f"Output {name} is dropped: it is no {kind} among the execution's outputs.")
            return None
        kept: Dict[str, JSON] = {
            key: _valid(part[key]) for key in ("class", "basename", "checksum", "format") if _is_text(part, key)
        }
        kept["location"] = os.path.relpath(target, self._root)
        kept.setdefault("basename", os.path.basename(path))
        if not is_file:
            self._warn_of(target, name)
            return kept
        kept["size"] = os.stat(target).st_size
        secondary = part.get("secondaryFiles")
        if secondary:
            files = [
                self._keep(item, f"{name}.secondaryFiles[{index}]", level + 1) for index, item in enumerate(secondary)
            ]
            kept["secondaryFiles"] = [item for item in files if item]
        return kept

    def _warn_of(self, directory: str, name: str) -> None:
        found: List[Tuple[str, str]] = []
        for _ in contents(directory, lambda path, reason: found.append((path, reason))):
            pass
        for path, reason in found[:_NAMED]:
            shown = path if path.isprintable() else ascii(path)
            self.warnings.append(f"Output {name}: {shown} will not be in its archive: {reason}.")
        if len(found) > _NAMED:
            more = len(found) - _NAMED
            self.warnings.append(f"Output {name}: {more} more files or directories will not be in its archive.")


def _is_text(part: Dict[str, JSON], key: str) -> bool:
    return isinstance(part.get(key), str)


def _valid(text: str) -> str:
    return text.encode(errors="replace").decode()


def _location(part: Dict[str, JSON]) -> Optional[str]:
    location = part.get("location") or part.get("path")
    if not isinstance(location, str):
        return None
    url = urlsplit(location)
    if url.scheme == "file":
        return unquote(location[len("file://") :].partition("?")[0].partition("#")[0], errors="surrogateescape")
    return location if location.startswith("/") else None


# ---- programs, after the prologue


_UNDER_PROLOGUE = r"""
_hpcwaas=("$@")
set --
printf prologue > "${_hpcwaas[0]}"
. <(printf '%s\n' "${_hpcwaas[1]}") >&2 </dev/null || exit
case ${_hpcwaas[2]} in */*) PATH=${_hpcwaas[2]%/*}:$PATH;; esac
printf missing > "${_hpcwaas[0]}"
command -v -- "${_hpcwaas[2]}" >/dev/null || exit 127
[ -f "${_hpcwaas[0]}" ] && rm -f "${_hpcwaas[0]}"
exec "${_hpcwaas[@]:2}"
"""
"""Runs a program in the environment that a prologue makes. The file of its first argument says `prologue` or `missing`
when it doesn't come to that. A program that is named by its path may start others that lie beside it (Toil does)."""


def prologued(argv: List[str], stage: str, prologue: str) -> List[str]:
    """The command that runs another one after a prologue.

    Args:
        stage: a file that says what went wrong before that.
        prologue: text for bash.
    """
    return ["bash", "-c", _UNDER_PROLOGUE, "bash", stage, prologue, *argv]


class Called:
    """How a short command ended: status (None when it didn't in time or couldn't be started), stdout, stderr."""

    def __init__(self, argv: List[str], prologue: Optional[str] = None, timeout: float = 10.0) -> None:
        self.status: Optional[int] = None
        self.stdout = self.stderr = b""
        try:
            process = subprocess.Popen(
                argv if not prologue else prologued(argv, os.devnull, prologue),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self.status = 127
            self.stderr = f"{argv[0]}: {error.strerror}".encode()
            return
        try:
            self.stdout, self.stderr = process.communicate(timeout=timeout)
            self.status = process.returncode
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.stderr = f"{argv[0]} gave no answer within {timeout:g} seconds".encode()

    def words(self) -> str:
        """The first line of what it wrote to standard error, without the program's own name before it."""
        for line in self.stderr.decode(errors="replace").splitlines():
            line = re.sub(r"^\w+: (?:error: )?", "", clean(line)).strip()
            if line:
                return line[:500]
        return f"it ended with status {self.status}"


# ---- executions


class Execution:
    """An execution's directory."""

    def __init__(self, root: str, identifier: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", identifier):
            raise Trouble("failed", identifier, "this is no execution's id")
        self.id = identifier
        self.root = root
        self.directory = os.path.join(root, "executions", identifier)

    def path(self, *names: str) -> str:
        """The path of something in it."""
        return os.path.join(self.directory, *names)

    def exists(self) -> bool:
        """Whether it is there."""
        return os.path.isdir(self.directory)

    def state(self) -> Dict[str, JSON]:
        """Its state; empty when it has not begun."""
        return load(self.path("state.json")) or {}

    def begun(self) -> bool:
        """Whether its supervisor has begun, or it has ended."""
        return bool(self.state().get("status", "PENDING") != "PENDING")

    def over(self) -> bool:
        """Whether it has ended."""
        return self.state().get("status") in _OVER

    def request(self) -> Dict[str, JSON]:
        """What was asked for.

        Raises:
            Trouble: it can't be told any more.
        """
        request = load(self.path("request.json"))
        if not request:
            raise Trouble("missing", self.path("request.json"), "what was asked for can't be read any more")
        return request  # type: ignore[no-any-return]

    def prologue(self) -> Optional[str]:
        """Its site's prologue, if there is one."""
        return (load(self.path("request.json")) or {}).get("prologue")

    def tell(self) -> None:
        """Wakes whoever looks."""
        with contextlib.suppress(OSError), open(os.path.join(self.root, "news"), "ab", buffering=0) as file:
            if file.tell() > 1 << 20:
                file.truncate(0)
            file.write(b".")

    def write_state(self, state: Dict[str, JSON]) -> None:
        """Replaces its state, and tells."""
        write(self.path("state.json"), dump(state))
        self.tell()

    def attempt(self) -> int:
        """How often it was begun, with resuming."""
        return (load(self.path("request.json")) or {}).get("attempt", 1)  # type: ignore[no-any-return]

    def leader_job(self) -> Optional[str]:
        """Id of the scheduler's job that its supervisor runs in, if it does."""
        leader = load(self.path("leader.json")) or {}
        return leader.get("job") if leader.get("attempt") == self.attempt() else None

    # -- who supervises it

    def claim(self) -> bool:
        """Makes this process its supervisor; False when another one is or was."""
        claim = {
            "pid": os.getpid(),
            "boot_id": boot_id(),
            "start": process_start(os.getpid()),
            "node": socket.gethostname(),
            "job": os.environ.get("SLURM_JOB_ID") if self.request().get("leader") == "job" else None,
            "attempt": self.attempt(),
        }
        draft = self.path(f"supervisor.{os.getpid()}.new")
        write(draft, dump(claim))
        try:
            os.link(draft, self.path("supervisor.json"))
        except FileExistsError:
            return False
        finally:
            os.unlink(draft)
        return True

    def claimed(self) -> Optional[Dict[str, JSON]]:
        """Who has claimed its present attempt."""
        claim = load(self.path("supervisor.json"))
        return claim if claim and claim["attempt"] == self.attempt() else None

    def alive(self) -> Optional[bool]:
        """Whether its supervisor lives. None when that can't be told from here: it is in a job, or on another
        login node."""
        claim = self.claimed()
        if claim is None:
            return None
        if claim["node"] == socket.gethostname():
            return bool(claim["boot_id"] == boot_id() and process_start(claim["pid"]) == claim["start"])
        beat = seen(self.path("supervisor.json"))
        clock = os.path.join(self.root, "clock")
        with contextlib.suppress(OSError):
            touch(clock)  # by the clock of the file system, as the beat is
            present = seen(clock)
            if beat and present:
                age = present.st_mtime - beat.st_mtime
                return True if age < 3 * _BEAT else False if age > _SILENT and not claim["job"] else None
        return None

    def disclaim(self, claim: Dict[str, JSON]) -> bool:
        """Takes the claim of a dead supervisor away, so that another one may come. False when somebody else did."""
        away = self.path(f"supervisor.{os.getpid()}.dead")
        try:
            os.rename(self.path("supervisor.json"), away)
        except FileNotFoundError:
            return False
        dead = bool(load(away) == claim)
        if not dead:  # somebody else did, and a new one has come meanwhile
            with contextlib.suppress(OSError):
                os.link(away, self.path("supervisor.json"))
        os.unlink(away)
        return dead

    # -- its beginning

    def launch(self) -> bool:
        """Starts its supervisor, if it has none and never had one. False when there was nothing to do.

        Raises:
            Trouble: the scheduler can't be reached.
        """
        if self.begun() or (self.claimed() and self.alive() is not False):
            return False
        dead = load(self.path("supervisor.json"))
        if dead and not self.disclaim(dead):
            return False
        request = self.request()
        if request.get("leader") == "job":
            return self._submit(request)
        with open(self.path("supervisor.err"), "ab") as errors:
            process = subprocess.Popen(
                self._supervise(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd="/",
                start_new_session=True,
            )
        deadline = time.monotonic() + 10
        while not self.begun() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return True

    def _supervise(self) -> List[str]:
        return [sys.executable, "-E", "-s", os.path.abspath(__file__), "supervise", self.root, self.id]

    def _submit(self, request: Dict[str, JSON]) -> bool:
        if self.leader_job():
            return False
        name = f"hpcwaas-{self.id}"
        if os.path.exists(self.path("submitting")):  # the answer of an earlier attempt may be lost
            jobs = self.jobs("%k|%j|%i|%T", lambda fields: fields[1] == name)
            if jobs:
                write(self.path("leader.json"), dump({"job": jobs[0], "attempt": self.attempt()}))
                return True
        script = "#!/bin/bash\nexec " + " ".join(shlex.quote(word) for word in self._supervise()) + "\n"
        write(self.path("leader.sh"), script.encode("utf-8", "surrogateescape"))
        touch(self.path("submitting"))
        wanted = request.get("slurm") or {}
        options = {
            "comment": f"hpcwaas:{self.id}",
            "job-name": name,
            "output": self.path("leader.out").replace("%", "%%"),
            "partition": wanted.get("partition"),
            "account": wanted.get("account"),
            "time": wanted.get("time"),
            "nodes": wanted.get("nodes"),
            "cpus-per-task": wanted.get("cores"),
            "mem": f"{wanted['memory_mib']}M" if wanted.get("memory_mib") else None,
        }
        argv = ["sbatch", "--parsable", "--no-requeue", "--chdir=/"]
        argv += [f"--{option}={value}" for option, value in options.items() if value is not None]
        called = self.call([*argv, self.path("leader.sh")], 60.0)
        job = called.stdout.decode(errors="replace").strip().partition(";")[0]
        if called.status == 0 and job.isdigit():
            write(self.path("leader.json"), dump({"job": job, "attempt": self.attempt()}))
            return True
        if called.status is None or _AWAY.search(called.stderr.decode(errors="replace")):
            raise Trouble("later", "sbatch", f"Slurm took no job: {called.words()}")
        reason = f"Slurm refused the job of the runner: {called.words()}"
        if called.status == 127:
            reason = "The program sbatch was not found on the site" + self.after_prologue()
        state = self.state() or fresh_state(request)
        self.end(dict(state, status="FAILED", reason=reason), {})
        return True

    def after_prologue(self) -> str:
        """The end of a sentence about something that isn't there."""
        return " after the site's prologue." if self.prologue() else "; the site has no prologue that could bring it."

    # -- its jobs

    def call(self, argv: List[str], timeout: float = 10.0) -> Called:
        """Runs a command of the scheduler; after the prologue where it isn't there without."""
        return Called(argv, None if shutil.which(argv[0]) else self.prologue(), timeout)

    def jobs(self, form: str, mine: Callable[[List[str]], bool]) -> List[str]:
        """Ids of jobs of this account that go on or wait.

        Args:
            form: of squeue, its fields separated by `|`, the last two of which are id and state.

        Raises:
            Trouble: the scheduler gives no answer.
        """
        user = pwd.getpwuid(os.getuid()).pw_name
        called = self.call(["squeue", "--noheader", f"--user={user}", f"--format={form}"], 30.0)
        if called.status != 0:
            raise Trouble("later", "squeue", called.words())
        lines = [line.strip().split("|") for line in called.stdout.decode(errors="replace").splitlines()]
        return [line[-2] for line in lines if len(line) > 2 and not _ENDED.match(line[-1]) and mine(line)]

    def own_jobs(self) -> List[str]:
        """Ids of its jobs that go on or wait, but for the one that this process runs in."""
        comment = f"hpcwaas:{self.id}"
        known = {job["id"] for job in load(self.path("jobs.json")) or []} | {self.leader_job()}
        jobs = self.jobs("%k|%i|%T", lambda fields: fields[-2] in known or "|".join(fields[:-2]) == comment)
        return [job for job in jobs if job != os.environ.get("SLURM_JOB_ID")]

    def end_jobs(self, patience: float) -> Optional[List[str]]:
        """Cancels its jobs, and looks again until none is left.

        Args:
            patience: seconds after which it gives up.

        Returns:
            ids of those that are left; None when the scheduler gives no answer.
        """
        deadline = time.monotonic() + patience
        pause = 0.2
        while True:
            left: Optional[List[str]] = None
            with contextlib.suppress(Trouble):
                left = self.own_jobs()
                if not left:
                    return []
                self.call(["scancel", *left], 30.0)
            if time.monotonic() + pause > deadline:
                return left
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def has_jobs(self) -> bool:
        """Whether the scheduler may know jobs of it."""
        return self.request().get("scheduler") == "slurm" and (
            self.request().get("kind") == "toil" or self.request().get("leader") == "job"
        )

    # -- its end

    def end(self, state: Dict[str, JSON], outputs: Dict[str, JSON]) -> None:
        """Writes its end, and removes what it needs no more."""
        resumable = state["status"] != "SUCCEEDED" and os.path.isdir(self.path("jobstore"))
        write(self.path("outputs.json"), dump(outputs))
        for name in ("work", "reserve") if resumable else ("work", "reserve", "inputs", "jobstore", "messages"):
            remove_tree(self.path(name))
        state = dict(state, ended_at=now(), steps=finished(state["steps"], state["status"]))
        self.write_state(dict(state, stored=disk_use(self.directory)))

    def close_log(self, status: str, reason: Optional[str], warnings: Sequence[str] = ()) -> None:
        """Appends to its log what there is to say at its end, if there is room: its state says why it ended."""
        with contextlib.suppress(OSError):
            log = Log(self.path("log.jsonl"), self.request().get("log") or 1 << 30)
            log.write((_WARN, warning) for warning in warnings)
            if reason:
                log.end(_WARN if status == "CANCELLED" else _ERROR, reason)

    def bury(self, status: str, reason: str) -> Dict[str, JSON]:
        """Ends an execution whose supervisor is dead, or never came."""
        if self.over():
            return {"buried": True, "jobs_left": self.state().get("jobs_left") or []}
        if self.alive() is True:
            raise Trouble("failed", self.directory, "its supervisor lives")
        if not self.claimed():
            self.claim()  # nobody else begins it now
        kill_strays(self)
        left = self.end_jobs(30.0) if self.has_jobs() else []
        request = self.request()
        self.close_log(status, reason)
        state = self.state() or fresh_state(request)
        self.end(dict(state, status=status, reason=reason, jobs_left=left), load(self.path("outputs.json")) or {})
        return {"buried": True, "jobs_left": left}


def fresh_state(request: Dict[str, JSON]) -> Dict[str, JSON]:
    """The state of an execution that has not begun."""
    steps = Steps(request.get("steps") or []).all()
    state = {"status": "PENDING", "started_at": None, "ended_at": None, "reason": None, "steps": steps, "stored": 0}
    return dict(state, process=None, exit=None, leader_job=None, jobs_left=[], attempt=request.get("attempt", 1))


# ---- processes


def boot_id() -> str:
    """What is another one after a restart of the machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _stat_fields(pid: int) -> Optional[List[bytes]]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            content = file.read()
    except OSError:
        return None
    fields = content[content.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else fields


def process_start(pid: int) -> Optional[int]:
    """When a process began, which tells it from a later one of the same number; None when there is none."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def _pids() -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(*ancestors: int) -> List[int]:
    """All living descendants of processes."""
    children: Dict[int, List[int]] = {}
    for pid in _pids():
        fields = _stat_fields(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found: List[int] = []
    waiting = list(ancestors)
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def strays(execution: Execution) -> List[int]:
    """The processes on this machine that an execution's supervisor left, by their environment, and their descendants;
    not those of the scheduler's jobs, which it ends itself."""
    mark = f"HPCWAAS_EXECUTION={execution.id}".encode()
    places = tuple(os.fsencode(f"{name}={execution.directory}/") for name in ("HOME", "TMPDIR"))
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            words = file.read().split(b"\0")
            own = any(word == mark or word.startswith(places) for word in words)
            if own and not any(word.startswith(b"SLURM_JOB_ID=") for word in words) and pid != os.getpid():
                found.append(pid)
    return found + descendants(*found)


def kill_strays(execution: Execution) -> None:
    """Kills what an execution's supervisor left."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        left = strays(execution)
        if not left:
            return
        send(left, signal.SIGKILL)
        time.sleep(0.01)


def send(pids: Iterable[int], number: int) -> None:
    """Sends a signal to those that still live."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


# ---- the supervisor


class Stopped(Exception):
    """The execution is over before its runner began.

    Args:
        reason: why.
    """


class Supervisor:
    """Supervises one execution, in a process of its own that owes nothing to whoever started it."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        before = execution.state()
        self._request = execution.request()
        self._steps = Steps(self._request.get("steps") or [], before.get("steps") or [], before.get("process"))
        self._state = dict(fresh_state(self._request), status="RUNNING", started_at=now(), steps=self._steps.all())
        self._state["leader_job"] = execution.leader_job()
        self._output = bytearray()
        self._line = b""
        self._diagnosis = Diagnosis((self._request.get("slurm") or {}).get("time"))
        self._pid = 0
        self._status: Optional[int] = None
        self._stop: Optional[Tuple[str, str]] = None
        self._kill_at = 0.0
        self._told_to_end = False
        self._begin = time.monotonic()
        self._next_look = self._next_beat = 0.0
        self._followed = (0.0, -_FOLLOWED)
        self._messages = 0
        self._purged = False
        self._names = self._short_names()

    def run(self) -> None:
        """Does all of it. Returns when the execution is over, and nothing of it is left."""
        signal.signal(signal.SIGTERM, self._on_term)
        with contextlib.suppress(OSError, AttributeError):  # orphans of the runner become this process's children
            ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)
        try:
            self._execution.write_state(self._state)
            with open(self._execution.path("reserve"), "wb") as reserve:  # so that an end can be written to a full disk
                reserve.write(os.urandom(_RESERVE))
            self._log = Log(self._execution.path("log.jsonl"), self._request.get("log") or 1 << 30)
            self._supervise()
        except Stopped as stopped:
            self._stop = self._stop or ("FAILED", str(stopped))
        except OSError as error:
            kind = _KINDS.get(error.errno or 0)
            reason = f"The site failed while the execution was supervised: {error.strerror} ({error.filename})."
            self._stop = self._stop or ("FAILED", FULL if kind == "full" else reason)
        except Exception as error:  # the execution must end; the trace is in supervisor.err
            traceback.print_exc()
            self._stop = self._stop or ("FAILED", f"The execution could not be supervised: {error!r}.")
        self._finish()

    def _on_term(self, *_: Any) -> None:
        self._told_to_end = True

    def _supervise(self) -> None:
        self._look()
        if self._stop:
            return
        self._prepare()
        error_reader, error_writer = os.pipe()
        output_reader, output_writer = os.pipe()
        environment = dict(os.environ, **self._request.get("environment") or {})
        environment["HPCWAAS_EXECUTION"] = self._execution.id
        environment.pop("XDG_RUNTIME_DIR", None)  # it goes when the login does
        if self._request["kind"] == "toil":  # jobs that it submits aren't steps of the job that it may be in
            environment = {k: v for k, v in environment.items() if not k.startswith("SLURM_") or k == "SLURM_CONF"}
        try:
            process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output_writer,
                stderr=error_writer,
                cwd=self._execution.path("work", "tmp"),
                env=environment,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise Stopped(f"The program {error.filename} was not found on the site.") from error
        finally:
            os.close(error_writer)
            os.close(output_writer)
        self._pid = process.pid
        process.returncode = 0  # it is waited for here
        readers: Dict[int, Callable[[bytes], None]] = {error_reader: self._take_errors}
        readers[output_reader] = self._take_output
        while self._status is None or readers:
            self._pump(readers, 0.2 if readers else 0.05)
            self._reap()
            self._look()
            if self._status is not None and not self._stop:
                self._kill_at = 0.0
            if self._status is not None or self._stop:
                left = descendants(os.getpid())
                if not left and not self._pump(readers, 0.0):
                    break
                if time.monotonic() >= self._kill_at:
                    send(left, signal.SIGKILL)
        self._take_errors(b"\n" if self._line else b"")
        self._take_messages()

    def _prepare(self) -> None:
        """Makes what the runner needs."""
        for name in ("tmp", "outputs"):
            os.makedirs(self._execution.path("work", name), exist_ok=True)
        for each in self._request.get("inputs") or []:
            target = self._execution.path(each["target"])
            if each.get("unpack") and not os.path.isdir(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                source = os.path.join(self._execution.root, "content", each["sha256"])
                try:
                    unpack(source, target, each["unpack"])
                except ValueError as error:
                    name = os.path.basename(target)
                    raise Stopped(f"The archive for the input {name} can't be unpacked: {error}.") from error

    def _command(self) -> List[str]:
        """The command that runs the runner after the prologue."""
        request, path = self._request, self._execution.path
        document = os.path.join(self._execution.root, request["document"])
        arguments = list(request.get("arguments") or [])
        line = list(request["command"])
        if request["kind"] == "cwltool":
            line += ["--disable-color", "--relax-path-checks"]
            line += [
                f"--tmpdir-prefix={path('work', 'tmp')}/",
                f"--tmp-outdir-prefix={path('work', 'tmp')}/",
                *arguments,
            ]
        elif request["kind"] == "toil":
            line += self._toil(arguments)
        else:
            line += arguments
        document += f"#{request['fragment']}" if request.get("fragment") else ""
        line += ["--outdir", path("work", "outputs"), document, path("job.json")]
        return prologued(line, path("stage"), request.get("prologue") or "")

    def _toil(self, arguments: List[str]) -> List[str]:
        """Arguments for Toil. An operator's own come after what they may change, and before what they may not."""
        request, path = self._request, self._execution.path
        slurm = request.get("slurm") or {}
        line = ["--disableProgress", "--logColors=False", "--relax-path-checks", "--retryCount=0"]
        line += ["--statePollingTimeout=86400"]  # seconds for which a scheduler may be away
        line += [f"--workDir={path('work', 'tmp')}", f"--coordinationDir={path('work', 'tmp')}"]
        if request.get("scheduler") == "slurm":
            words = [f"--comment=hpcwaas:{self._execution.id}"]
            words += [f"--account={slurm['account']}"] if slurm.get("account") else []
            given = [each for each in arguments if each.startswith("--slurmArgs=")]
            arguments = [each for each in arguments if each not in given]
            words += [each.partition("=")[2] for each in given]
            line += ["--batchSystem=slurm", "--disableChaining=True"]
            line += [f"--slurmPartition={slurm['partition']}"] if slurm.get("partition") else []
            line += [f"--slurmTime={slurm['time']}"] if slurm.get("time") else []
            line += [*arguments, "--slurmArgs=" + " ".join(words)]
        else:
            line += ["--batchSystem=single_machine", *arguments]
        restart = request.get("resume") and os.path.isdir(path("jobstore"))
        if not restart:
            remove_tree(path("jobstore"))
        line += [f"--jobStore=file:{path('jobstore')}", f"--writeMessages={path('messages')}"]
        return line + (["--restart"] if restart else [])

    def _short_names(self) -> List[Tuple[str, str]]:
        """What stands in the log for the places of the machine."""
        document = os.path.dirname(os.path.join(self._execution.root, self._request["document"]))
        places = [(self._execution.path("work"), "."), (self._execution.directory, "."), (document, "workflow")]
        names = []
        for place, short in places:
            names += [("file://" + quote(place), short), (place, short)]
        return names

    # -- what comes

    def _pump(self, readers: Dict[int, Callable[[bytes], None]], timeout: float) -> bool:
        """Reads what there is. False when there is nothing."""
        if not readers:
            time.sleep(timeout)
            return False
        ready = select.select(list(readers), [], [], timeout)[0]
        for descriptor in ready:
            data = os.read(descriptor, 1 << 16)
            if data:
                readers[descriptor](data)
            else:
                os.close(descriptor)
                del readers[descriptor]
        return bool(ready)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    self._status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _take_output(self, data: bytes) -> None:
        if self._stop:
            return
        self._output += data
        if len(self._output) > _MAX_OUTPUT_OBJECT:
            self._output.clear()
            self._halt("FAILED", f"The output object is larger than {size_text(_MAX_OUTPUT_OBJECT)}.")

    def _take_errors(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > 4 * _MAX_LINE:  # a progress bar, or what is no text
            lines.append(self._line)
            self._line = b""
        if not lines or self._log.full:
            return
        entries, changed = [], False
        for raw in lines:
            level, text, message = interpret(raw.decode(errors="replace"))
            for name, short in self._names:
                if name in text:
                    text = text.replace(name, short)
            text = clean(text)
            self._diagnosis.observe(level, text, message)
            self._heed_refusal()
            changed |= message and self._request["kind"] == "cwltool" and self._steps.cwltool(text)
            entries += [(level, text[start : start + _MAX_LINE]) for start in range(0, len(text) or 1, _MAX_LINE)]
        self._log.write(entries)
        if self._log.full:
            limit = size_text(self._request["log"])
            self._halt(
                "FAILED", f"The execution wrote more than {limit} of log; the limit is the setting cwl.limits.log."
            )
        if changed:
            self._write_steps()
        elif self._is_followed():
            self._execution.tell()

    def _heed_refusal(self) -> None:
        """Ends the execution when Slurm takes no job for good: Toil would try again as it does while Slurm is away."""
        refused = self._diagnosis.refused
        if refused and not (_AWAY.search(refused) or _LIMITS.search(refused)):
            self._halt("FAILED", refused, GRACE)
        elif refused and self._state["reason"] != refused:
            self._state["reason"] = refused
            self._execution.write_state(self._state)

    def _take_messages(self) -> None:
        """Reads what Toil has written to its messages."""
        try:
            with open(self._execution.path("messages"), "rb") as file:
                file.seek(self._messages)
                content = file.read()
        except OSError:
            return
        end = content.rfind(b"\n") + 1
        self._messages += end
        changed, jobs = False, len(self._steps.jobs)
        for line in content[:end].decode(errors="replace").splitlines():
            with contextlib.suppress(IndexError):  # another version's
                changed |= self._steps.toil(line.split("\t"))
        if len(self._steps.jobs) != jobs:
            write(self._execution.path("jobs.json"), dump(self._steps.jobs))
            self._diagnosis.refused, self._state["reason"] = "", None
        if changed:
            self._write_steps()

    def _write_steps(self) -> None:
        self._state.update(steps=self._steps.all(), process=self._steps.process)
        self._execution.write_state(self._state)

    def _is_followed(self) -> bool:
        """Whether somebody follows the log: the time of the file changes, by whatever clock."""
        status = seen(self._execution.path("followed"))
        present = time.monotonic()
        if status and status.st_mtime != self._followed[0]:
            self._followed = (status.st_mtime, present)
        return present - self._followed[1] < _FOLLOWED

    # -- what ends it

    def _look(self) -> None:
        present = time.monotonic()
        if self._stop or (present < self._next_look and not self._told_to_end):
            return
        self._next_look = present + 1.0
        limit = self._request.get("time")
        if not os.path.exists(self._execution.path("request.json")):
            self._purged = True
            self._halt("FAILED", PURGED)
        elif os.path.exists(self._execution.path("cancel")):
            self._halt("CANCELLED", CANCELLED, GRACE)
        elif self._told_to_end:
            where = "the scheduler ended its job" if self._state["leader_job"] else "somebody ended it"
            self._halt("FAILED", f"The supervisor of the execution was told to end: {where}.", GRACE)
        elif limit is not None and present - self._begin > limit:
            self._halt(
                "FAILED",
                f"The execution ran for more than {limit:g} seconds; the limit is the setting cwl.limits.time, or the "
                "workflow's time_limit.",
            )
        else:
            self._take_messages()
            if present >= self._next_beat:
                self._next_beat = present + _BEAT
                os.utime(self._execution.path("supervisor.json"))

    def _halt(self, status: str, reason: str, grace: float = 0.0) -> None:
        """Begins to end all processes."""
        if not self._stop:
            self._stop = (status, reason)
            self._kill_at = time.monotonic() + grace
            send(descendants(os.getpid()), signal.SIGTERM if grace else signal.SIGKILL)

    def _finish(self) -> None:
        """Ends what is left, and writes the end."""
        execution = self._execution
        while True:
            left = descendants(os.getpid())
            if not left:
                break
            send(left, signal.SIGKILL)
            self._reap()
            time.sleep(0.01)
        if self._purged:
            os.makedirs(execution.directory, exist_ok=True)
            write(execution.path("request.json"), dump(self._request))
        remove_tree(execution.path("reserve"))
        jobs_left = execution.end_jobs(300.0) if execution.has_jobs() else []
        pause = 1.0
        while True:  # nobody else knows the reason
            try:
                status, reason = self._stop or self._result()
                self._conclude(status, reason, jobs_left)
                return
            except OSError as error:
                traceback.print_exc()
                kind = _KINDS.get(error.errno or 0)
                if kind == "full":
                    self._stop = self._stop or ("FAILED", FULL)
                    remove_tree(execution.path("work"))
                elif kind == "missing":
                    self._stop = ("FAILED", PURGED)
                    os.makedirs(execution.directory, exist_ok=True)
                time.sleep(pause)
                pause = min(2 * pause, 60.0)

    def _conclude(self, status: str, reason: Optional[str], jobs_left: Optional[List[str]]) -> None:
        execution, results = self._execution, self._execution.path("work", "outputs")
        outputs: Dict[str, JSON] = {}
        warnings: List[str] = []
        if os.path.isdir(results) and os.path.realpath(results).endswith(f"/{execution.id}/work/outputs"):
            collector = Collector(results)
            outputs, warnings = collector.collect(self._output_object() or {}), collector.warnings
            remove_tree(execution.path("outputs"))
            os.rename(results, execution.path("outputs"))
        if jobs_left is None:
            warnings.append("Slurm gave no answer when the jobs of the execution were to be cancelled: some may go on.")
        elif jobs_left:
            warnings.append(f"These jobs of the execution could not be cancelled: {', '.join(jobs_left)}.")
        execution.close_log(status, reason, warnings)
        state = dict(self._state, status=status, reason=reason, steps=self._steps.all(), exit=self._status)
        execution.end(dict(state, jobs_left=jobs_left), outputs)

    def _result(self) -> Tuple[str, Optional[str]]:
        path = self._execution.path("stage")
        with contextlib.suppress(OSError), open(path) as file:
            stage = file.read()
            program = self._request["command"][0]
            if stage == "prologue":
                why = f": {self._diagnosis.last}" if self._diagnosis.last else "."
                return "FAILED", f"The site's prologue failed with status {self._status}{why}"
            return "FAILED", f"The runner {program} was not found on the site" + self._execution.after_prologue()
        if self._status is None or self._status:
            return "FAILED", self._diagnosis.reason(self._steps.failed(), self._status or 0)
        if self._output_object() is None:
            return "FAILED", "The runner succeeded, but what it wrote to standard output is not a CWL output object."
        return "SUCCEEDED", None

    def _output_object(self) -> Optional[Dict[str, JSON]]:
        try:
            value = json.loads(self._output.decode())
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def supervise(root: str, identifier: str) -> None:
    """Supervises an execution, unless somebody does or did."""
    execution = Execution(root, identifier)
    if execution.exists() and not execution.begun() and execution.claim():
        Supervisor(execution).run()


# ---- commands


def _environment(names: Iterable[str]) -> Dict[str, Optional[str]]:
    """Variables of the account; what only a login shell sets is asked of one."""
    found = {name: os.environ.get(name) for name in names}
    if None in found.values():
        called = Called(["bash", "-l", "-c", "printf '\\0hpcwaas\\0'; env -0"])
        words = called.stdout.decode(errors="surrogateescape").rpartition("\0hpcwaas\0")[2].split("\0")
        login = dict(word.partition("=")[::2] for word in words if "=" in word)
        found = {name: value if value is not None else login.get(name) for name, value in found.items()}
    return found


def _commands(order: Dict[str, JSON], prologue: Optional[str], always: bool) -> Dict[str, JSON]:
    """Runs commands side by side, each for ten seconds at most.

    Args:
        prologue: text of the site's.
        always: whether the prologue is for all of them, or for those that aren't found without it.
    """
    answers: Dict[str, JSON] = {}

    def run(name: str, argv: List[str]) -> None:
        wanted = prologue if always or not shutil.which(argv[0]) else None
        called = Called(argv, wanted)
        texts = {"stdout": called.stdout.decode(errors="replace"), "stderr": called.stderr.decode(errors="replace")}
        answers[name] = dict(texts, status=called.status)

    threads = [threading.Thread(target=run, args=item) for item in (order.get("commands") or {}).items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def probe(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """What the account and the machine are like. `make`: makes WORK_DIR. Its template may name `{home}`, `{user}`, and
    any variable of the account in lower case."""
    user = pwd.getpwuid(os.getuid())
    known = {"home": os.environ.get("HOME") or user.pw_dir, "user": user.pw_name}
    template = order["work_dir"]
    names = [name for name in re.findall(r"\{(\w+)\}", template) if name not in known]
    variables = _environment([*(name.upper() for name in names), *(order.get("variables") or [])])
    unset = [name.upper() for name in names if not variables[name.upper()]]
    root: Optional[str] = None
    writable: JSON = None
    free = None
    if not unset:
        values = dict(known, **{name: variables[name.upper()] for name in names})
        root = os.path.abspath(re.sub(r"\{(\w+)\}", lambda match: values[match.group(1)] or "", template))
        try:
            if order.get("make"):
                for name in ("bin", "content", "workflows", "executions"):
                    os.makedirs(os.path.join(root, name), mode=0o700, exist_ok=True)
                touch(os.path.join(root, "news"))
            place = root
            while not os.path.isdir(place):
                place = os.path.dirname(place)
            status = os.statvfs(place)
            free = status.f_bavail * status.f_frsize
            trial = os.path.join(place, f".hpcwaas-{os.getpid()}")
            write(trial, os.urandom(_RESERVE))
            os.unlink(trial)
        except OSError as error:
            writable = trouble(error).answer["error"]
    quota = Called(["quota", "-s"], timeout=5.0).stdout.decode(errors="replace").strip() or None
    answer = {"work_dir": root, "unset": unset, "writable": writable, "free_bytes": free, "quota": quota}
    answer.update(known, variables=variables, python=sys.version.split()[0], boot_id=boot_id(), clock=time.time())
    return dict(answer, commands=_commands(order, order.get("prologue"), always=True))


def start(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Takes what was sent, and starts executions. One that was started before is left alone."""
    root = order["work_dir"]
    accept = order.get("accept") or {}
    accepted: List[str] = []
    wrong: List[str] = []
    for kind in ("content", "workflows"):
        for digest in accept.get(kind) or []:
            (accepted if _accept(root, kind, _digest(digest)) else wrong).append(digest)
    answers = {each["id"]: _told(partial(_start, root, each)) for each in order.get("executions") or []}
    return {"accepted": accepted, "wrong": wrong, "executions": answers}


def _told(action: Callable[[], Dict[str, JSON]]) -> Dict[str, JSON]:
    """What became of one of several things."""
    try:
        return action()
    except Trouble as error:
        return error.answer
    except OSError as error:
        return trouble(error).answer


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise Trouble("failed", text, "this is no SHA-256")
    return text


def _accept(root: str, kind: str, digest: str) -> bool:
    """Takes a file that has come. False when it is another one, which is removed."""
    part = os.path.join(root, "content", f"{digest}.part")
    target = os.path.join(root, kind, digest)
    if os.path.exists(target):
        with contextlib.suppress(OSError):
            os.unlink(part)
        return True
    content = hashlib.sha256()
    try:
        with open(part, "rb") as file:
            head = file.read(4)
            file.seek(0)
            for chunk in iter(lambda: file.read(_CHUNK), b""):
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


def _start(root: str, order: Dict[str, JSON]) -> Dict[str, JSON]:
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
        _make(execution, request, order["job"])
    return {"started": execution.launch()}


def _missing(root: str, kind: str, digests: Iterable[str]) -> Dict[str, int]:
    """What isn't there yet, with how much of it has come."""
    sizes = {}
    for digest in digests:
        if not os.path.exists(os.path.join(root, kind, digest)):
            status = seen(os.path.join(root, "content", f"{digest}.part"))
            sizes[digest] = status.st_size if status else 0
    return sizes


def _make(execution: Execution, request: Dict[str, JSON], job: JSON) -> None:
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
            target = os.path.normpath(os.path.join(draft, each["target"]))
            if not target.startswith(os.path.join(draft, "inputs", "")):
                raise Trouble("failed", each["target"], "this is no place for an input")
            source = os.path.join(execution.root, "content", each["sha256"])
            os.utime(source)
            if not each.get("unpack"):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                try:
                    os.link(source, target)
                except OSError:  # not every file system knows links from one directory to another
                    shutil.copy2(source, target)
        text = job if isinstance(job, str) else json.dumps(job)
        write(os.path.join(draft, "job.json"), text.encode("utf-8", "surrogatepass"))
        write(os.path.join(draft, "request.json"), dump(request))
        os.rename(draft, execution.directory)
    except OSError:
        if not execution.exists():  # otherwise somebody else was faster
            raise
    finally:
        if os.path.isdir(draft):
            remove_tree(draft)


def resume(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Lets executions that failed go on where they stopped. Each attempt has a number, and begins once."""
    answers = {}
    for identifier, attempt in order["executions"].items():
        execution = Execution(order["work_dir"], identifier)
        answers[identifier] = _told(partial(_resume, execution, attempt))
    return {"executions": answers}


def _resume(execution: Execution, attempt: int) -> Dict[str, JSON]:
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
        done = {step["name"]: step for step in state.get("steps") or [] if step["status"] == "SUCCEEDED"}
        steps = [done.get(step["name"], step) for step in fresh_state(request)["steps"]]
        execution.write_state(dict(fresh_state(request), steps=steps, process=state.get("process")))
    return {"started": execution.launch()}


def look(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """How executions stand; waits until there is something new."""
    root, wanted = order["work_dir"], order.get("executions") or {}
    executions = {identifier: Execution(root, identifier) for identifier in wanted}
    for identifier, execution in executions.items():
        if wanted[identifier].get("log") is not None:
            with contextlib.suppress(OSError):
                touch(execution.path("followed"))
    _wait(order, executions)
    news = seen(os.path.join(root, "news"))
    answers, room = {}, order.get("log_room") or 1 << 20
    for identifier, execution in executions.items():
        answers[identifier], room = _tell(execution, wanted[identifier], room)
    answer = {"clock": time.time(), "boot_id": boot_id(), "news": news.st_size if news else 0, "executions": answers}
    with contextlib.suppress(OSError):
        status = os.statvfs(root)
        answer["free_bytes"] = status.f_bavail * status.f_frsize
    return dict(answer, commands=_commands(order, order.get("prologue"), always=False))


def _wait(order: Dict[str, JSON], executions: Dict[str, Execution]) -> None:
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
            changed = changed and not order.get("quiet")
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
        if present >= deadline:
            return
        time.sleep(0.05)


def _changes(executions: Dict[str, Execution], wanted: Dict[str, JSON]) -> Tuple[bool, bool]:
    """Whether there is something that can't wait (an end, or more of a log), and whether there is anything."""
    changed = False
    for identifier, execution in executions.items():
        asked = wanted[identifier]
        if asked.get("log") is not None:
            status = seen(execution.path("log.jsonl"))
            if status and status.st_size > asked["log"]:
                return True, True
        if _stamp(execution) != asked.get("have"):
            changed = True
            if execution.over():
                return True, True
    return False, changed


def _stamp(execution: Execution) -> str:
    """What is another one when the state or the jobs are."""
    statuses = [seen(execution.path(name)) for name in ("state.json", "jobs.json", "leader.json")]
    return " ".join(f"{status.st_mtime_ns}.{status.st_ino}" if status else "-" for status in statuses)


def _tell(execution: Execution, asked: Dict[str, JSON], room: int) -> Tuple[Dict[str, JSON], int]:
    if not execution.exists():
        return {"exists": False}, room
    stamp = _stamp(execution)
    answer = {"exists": True, "stamp": stamp, "state": None, "jobs": None, "alive": None, "log": None}
    over = execution.over()
    if stamp != asked.get("have"):
        answer["state"] = execution.state() or None
        answer["jobs"] = load(execution.path("jobs.json")) or []
        answer["outputs"] = load(execution.path("outputs.json")) if over else None
    answer["leader_job"] = execution.leader_job()
    if not over:
        answer["alive"] = execution.alive()
    status = seen(execution.path("log.jsonl"))
    answer["log_size"] = status.st_size if status else 0
    offset = asked.get("log")
    if offset is not None and answer["log_size"] > offset and room > 0:
        piece = _piece(execution.path("log.jsonl"), offset, room)
        answer["log"] = base64.b64encode(piece).decode("ascii")
        room -= len(piece)
    return answer, room


def _piece(path: str, offset: int, room: int) -> bytes:
    """Whole lines of a log: as many as there is room for, and one at least."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            piece = file.read(max(room, 8 * _MAX_LINE))
    except OSError:
        return b""
    end = piece.rfind(b"\n", 0, room) + 1 or piece.find(b"\n") + 1
    return piece[:end]


def cancel(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Asks executions to end; ends those that nobody supervises."""
    answers = {}
    for identifier in order["ids"]:
        execution = Execution(order["work_dir"], identifier)
        answers[identifier] = _told(partial(_cancel, execution))
    return {"executions": answers}


def _cancel(execution: Execution) -> Dict[str, JSON]:
    if not execution.exists():
        return {"exists": False}
    state = execution.state()
    if state.get("status") in _OVER:
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
        answers[identifier] = _told(partial(_bury, execution, end))
    return {"executions": answers}


def _bury(execution: Execution, end: Dict[str, JSON]) -> Dict[str, JSON]:
    if execution.exists():
        return execution.bury(end["status"], end["reason"])
    kill_strays(execution)
    return {"buried": True, "jobs_left": execution.end_jobs(30.0) if shutil.which("squeue") else []}


def remove(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """Removes executions that are over, and uploads that none has used for `content_days`."""
    removed = []
    for identifier in order.get("ids") or []:
        execution = Execution(order["work_dir"], identifier)
        if execution.exists():
            if not execution.over():
                continue
            away = os.path.join(order["work_dir"], "executions", f".{identifier}.removed")
            with contextlib.suppress(OSError):
                os.rename(execution.directory, away)
            remove_tree(away)
        removed.append(identifier)
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


def status(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """What something among the outputs of an execution is."""
    root = os.path.realpath(Execution(order["work_dir"], order["id"]).path("outputs"))
    target = inside(root, os.path.join(root, order["path"]))
    if target is None:
        return {"kind": "outside"}
    try:
        found = os.stat(target)
    except OSError:
        return {"kind": "missing"}
    kind = "file" if stat.S_ISREG(found.st_mode) else "directory" if stat.S_ISDIR(found.st_mode) else "missing"
    return {"kind": kind, "size": found.st_size, "mtime": found.st_mtime}


class _Out(io.RawIOBase):
    """Standard output as a file that can't be sought in, whatever it is."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        sys.stdout.buffer.write(data)
        return len(data)


def pack(order: Dict[str, JSON]) -> None:
    """Writes an archive of a directory among the outputs of an execution."""
    root = os.path.realpath(Execution(order["work_dir"], order["id"]).path("outputs"))
    directory = inside(root, os.path.join(root, order["path"]))
    if directory is None or not os.path.isdir(directory):
        raise Trouble("missing", order["path"], "there is no such directory among the outputs")
    _mark(order, b" DATA")
    found = contents(directory, lambda name, reason: None)
    if order["kind"] == "zip":
        with zipfile.ZipFile(_Out(), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path, info in found:
                _zip(archive, name, path, info)
    else:
        with tarfile.open(fileobj=_Out(), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name, path, info in found:
                member = tarfile.TarInfo(_encodable(name))
                member.mode, member.mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
                if stat.S_ISDIR(info.st_mode):
                    member.type = tarfile.DIRTYPE
                    tar.addfile(member)
                else:
                    with open(path, "rb") as file:
                        member.size = os.fstat(file.fileno()).st_size
                        tar.addfile(member, file)
    sys.stdout.buffer.flush()


def _zip(archive: zipfile.ZipFile, name: str, path: str, info: os.stat_result) -> None:
    moment = time.localtime(min(max(info.st_mtime, 0), 1 << 33))[:6]
    moment = min(max((1980, 1, 1, 0, 0, 0), moment), (2107, 12, 31, 23, 59, 58))
    directory = stat.S_ISDIR(info.st_mode)
    member = zipfile.ZipInfo(_encodable(name) + ("/" if directory else ""), moment)
    member.external_attr = (info.st_mode & 0xFFFF) << 16 | (0x10 if directory else 0)
    if directory:
        archive.writestr(member, b"")
        return
    member.compress_type = zipfile.ZIP_DEFLATED
    with open(path, "rb") as file, archive.open(member, "w", force_zip64=True) as entry:
        shutil.copyfileobj(file, entry, _CHUNK)


def _encodable(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")


def _mark(order: Dict[str, JSON], kind: bytes = b"") -> None:
    sys.stdout.buffer.write(b"\n@@HPCWAAS " + str(order.get("token", "")).encode() + kind + b"\n")


COMMANDS: Dict[str, Callable[[Dict[str, JSON]], Optional[Dict[str, JSON]]]] = {
    "probe": probe,
    "start": start,
    "resume": resume,
    "look": look,
    "cancel": cancel,
    "bury": bury,
    "remove": remove,
    "stat": status,
    "pack": pack,
}


def main(arguments: List[str]) -> None:
    """Does what the command line says: a command, whose order is on standard input, or `supervise WORK_DIR ID`."""
    os.umask(0o077)
    if arguments[0] == "supervise":
        supervise(arguments[1], arguments[2])
        return
    order = json.loads(sys.stdin.buffer.read().decode())
    try:
        answer = COMMANDS[arguments[0]](order)
    except Trouble as error:
        answer = error.answer
    except OSError as error:
        answer = trouble(error).answer
    if answer is not None:
        _mark(order)
        sys.stdout.buffer.write(dump(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
