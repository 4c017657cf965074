"""An execution's directory: who supervises it, the jobs that belong to it, its beginning and its end."""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from hpcwaas.engines.cwl.sites.agent.answers import JSON, Trouble
from hpcwaas.engines.cwl.sites.agent.diagnosis import passes
from hpcwaas.engines.cwl.sites.agent.files import (
    disk_use,
    dump,
    load,
    load_object,
    now,
    open_file,
    remove_tree,
    seen,
    touch,
    write,
)
from hpcwaas.engines.cwl.sites.agent.log import ERROR, WARN, Log, clean
from hpcwaas.engines.cwl.sites.agent.processes import boot_id, kill_strays, process_start
from hpcwaas.engines.cwl.sites.agent.programs import Called
from hpcwaas.engines.cwl.sites.agent.steps import Steps, finished

_ENDED = re.compile("COMPLET|CANCELLED|FAILED|TIMEOUT|NODE_FAIL|PREEMPTED|BOOT_FAIL|DEADLINE|OUT_OF_MEMORY|REVOKED")
OVER = ("SUCCEEDED", "FAILED", "CANCELLED")
BEAT = 20.0
_SILENT = 600.0


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
        return load_object(self.path("state.json"))

    def begun(self) -> bool:
        """Whether its supervisor has begun, or it has ended."""
        return bool(self.state().get("status", "PENDING") != "PENDING")

    def over(self) -> bool:
        """Whether it has ended."""
        return self.state().get("status") in OVER

    def request(self) -> Dict[str, JSON]:
        """What was asked for.

        Raises:
            Trouble: it can't be told any more.
        """
        request = load_object(self.path("request.json"))
        if not request:
            raise Trouble("missing", self.path("request.json"), "what was asked for can't be read any more")
        return request

    def prologue(self) -> Optional[str]:
        """Its site's prologue, if there is one."""
        return load_object(self.path("request.json")).get("prologue")

    def tell(self) -> None:
        """Wakes whoever looks."""
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
            descriptor = os.open(os.path.join(self.root, "news"), flags, 0o600)
            try:
                if os.fstat(descriptor).st_size > 1 << 20:
                    os.ftruncate(descriptor, 0)
                os.write(descriptor, b".")
            finally:
                os.close(descriptor)

    def write_state(self, state: Dict[str, JSON]) -> None:
        """Replaces its state, and tells."""
        write(self.path("state.json"), dump(state))
        self.tell()

    def attempt(self) -> int:
        """How often it was begun, with resuming."""
        attempt = load_object(self.path("request.json")).get("attempt", 1)
        return attempt if isinstance(attempt, int) else 1

    def leader_job(self) -> Optional[str]:
        """Id of the scheduler's job that its supervisor runs in, if it does."""
        leader = load_object(self.path("leader.json"))
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
        claim = load_object(self.path("supervisor.json"))
        whole = all(name in claim for name in ("pid", "boot_id", "start", "node", "job"))
        return claim if whole and claim.get("attempt") == self.attempt() else None

    def alive(self) -> Optional[bool]:
        """Whether its supervisor lives. None when that can't be told from here: it is in a job, or on another
        login node."""
        claim = self.claimed()
        if claim is None:
            return None if self.leader_job() else False
        if claim["node"] == socket.gethostname():
            return bool(claim["boot_id"] == boot_id() and process_start(claim["pid"]) == claim["start"])
        beat = seen(self.path("supervisor.json"))
        clock = os.path.join(self.root, "clock")
        with contextlib.suppress(OSError):
            touch(clock)  # by the clock of the file system, as the beat is
            present = seen(clock)
            if beat and present:
                age = present.st_mtime - beat.st_mtime
                return True if age < 3 * BEAT else False if age > _SILENT and not claim["job"] else None
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

    def launch(self, launched: List["Launched"]) -> bool:
        """Starts its supervisor, if it has none and never had one. False when there was nothing to do.

        Args:
            launched: takes it with its process, for `wait`.

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
        launched.append((self, process))
        return True

    def wait(self, process: "subprocess.Popen[bytes]") -> None:
        """Waits until its supervisor has begun.

        Raises:
            Trouble: it has ended instead.
        """
        deadline = time.monotonic() + 30.0
        while not self.begun() and time.monotonic() < deadline:
            if process.poll() is not None and not self.claimed():
                with open(self.path("supervisor.err"), "rb") as file:
                    words = file.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise Trouble("failed", self.directory, words or "what supervises it ended at once")
            time.sleep(0.01)

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
        wanted = request.get("leader_slurm") or request.get("slurm") or {}
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
        if called.status is None or passes(called.stderr.decode(errors="replace")):
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
            raise Trouble("missing" if called.status == 127 else "later", "squeue", called.words())
        lines = [line.strip().split("|") for line in called.stdout.decode(errors="replace").splitlines()]
        return [line[-2] for line in lines if len(line) > 2 and not _ENDED.match(line[-1]) and mine(line)]

    def time_limit(self, job: str) -> Optional[str]:
        """The time limit of a job, as the scheduler writes it, if it still knows."""
        match = re.search(rb"TimeLimit=([\d:-]+)", self.call(["scontrol", "show", "job", job]).stdout)
        return match.group(1).decode() if match else None

    def known_jobs(self) -> List[Dict[str, JSON]]:
        """The jobs that its runner is known to have made."""
        jobs = load(self.path("jobs.json"))
        return [job for job in jobs if isinstance(job, dict)] if isinstance(jobs, list) else []

    def own_jobs(self) -> List[str]:
        """Ids of its jobs that go on or wait, but for the one that this process runs in."""
        comment = f"hpcwaas:{self.id}"
        known = {job.get("id") for job in self.known_jobs()} | {self.leader_job()}
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
            try:
                left = self.own_jobs()
                if not left:
                    return []
                self.call(["scancel", *left], 30.0)
            except Trouble as error:
                if error.kind == "missing":
                    return None
            if time.monotonic() + pause > deadline:
                return left
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def submits(self) -> bool:
        """Whether its runner makes jobs of its own: cwltool does not."""
        request = self.request()
        return bool(request.get("scheduler") == "slurm" and request.get("kind") != "cwltool")

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
            log.write((WARN, warning) for warning in warnings)
            if reason:
                log.end(WARN if status == "CANCELLED" else ERROR, reason)

    def bury(self, status: str, reason: str) -> Dict[str, JSON]:
        """Ends an execution whose supervisor is dead, or never came."""
        if self.over():
            return {"buried": True, "jobs_left": self.state().get("jobs_left") or []}
        if self.alive() is True:
            raise Trouble("failed", self.directory, "its supervisor lives")
        if not self.claimed():
            self.claim()  # nobody else begins it now
        touch(self.path("cancel"))  # for one that lives all the same, where it can't be seen
        kill_strays(self.id, self.directory)
        said = self._last_words()
        reason += f" Slurm said: {said}." if said else ""
        left = self.end_jobs(30.0) if self.submits() or self.leader_job() else []
        reason += f" These jobs are still there: {', '.join(left)}." if left else ""
        request = self.request()
        self.close_log(status, reason)
        state = self.state() or fresh_state(request)
        self.end(dict(state, status=status, reason=reason, jobs_left=left), load_object(self.path("outputs.json")))
        return {"buried": True, "jobs_left": left}

    def _last_words(self) -> Optional[str]:
        """What Slurm wrote when it ended the job of the supervisor."""
        if not self.leader_job():
            return None
        with contextlib.suppress(OSError), open_file(self.path("leader.out")) as file:
            written = file.read(1 << 16).decode(errors="replace")
            said = re.findall(r"^slurmstepd\S*: error: (?!\*)([^\n]+)", written, re.MULTILINE)
            return clean(said[-1]).strip(" .")[:300] if said else None
        return None


Launched = Tuple[Execution, "subprocess.Popen[bytes]"]
"""An execution whose supervisor was started, and that one's process."""


def fresh_state(request: Dict[str, JSON]) -> Dict[str, JSON]:
    """The state of an execution that has not begun."""
    steps = Steps(request.get("steps") or []).all()
    state = {"status": "PENDING", "started_at": None, "ended_at": None, "reason": None, "steps": steps, "stored": 0}
    return dict(state, process=None, exit=None, leader_job=None, jobs_left=[], attempt=request.get("attempt", 1))


CANCELLED = "Cancelled on request."
